"""Finds the operation that produced NaN or Inf: replays a run from its newest checkpoint, step by step."""

import contextlib
import pathlib
import traceback
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax.core import references, rng
from dgm_jax.core.batches import size
from dgm_jax.core.progress import progress_bar
from dgm_jax.training.programs import make_train_step
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint, warm_start

_PACKAGE = pathlib.Path(__file__).parents[2]


def replay(config: ConfigDict, workdir: pathlib.Path) -> str:
  """Repeats the steps from the newest checkpoint on, and the first one that is not finite operation by operation.

  The state before that step is saved in workdir/debug/checkpoints, from which the next call starts.

  Returns:
    A sentence that names the step, the first metric or parameter that is not finite, the operation and its line.
  """
  saved = workdir / "debug"
  experiment, state = restore(config, workdir, averaged=False)
  if (saved / "checkpoints").is_dir():
    with checkpoint.open_manager(saved, read_only=True) as manager:
      state = checkpoint.restore_latest(manager, state) or state
  if int(state.step) == 0 and config.init_from:
    state, _ = warm_start.from_run(state, config.init_from)
  key, arrays = jax.random.key(config.seed), experiment.splits.train
  order = jax.jit(rng.epoch_indices, static_argnums=(2, 3, 4))
  take_step = jax.jit(make_train_step(experiment.system, experiment.transforms.train, size(arrays)))
  with progress_bar(experiment.num_steps, int(state.step), "replay") as bar:
    for step in range(int(state.step), experiment.num_steps):
      indices = jax.device_get(order(rng.stream(key, "data"), step, 1, size(arrays), experiment.examples_per_step)[0])
      batch = jax.tree.map(lambda a, indices=indices: jnp.asarray(a[indices]), arrays)
      after, metrics = take_step(state, key, batch)
      if (name := _first_bad({"metric": metrics, "parameter": after.params})) is not None:
        break
      state = after
      bar.update()
    else:
      return f"All steps up to {experiment.num_steps} are finite."
  with checkpoint.open_manager(saved) as manager:
    checkpoint.save(manager, step, state)
  return f"At step {step + 1} {name} is not finite: {_operation(take_step, state, key, batch)}"


def _first_bad(trees: dict[str, Any]) -> str | None:
  for path, leaf in jax.tree_util.tree_leaves_with_path(trees):
    if jnp.issubdtype(leaf.dtype, jnp.floating) and not jnp.isfinite(leaf).all():
      return f"{path[0].key} {'/'.join(str(k.key) for k in path[1:])}"
  return None


def _is_ours(path: pathlib.Path) -> bool:
  return _PACKAGE in path.parents or references.is_imported(path)


def _operation(take_step: Any, *args: Any) -> str:
  """The first operation of the step that gives NaN, else the first that gives Inf, and its line of code."""
  for checks in ((jax.debug_nans,), (jax.debug_nans, jax.debug_infs)):
    try:
      with contextlib.ExitStack() as stack:
        for check in checks:
          stack.enter_context(check(True))
        jax.block_until_ready(take_step(*args))
    except FloatingPointError as e:
      frames = [f for f in traceback.extract_tb(e.__traceback__) if _is_ours(pathlib.Path(f.filename))]
      frames = [f for f in frames if pathlib.Path(f.filename) != pathlib.Path(__file__)]
      where = f" in {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
      return f"{str(e).splitlines()[0].rstrip('.')}{where}"
  return "no single operation produces it, only the whole compiled step."

"""What is done with a trained state: the numbers to report, and finding it again."""

import math
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from dgm_jax import checkpoint, evaluate, metrics
from dgm_jax import workdir as wd
from dgm_jax.build import Experiment, build, make_init
from dgm_jax.core import errors, files, rng
from dgm_jax.core.batches import size
from dgm_jax.core.registry import module
from dgm_jax.data import fingerprints
from dgm_jax.devices import of_state, shardings
from dgm_jax.ending import best_step

# The key of what is reported is the same for all runs: whatever their seeds, they are measured on the same binarised
# images with the same noise, so that their difference can be taken example by example.
_EVALUATION_SEED = 0


def evaluate_finally(
  config: ConfigDict,
  experiment: Experiment,
  state: Any,
  workdir: pathlib.Path,
  merge: bool = False,
  values_file: str = "values.npz",
) -> dict[str, Any]:
  """The numbers to report, on the test set, with what one must know to compare them.

  The values behind them, of every example and latent unit, go to workdir/values_file, under "test/NAME"; with `merge`
  what is there under other names stays.
  """
  key = rng.stream(jax.random.key(_EVALUATION_SEED), "eval")
  results, values = {}, {}
  for name, options in config.evaluate.items():
    evaluation = module(evaluate, "evaluation", name)
    found = evaluation.evaluate(experiment, state, key, experiment.splits.test, **options)
    values |= {f"test/{k}": v for k, v in found.pop("values", {}).items()}
    for figure, draw in found.pop("figures", {}).items():
      draw(workdir / "figures" / f"{figure}.png")
    results |= {f"test/{k}": v for k, v in found.items()}
  bad = [k for k, v in results.items() if isinstance(v, float) and not math.isfinite(v)]
  if bad:
    step = int(state.step)
    raise errors.DivergenceError(f"The evaluation gave {bad[0]} = {results[bad[0]]} at step {step}.", step)
  path = workdir / values_file
  if values:
    files.save_arrays(path, **((files.load_arrays(path) if merge and path.exists() else {}) | values))
  return results | {"step": int(state.step)} | about(config, experiment)


def about(config: ConfigDict, experiment: Experiment) -> dict[str, Any]:
  """What one must know to compare a number with another's."""
  sizes = {part: size(arrays) for part, arrays in experiment.splits.parts().items()}
  return {
    "seed": config.seed,
    "data": config.data.name,
    "transforms": list(config.data.transforms),
    "split_sizes": sizes,
    "data_digest": fingerprints.digest(experiment.splits.parts()),
  }


def restore(
  config: ConfigDict, workdir: str | pathlib.Path, which: str = "latest", averaged: bool = True
) -> tuple[Experiment, Any]:
  """(experiment, state) of a run, to evaluate or to sample.

  Args:
    config: the run's.
    workdir: its folder.
    which: "latest", "best" (by keep_best) or a step.
    averaged: whether the parameters are to be their moving averages, if there are any; else the state is that of
      training, at step 0 if none is saved.
  """
  workdir = pathlib.Path(workdir)
  wd.check_same_run(workdir, config.to_dict())
  experiment = build(config)
  wd.check_data(workdir, about(config, experiment))
  init = make_init(experiment, config.seed)
  placed = of_state(jax.eval_shape(init), shardings(config.batch_size)[0].mesh, config.get("shard_params", False))
  state, template = None, jax.jit(init, out_shardings=placed)()
  if (workdir / "checkpoints").is_dir():
    with checkpoint.open_manager(workdir, read_only=True) as checkpoints:
      step = _step_of(which, config.get("keep_best", ""), set(checkpoints.all_steps()), metrics.read(workdir))
      state = checkpoint.restore_latest(checkpoints, template, step=step)
  if not averaged:
    return experiment, template if state is None else state
  errors.require(state is not None, f"--workdir {workdir} has no checkpoint yet; train it first.")
  return experiment, state.averaged()


def _step_of(which: str, metric: str, steps: set[int], rows: list[dict]) -> int | None:
  """The step that "latest" (None, the newest that can be read), "best" or a number stands for."""
  if which == "latest":
    return None
  if which == "best":
    errors.require(metric != "", "--checkpoint=best needs a run with keep_best, the metric to go by.")
    step = best_step(rows, metric, steps)
    errors.require(step is not None, f"No checkpoint was saved at an evaluation of {metric}.")
    return step
  errors.choose("value of --checkpoint", which, ["latest", "best", *map(str, steps)])
  return int(which)

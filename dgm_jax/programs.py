"""The compiled programs that every system runs in: a chunk of training steps, and the evaluation of a set."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from dgm_jax import rng
from dgm_jax.data.splits import size
from dgm_jax.figures import image_grid
from dgm_jax.system import System


def make_train_chunk(
  system: System,
  transform: Callable,
  batch_size: int,
  length: int,
  sharding: NamedSharding | None = None,
) -> Callable:
  """(state, key, data) -> (state, {name: [length]}): `length` steps in one program, data on the device.

  Args:
    system, transform: what a step does.
    batch_size, length: examples a step, steps a call; static.
    sharding: of the batch, over the data axis of the devices.
  """

  def train_chunk(state, key, data):
    n = size(data)

    def step(state, indices):
      return _train_step(system, transform, sharding, n, state, key, jax.tree.map(lambda a: a[indices], data))

    order = rng.epoch_indices(rng.stream(key, "data"), state.step, length, n, batch_size)
    return jax.lax.scan(step, state, order)

  return train_chunk


def make_train_batches(
  system: System, transform: Callable, num_examples: int, sharding: NamedSharding | None = None
) -> Callable:
  """(state, key, batches) -> (state, {name: [length]}): a step for each of the batches {name: [length, B, ...]}.

  The same steps as make_train_chunk's, where the examples come from the host.

  Args:
    system, transform: what a step does.
    num_examples: of the training set; tells the epoch.
    sharding: of a batch.
  """

  def train_batches(state, key, batches):
    step = lambda state, batch: _train_step(system, transform, sharding, num_examples, state, key, batch)
    return jax.lax.scan(step, state, batches)

  return train_batches


def make_train_step(system: System, transform: Callable, num_examples: int) -> Callable:
  """(state, key, batch) -> (state, {name: scalar}): one step of the chunk's, alone."""
  return functools.partial(_train_step, system, transform, None, num_examples)


def _train_step(system, transform, sharding, num_examples, state, key, batch) -> tuple[Any, dict]:
  """One step on a batch {name: [B, ...]}; its randomness is a function of (key, state.step)."""
  if sharding is not None:
    batch = jax.lax.with_sharding_constraint(batch, sharding)
  key_transform, key_step = jax.random.split(jax.random.fold_in(rng.stream(key, "train"), state.step))
  batch_size = size(batch)
  epoch = jnp.broadcast_to(state.step // (num_examples // batch_size), (batch_size,))
  batch = transform(key_transform, batch | {"epoch": epoch})
  return system.train_step(state, key_step, batch)


def make_evaluate_step(eval_step: Callable, transform: Callable) -> Callable:
  """(state, key, batch, start) -> eval_step of a set's examples start, start + 1, ...; see make_evaluate_examples."""

  def evaluate_batch(state, key, batch, start):
    indices = start + jnp.arange(size(batch))
    keys = jax.vmap(functools.partial(jax.random.fold_in, rng.stream(key, "transform")))(indices)
    batch = _along_mesh(jax.vmap(transform)(keys, batch), PartitionSpec("data"), len(indices))
    values = eval_step(state, jax.random.fold_in(rng.stream(key, "step"), start), batch)
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
      if leaf.shape[:1] != indices.shape:
        raise ValueError(f"eval_step gives {jax.tree_util.keystr(path)} of shape {leaf.shape}, not [B, ...]")
    return _along_mesh(values, PartitionSpec(), len(indices))  # every host gets all

  return evaluate_batch


def make_evaluate_examples(eval_step: Callable, transform: Callable, batch_size: int, lanes: bool = False) -> Callable:
  """(state, key, data, progress) -> {name: [N]}, eval_step of every example of a set.

  The transform's randomness is a function of (key, index of the example), so that a set is binarised alike whatever
  the batch size.  The last batch is padded with examples that are dropped again.  Under a mesh (jax.set_mesh) whose
  axis "data" divides the batch, each of its devices takes a part.

  Args:
    eval_step: (state, key, batch) -> pytree with leaves [B, ...].
    transform: see data.transforms.
    batch_size: examples at once.
    lanes: whether state and key have runs in front, [R, ...], and so have the values, [R, N, ...].
  """

  evaluate_batch = make_evaluate_step(eval_step, transform)
  compiled = jax.jit(jax.vmap(evaluate_batch, (0, 0, None, None)) if lanes else evaluate_batch)

  def run(state, key, data, progress: Callable[[int], Any] = lambda count: None):
    n = size(data)
    rows = min(batch_size, n)
    batches = []
    for start in range(0, n, rows):  # only a batch at a time goes to the device: the set may be larger than its memory
      batch = jax.tree.map(lambda a: a[start : start + rows], data)
      if (missing := start + rows - n) > 0:
        batch = jax.device_get(jax.tree.map(lambda part, a: jnp.concatenate([part, a[:missing]]), batch, data))
      batches.append(jax.device_get(compiled(state, key, batch, start)))
      progress(min(rows, n - start))
    axis = int(lanes)
    whole = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis), *batches)
    return jax.tree.map(lambda a: a[:, :n] if lanes else a[:n], whole)

  return run


def _along_mesh(tree: Any, spec: PartitionSpec, rows: int) -> Any:
  """Lays [rows, ...] along the mesh that there is, if its devices divide the rows."""
  parts = jax.sharding.get_abstract_mesh().shape.get("data")
  return tree if parts is None or rows % parts else jax.lax.with_sharding_constraint(tree, spec)


def make_pictures(system: System, transform: Callable) -> Callable:
  """(state, key, examples) -> {name: [height, width, C]}: what the system shows, where it is images, as one each."""

  def pictures(state, key, examples):
    key_transform, key_pictures = jax.random.split(key)
    shown = system.pictures(state, key_pictures, transform(key_transform, examples)) if system.pictures else {}
    return {k: image_grid(v) for k, v in shown.items() if v.ndim in (4, 5) and v.shape[-1] in (1, 3)}

  return pictures


def mean_and_error(values: jax.Array) -> tuple[float, float]:
  """Mean of [N] and its standard error, summed in double precision."""
  values = jax.device_get(values).tolist()
  mean = math.fsum(values) / len(values)
  variance = math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
  return mean, math.sqrt(variance / len(values))


def make_evaluate(system: System, transform: Callable, batch_size: int) -> Callable:
  """(state, key, data) -> {name: float}: the exact mean of eval_step over a set, whatever the batch size."""
  run = make_evaluate_examples(system.eval_step, transform, batch_size)

  def evaluate_set(state, key, data):
    return {name: mean_and_error(values)[0] for name, values in run(state, key, data).items()}

  return evaluate_set

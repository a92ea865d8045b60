"""Evaluation of a state on a whole data set: per-example values, means and standard errors."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from dgm_jax.core import rng
from dgm_jax.core.batches import size
from dgm_jax.core.system import System, prepared


def make_prepare(system: System, lanes: bool = False) -> Callable:
  """Makes (state) -> the state to evaluate, sample and draw, see system.prepared; with a run axis for lanes."""
  if system.prepare is None:
    return lambda state: state.averaged()
  function = functools.partial(prepared, system)
  return jax.jit(jax.vmap(function) if lanes else function)


def make_evaluate_step(eval_step: Callable, transform: Callable) -> Callable:
  """Makes (state, key, batch, start) -> {name: [B]}: eval_step for the examples start, start + 1, ... of a data set.

  The function raises ValueError if a value lacks the leading axis [B]; see make_evaluate_examples.
  """

  def evaluate_batch(state, key, batch, start):
    indices = start + jnp.arange(size(batch))
    keys = jax.vmap(functools.partial(jax.random.fold_in, rng.stream(key, "transform")))(indices)
    batch = _along_mesh(jax.vmap(transform)(keys, batch), PartitionSpec("data"), len(indices))
    values = eval_step(state, jax.random.fold_in(rng.stream(key, "step"), start), batch)
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
      if leaf.shape[:1] != indices.shape:
        raise ValueError(f"eval_step returns {jax.tree_util.keystr(path)} of shape {leaf.shape}, not [B, ...]")
    return _along_mesh(values, PartitionSpec(), len(indices))  # every host gets all values

  return evaluate_batch


def make_evaluate_examples(eval_step: Callable, transform: Callable, batch_size: int, lanes: bool = False) -> Callable:
  """Makes (state, key, data, progress) -> {name: [N]}: eval_step for every example of a data set.

  The transform's randomness is a function of (key, index of the example), so that a set is binarised in the same way
  for any batch size.  The last batch is padded, and the values of the padding are dropped.  Under a mesh (jax.set_mesh)
  whose axis "data" divides the batch, the batch is split over its devices.

  Args:
    eval_step: (state, key, batch) -> pytree with leaves [B, ...].
    transform: see data.transforms.
    batch_size: number of examples evaluated at once.
    lanes: whether state and key have a leading run axis, [R, ...]; the values then are [R, N, ...].
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
  """Distributes [rows, ...] over the current mesh by `spec`, if the mesh's axis "data" divides the rows."""
  parts = jax.sharding.get_abstract_mesh().shape.get("data")
  return tree if parts is None or rows % parts else jax.lax.with_sharding_constraint(tree, spec)


def mean_and_error(values: jax.Array) -> tuple[float, float]:
  """Mean of [N] and its standard error, summed in double precision."""
  values = jax.device_get(values).tolist()
  mean = math.fsum(values) / len(values)
  variance = math.fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
  return mean, math.sqrt(variance / len(values))


def means_and_errors(values: dict[str, jax.Array]) -> dict[str, tuple[float, float]]:
  """{name: (mean, standard error)} of {name: [N]}.

  Where `labelled` [N] is among them, `accuracy` is of the examples with labelled > 0, and absent if there are none.
  """
  values = dict(values)
  if {"labelled", "accuracy"} <= values.keys():
    values["accuracy"] = jax.device_get(values["accuracy"])[jax.device_get(values["labelled"]) > 0]
  return {name: mean_and_error(value) for name, value in values.items() if len(value)}


def make_evaluate(system: System, transform: Callable, batch_size: int) -> Callable:
  """Makes (state, key, data) -> {name: float}: the mean of eval_step over a data set, exact for any batch size."""
  run = make_evaluate_examples(system.eval_step, transform, batch_size)

  def evaluate_set(state, key, data):
    return {name: mean for name, (mean, _) in means_and_errors(run(state, key, data)).items()}

  return evaluate_set

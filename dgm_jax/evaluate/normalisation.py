"""The sum or integral of p(x) over all x: 1 for a model whose log p(x) is right."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

NEEDS = ("log_prob", "data_shape")  # of the model
_MOST_BITS = 20  # whose states are enumerated
_MARGINAL = 16  # entries of a marginal of larger nets
_ROWS = 8  # of the data, given which the entries of an autoregressive density are integrated


def check(*, num_points: int = 1, radius: float = 1.0, num_samples: int = 1, chunk: int = 1) -> None:
  """Raises UserError for an invalid option."""
  for name, value in (("num_points", num_points), ("num_samples", num_samples), ("chunk", chunk)):
    errors.require(value >= 1, f"evaluate.normalisation.{name} = {value}; it must be 1 or more.")
  errors.require(radius > 0, f"evaluate.normalisation.radius = {radius}; it must be positive.")


def _log_sum(log_prob: Callable, points: Callable, count: int, chunk: int) -> jax.Array:
  """log sum_i p(points(i)) for i = 0 .. count - 1, `chunk` points at once."""

  def add(total, start):
    index = start + jnp.arange(chunk)
    log_p = jnp.where(index < count, log_prob(points(index)), -jnp.inf)
    return jnp.logaddexp(total, jax.scipy.special.logsumexp(log_p)), None

  return jax.lax.scan(add, jnp.float32(-jnp.inf), jnp.arange(0, count, chunk))[0]


def _states(index: jax.Array, bound: Any, num: int) -> jax.Array:
  """The states of `num` entries with values 0 .. levels - 1, or the model's, by their numbers [G]: [G, num]."""
  levels = bound.num_levels
  which = index[:, None] // levels ** jnp.arange(num) % levels
  return bound.values[which] if hasattr(bound, "values") else which.astype(jnp.float32)


def _batch(x: jax.Array, shape: tuple[int, ...]) -> dict[str, jax.Array]:
  return {"x": x.reshape(-1, *shape), "index": jnp.arange(x.shape[0])}


def _sum_over_states(bound: Any, shape: tuple[int, ...], levels: int, chunk: int) -> dict[str, Any]:
  """The sum over all states, or over those of the entries that come first in the model's order."""
  dim, most = math.prod(shape), int(_MOST_BITS / math.log2(levels))
  if dim <= most:
    count = levels**dim
    log_sum = _log_sum(lambda x: bound.log_prob(_batch(x, shape)), lambda i: _states(i, bound, dim), count, chunk)
    return {"normalisation": jnp.exp(log_sum), "normalisation_states": count}
  errors.require(
    hasattr(bound, "log_prob_of_first"),
    f"evaluate.normalisation sums over at most {most} entries with {levels} values; this model has {dim}, and no "
    "log_prob_of_first(batch, num), the log-probability of the entries that come first in its order.",
  )
  first = max(1, int(_MARGINAL / math.log2(levels)))
  order = bound.first(first)
  place = lambda states: jnp.zeros((states.shape[0], dim)).at[:, order].set(states)
  log_prob = lambda states: bound.log_prob_of_first(_batch(place(states), shape), first)
  log_sum = _log_sum(log_prob, lambda i: _states(i, bound, first), levels**first, chunk)
  return {"normalisation": jnp.exp(log_sum), "normalisation_states": levels**first}


def _integral(
  bound: Any, shape: tuple[int, ...], mean: jax.Array, std: jax.Array, num_points: int, radius: float, chunk: int
) -> dict[str, Any]:
  """By the rectangle rule on num_points^D points within `radius` standard deviations of the mean."""
  dim = math.prod(shape)

  def points(index):
    axes = index[:, None] // num_points ** jnp.arange(dim) % num_points
    return mean + std * radius * ((2 * axes + 1) / num_points - 1)

  log_sum = _log_sum(lambda x: bound.log_prob(_batch(x, shape)), points, num_points**dim, chunk)
  log_cell = jnp.sum(jnp.log(2 * radius * std / num_points))
  return {"normalisation": jnp.exp(log_sum + log_cell), "normalisation_points": num_points**dim}


def _conditionals(
  bound: Any, x: jax.Array, shape: tuple[int, ...], mean: jax.Array, std: jax.Array, num_points: int, radius: float
) -> dict[str, Any]:
  """Integrals of p(x_d | the entries before d) over x_d, of every d, order and row of x: the one farthest from 1."""
  cell = 2 * radius * std / num_points

  def integral(d, which, row):
    at = mean[d] + std[d] * radius * ((2 * jnp.arange(num_points) + 1) / num_points - 1)
    points = jnp.broadcast_to(row, (num_points, mean.size)).at[:, d].set(at)
    return cell[d] * jnp.exp(bound.log_prob_of_entries(_batch(points, shape), which)[:, d]).sum()

  sizes = (mean.size, bound.num_orders, x.shape[0])
  d, which, row = (i.reshape(-1) for i in jnp.indices(sizes))
  found = jax.lax.map(lambda at: integral(at[0], at[1], x[at[2]]), (d, which, row))
  worst = found[jnp.argmax(jnp.abs(found - 1))]
  return {"normalisation": worst, "normalisation_points": num_points, "normalisation_integrals": found.size}


def _weighed(
  bound: Any, key: jax.Array, shape: tuple[int, ...], mean: jax.Array, std: jax.Array, num: int, chunk: int
) -> dict[str, Any]:
  """By importance sampling from independent Student's t with 5 degrees of freedom and twice the data's scale."""
  degrees, scale = 5.0, 2 * std

  def weigh(key):
    t = jax.random.t(key, degrees, (chunk, mean.size))
    log_r = jnp.sum(jax.scipy.stats.t.logpdf(t, degrees) - jnp.log(scale), 1)
    return jnp.exp(bound.log_prob(_batch(mean + scale * t, shape)) - log_r)

  weights = jax.lax.map(weigh, jax.random.split(key, -(-num // chunk))).reshape(-1)
  error = jnp.std(weights) / math.sqrt(weights.size)
  return {"normalisation": jnp.mean(weights), "normalisation_stderr": error, "normalisation_samples": weights.size}


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_points: int = 1000,
  radius: float = 8.0,
  num_samples: int = 100_000,
  chunk: int = 1024,
) -> dict[str, Any]:
  """The sum over all x of p(x), or its integral; it is 1 unless log p is wrong.

  Discrete x (a model with `num_levels`, the number of values of an entry): the sum over all states, up to 2^20 of
  them; of larger models, over 2^16 states of the entries that come first in the model's order, whose probability is
  the product of the first conditionals.  Real x: the integral over a grid for one or two entries.  Of more entries, the
  integral over each entry of p(x_d | the entries before d) given rows of the data, which are 1 together with that of
  p(x) where the model is autoregressive; of other models by importance sampling, with its standard error, which is too
  small where p has modes that the draws miss.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, examples.
    num_points: points on each axis of the grid.
    radius: half the range of the grid, in standard deviations of the training set about its mean.
    num_samples: draws of importance sampling.
    chunk: states, points or draws at once; the points of one entry are always together.

  Returns:
    normalisation; normalisation_states, normalisation_points or normalisation_samples, how many; for the last,
    normalisation_stderr; of an autoregressive density normalisation is the integral that is farthest from 1, of
    normalisation_integrals.

  Raises:
    UserError: discrete x of too many states, of a model without an order, or counts.
  """
  model = experiment.model
  shape, levels = tuple(model.data_shape), getattr(model, "num_levels", None) or None  # 0 of a density of real numbers
  errors.require(
    "context" not in arrays and "mask" not in arrays,
    "evaluate.normalisation is for p(x) of whole examples; these have a context or missing entries.",
  )

  errors.require(
    levels is not None or getattr(model, "takes_real_numbers", True),
    "evaluate.normalisation sums over finitely many values or integrates a density; counts have no end.",
  )

  of_data = experiment.transforms.statistics
  mean, std = (jnp.asarray(a, jnp.float32).reshape(-1) for a in (of_data.mean, of_data.std))
  by_entry = levels is None and mean.size > 2 and hasattr(model, "log_prob_of_entries")

  def run(state, key, mean, std):
    bound = model.bind({"params": state.params, **state.variables})
    if levels is not None:
      return _sum_over_states(bound, shape, levels, chunk)
    if mean.size <= 2:
      return _integral(bound, shape, mean, std, num_points, radius, chunk)
    if by_entry:
      batch = experiment.transforms.evaluate(key, {name: jnp.asarray(a[:_ROWS]) for name, a in arrays.items()})
      rows = batch["x"].reshape(-1, mean.size).astype(jnp.float32)
      return _conditionals(bound, rows, shape, mean, std, num_points, radius)
    return _weighed(bound, key, shape, mean, std, num_samples, chunk)

  found = jax.device_get(jax.jit(run)(state, key, mean, std))
  return {name: value.item() for name, value in found.items()}

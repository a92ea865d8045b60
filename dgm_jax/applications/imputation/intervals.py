"""Intervals from multiple imputations, and how often they cover the truth."""

import jax
import jax.numpy as jnp

from dgm_jax.core import errors


def interval(draws: jax.Array, level: float = 0.9) -> tuple[jax.Array, jax.Array]:
  """(low, high), each [...], from draws [R, ...]: the order statistics a and R + 1 - a, a = (1 - level) (R + 1) / 2.

  If the truth is another draw from the same distribution, it lies between them with probability 1 - 2 a / (R + 1):
  exactly `level` if a is an integer; otherwise a is rounded down and the probability is slightly larger.

  Raises:
    UserError: R is too small for the level.
  """
  num_draws = draws.shape[0]
  errors.require(0 < level < 1, f"level = {level}; the level of an interval must be between 0 and 1.")
  a = int((1 - level) * (num_draws + 1) / 2 + 1e-6)
  errors.require(a >= 1, f"An interval of level {level} needs more than {num_draws} draws.")
  ordered = jnp.sort(draws, 0)
  return ordered[a - 1], ordered[num_draws - a]


def coverage(draws: jax.Array, truth: jax.Array, where: jax.Array, level: float = 0.9) -> jax.Array:
  """The share of entries with where = 1 whose truth lies in their interval, a scalar.

  Shapes: draws [R, ...], truth and where [...].
  """
  low, high = interval(draws, level)
  inside = (low <= truth) & (truth <= high)
  return jnp.sum(jnp.where(where > 0, inside, False)) / jnp.sum(where > 0)

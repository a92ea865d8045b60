"""Running sums over chunks of importance samples: memory does not grow with the number of samples.

A chunk has C log-weights log_w [C], -inf for padding.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Weights(NamedTuple):
  """Sums over the samples so far, scalars, relative to the greatest weight.

  Attributes:
    top: the greatest log w.
    total: sum of exp(log w - top).
    squares: sum of exp(2 (log w - top)).
  """

  top: jax.Array
  total: jax.Array
  squares: jax.Array

  @property
  def log_sum(self) -> jax.Array:
    """log sum_k w_k."""
    return self.top + jnp.log(self.total)

  @property
  def effective(self) -> jax.Array:
    """Kish's effective number of samples, (sum_k w_k)^2 / sum_k w_k^2; 0 where all weights are 0."""
    return jnp.square(self.total) / jnp.where(self.squares > 0, self.squares, 1)


def no_weights() -> Weights:
  """The sums over no samples."""
  return Weights(jnp.float32(-jnp.inf), jnp.float32(0), jnp.float32(0))


def add_weights(sums: Weights, log_w: jax.Array) -> tuple[Weights, jax.Array, jax.Array]:
  """(sums including the chunk; the chunk's weights divided by their sum, [C]; that sum divided by the new total)."""
  top = jnp.maximum(sums.top, jnp.max(log_w))
  reference = jnp.where(jnp.isfinite(top), top, 0)  # where all weights so far are 0
  old, w = jnp.exp(sums.top - reference), jnp.exp(log_w - reference)
  here, total = jnp.sum(w), old * sums.total + jnp.sum(w)
  squares = jnp.square(old) * sums.squares + jnp.sum(jnp.square(w))
  ratio = lambda a, b: a / jnp.where(b > 0, b, 1)
  return Weights(top, total, squares), ratio(w, here), ratio(here, total)


class Moments(NamedTuple):
  """The weighted mean of f(z) and its weighted variance, pytrees."""

  mean: Any
  variance: Any


def add_moments(moments: Moments, p: jax.Array, share: jax.Array, f: Any) -> Moments:
  """The moments including f [C, ...] of a chunk, without cancellation (Chan, Golub & LeVeque, 1983).

  p, share: the second and third result of add_weights.
  """

  def mean(old, f):
    return old + share * (jnp.tensordot(p, f, 1) - old)

  def variance(old_mean, old, f):
    here = jnp.tensordot(p, f, 1)
    spread = jnp.tensordot(p, jnp.square(f - here), 1)
    return (1 - share) * old + share * spread + share * (1 - share) * jnp.square(here - old_mean)

  return Moments(jax.tree.map(mean, moments.mean, f), jax.tree.map(variance, moments.mean, moments.variance, f))


def resample(key: jax.Array, kept: Any, p: jax.Array, share: jax.Array, z: Any) -> Any:
  """R independent draws with probabilities proportional to the weights of all samples so far (reservoir; Chao, 1982).

  Each kept draw is replaced with probability `share`, by the chunk's c-th sample with probability p_c.  After the last
  chunk it is sample k with probability w_k / sum w, as if drawn from all samples at once.

  Args:
    key: PRNG key, a new one for each chunk.
    kept: leaves [R, ...].
    p, share: the second and third result of add_weights.
    z: leaves [C, ...].
  """
  num_kept = jax.tree.leaves(kept)[0].shape[0]
  u, v = jax.random.uniform(key, (2, num_kept))
  ends = jnp.cumsum(p)
  last = jnp.searchsorted(ends, ends[-1])  # rounding must not select a later sample, of weight 0
  chosen = jnp.minimum(jnp.searchsorted(ends, v * ends[-1], side="right"), last)
  replaced = u < share
  pick = lambda old, new: jnp.where(replaced.reshape(-1, *(1,) * (new.ndim - 1)), new[chosen], old)
  return jax.tree.map(pick, kept, z)

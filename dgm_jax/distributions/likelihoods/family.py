"""The family of distributions of the entries of x in a likelihood p(x|z) = prod_d p(x_d | h_d)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import Factorised


class Family(NamedTuple):
  """The distribution of an entry of x given P outputs of the decoder.

  Attributes:
    given: (h_1, ..., h_P), each [..., D] -> the distribution of x, batch [...], event [D].
    start: mean of the data [D] -> initial outputs (h_1, ..., h_P) of the decoder; numbers or [D].
    num_outputs: P.
    support: the smallest and the largest x.
    num_classes: C where x is a class 0..C-1, which the encoder receives one-hot; else None.
    shares_scale: whether `given` takes the log of one learned scale as its last argument.
    min_scale: the least scale, 0 where it can go to 0; None where x has no learned scale.
    num_values: V where x has finitely many values, equally spaced over the support; else None.
    of_counts: whether x is 0, 1, 2, ... without end.
  """

  given: Callable
  start: Callable
  num_outputs: int = 1
  support: tuple[float, float] = (-math.inf, math.inf)
  num_classes: int | None = None
  shares_scale: bool = False
  min_scale: float | None = None
  num_values: int | None = None
  of_counts: bool = False

  def width(self, dim: int) -> int:
    """P D, the number of the decoder's outputs for D entries."""
    return self.num_outputs * dim

  def num_features(self, dim: int) -> int:
    """The width of the encoder's input for D entries."""
    return dim * (self.num_classes or 1)

  def centre(self, dim: int) -> tuple[float, ...]:
    """The middle of the support, or 0, D times."""
    low, high = self.support
    return ((low + high) / 2 if math.isfinite(high - low) else 0.0,) * dim

  def values(self) -> jax.Array:
    """The values that x can have, [V].  Raises UserError if there are infinitely many."""
    errors.require(self.num_values is not None, "this likelihood is of numbers, which have infinitely many values")
    low, high = self.support
    return low + jnp.arange(self.num_values) * (high - low) / (self.num_values - 1)

  def log_probs(self, entries: distrax.Distribution) -> jax.Array:
    """log P of each value under a distribution of entries [...], up to a constant, [..., V]."""
    if isinstance(entries, distrax.Categorical):
      return entries.logits
    return jnp.moveaxis(jax.vmap(lambda v: entries.log_prob(jnp.full(entries.batch_shape, v)))(self.values()), 0, -1)

  def bias(self, mean: jax.Array) -> jax.Array:
    """The initial outputs [P D] of the decoder for the mean of the data [D], see `start`."""
    blocks = [jnp.broadcast_to(jnp.asarray(h, mean.dtype), mean.shape) for h in self.start(mean)]
    return jnp.concatenate(blocks)

  def features(self, x: jax.Array) -> jax.Array:
    """The encoder's input for x [B, D]: x itself, or one-hot vectors, [B, D C]."""
    if self.num_classes is None:
      return x
    return jax.nn.one_hot(x.astype(jnp.int32), self.num_classes).reshape(x.shape[0], -1)

  def spread(self, mask: jax.Array) -> jax.Array:
    """The mask of the features for the mask [B, D] of the entries: the same, or [B, D C]."""
    return mask if self.num_classes is None else jnp.repeat(mask, self.num_classes, -1)

  def distribution(self, h: jax.Array, *scale: jax.Array) -> Factorised:
    """p(x|z) for outputs h [..., P D]; `scale`: the log of the shared scale, if there is one."""
    return self.given(*jnp.split(h, self.num_outputs, -1), *scale)


def bias_at_logit(mean: Sequence[float] | None, floor: float = 1e-3) -> Callable:
  """Initialiser of a Bernoulli decoder's output bias: logit of the mean, at least `floor` from 0 and 1; 0 for None."""
  if mean is None:
    return nn.initializers.zeros

  def init(key, shape, dtype=jnp.float32):
    del key
    return jax.scipy.special.logit(jnp.clip(jnp.asarray(mean, dtype), floor, 1 - floor)).reshape(shape)

  return init

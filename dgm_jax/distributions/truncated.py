"""Truncated draws of one of V classes: temperature, top-k (Fan et al., 2018) and top-p (Holtzman et al., 2020)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

_GREEDY = 1e-30  # a lower temperature is the limit 0


class Truncation(NamedTuple):
  """How classes are drawn; the defaults draw from the probabilities themselves.

  Attributes:
    temperature: T; logits are divided by it.  0 draws the most probable class.
    top_k: only the k most probable classes are drawn; 0 for all.
    top_p: only the most probable classes whose probabilities add up to top_p or more are drawn, as few as possible.
  """

  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0

  def check(self) -> "Truncation":
    """Returns itself.  Raises UserError for an invalid value."""
    temperature, top_k, top_p = self
    errors.require(
      0 <= temperature < math.inf,
      f"temperature = {temperature}; it must be 0, which draws the most probable value, or a positive number",
    )
    errors.require(
      top_k == int(top_k) and top_k >= 0, f"top_k = {top_k}; it must be a number of values, or 0 for all of them"
    )
    errors.require(0 < top_p <= 1, f"top_p = {top_p}; it must be a probability in (0, 1]")
    return self

  def is_default(self) -> bool:
    """Whether draws are from the probabilities themselves."""
    return self == Truncation()

  def logits(self, logits: jax.Array) -> jax.Array:
    """Logits [..., V] of the truncated probabilities: -inf for classes that are not drawn.

    Temperature comes first, then top_k, then top_p of what is left.  Of equally probable classes the first ones stay.
    """
    if self.temperature < _GREEDY:
      first = jnp.argmax(logits, -1, keepdims=True) == jnp.arange(logits.shape[-1])
      return jnp.where(first, 0.0, -jnp.inf)
    if self.temperature != 1:
      logits = (logits - jnp.max(logits, -1, keepdims=True)) / self.temperature
    if not self.top_k and self.top_p == 1:
      return logits
    order = jnp.argsort(-logits, -1, stable=True)
    falling = jnp.take_along_axis(logits, order, -1)
    if self.top_k:
      falling = jnp.where(jnp.arange(logits.shape[-1]) < self.top_k, falling, -jnp.inf)
    if self.top_p < 1:
      p = jax.nn.softmax(falling, -1)
      falling = jnp.where(jnp.cumsum(p, -1) - p < self.top_p, falling, -jnp.inf)
    return jnp.take_along_axis(falling, jnp.argsort(order, -1), -1)

  def draw(self, key: jax.Array, logits: jax.Array) -> jax.Array:
    """A class for each row of logits [..., V], int32 [...]."""
    if self.temperature < _GREEDY:
      return jnp.argmax(logits, -1)
    return jax.random.categorical(key, self.logits(logits))

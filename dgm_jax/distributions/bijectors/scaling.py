"""Scale and shift of every entry or channel: actnorm, batch normalisation, a learned affine map."""

import math

import distrax
import jax
import jax.numpy as jnp


class Scaling(distrax.Bijector):
  """y = (x - loc) exp(log_scale) + bias, of [D], or of the channels of [H, W, C].

  Args:
    loc, log_scale, bias: arrays that broadcast with the last axis.
    event_ndims: axes of an event.
  """

  def __init__(
    self, loc: jax.Array, log_scale: jax.Array, bias: jax.Array | float = 0.0, event_ndims: int = 1
  ):  # fmt: skip
    super().__init__(event_ndims_in=event_ndims, is_constant_jacobian=True)
    self.loc, self.log_scale, self.bias, self._event_ndims = loc, log_scale, bias, event_ndims

  def _log_det(self, x):
    batch, event = x.shape[: x.ndim - self._event_ndims], x.shape[x.ndim - self._event_ndims :]
    of_entries = jnp.broadcast_to(self.log_scale, (*self.log_scale.shape[:-1], event[-1]))
    return jnp.broadcast_to(jnp.sum(of_entries, -1) * math.prod(event[:-1]), batch).astype(x.dtype)

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (x - self.loc) * jnp.exp(self.log_scale) + self.bias, self._log_det(x)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (y - self.bias) * jnp.exp(-self.log_scale) + self.loc, -self._log_det(y)


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(mean, variance) over all axes but the last, [C] each."""
  axes = tuple(range(x.ndim - 1))
  mean = jnp.mean(x, axes)
  return mean, jnp.mean(jnp.square(x - mean), axes)

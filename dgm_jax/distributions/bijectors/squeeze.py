"""Pixels into channels, and images into vectors."""

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors


class Squeeze(distrax.Bijector):
  """[H, W, C] -> [H / 2, W / 2, 4 C]: each block of 2 x 2 pixels becomes one pixel (Dinh et al., 2017)."""

  def __init__(self):
    super().__init__(event_ndims_in=3, is_constant_jacobian=True)

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    *batch, h, w, c = x.shape
    errors.require(h % 2 == 0 and w % 2 == 0, f"a squeeze takes images of even height and width; this is {h} x {w}")
    blocks = jnp.moveaxis(x.reshape(*batch, h // 2, 2, w // 2, 2, c), -4, -3)
    return blocks.reshape(*batch, h // 2, w // 2, 4 * c), jnp.zeros(batch, x.dtype)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    *batch, h, w, c = y.shape
    errors.require(c % 4 == 0, f"the inverse of a squeeze takes images whose channels 4 divides; these are {c}")
    blocks = jnp.moveaxis(y.reshape(*batch, h, w, 2, 2, c // 4), -3, -4)
    return blocks.reshape(*batch, 2 * h, 2 * w, c // 4), jnp.zeros(batch, y.dtype)


class Flatten(distrax.Bijector):
  """[*shape] -> [D].

  Args:
    shape: of an event.
  """

  def __init__(self, shape: tuple[int, ...]):
    super().__init__(event_ndims_in=len(shape), event_ndims_out=1, is_constant_jacobian=True)
    self.shape = shape

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    batch = x.shape[: x.ndim - len(self.shape)]
    return x.reshape(*batch, -1), jnp.zeros(batch, x.dtype)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return y.reshape(*y.shape[:-1], *self.shape), jnp.zeros(y.shape[:-1], y.dtype)

"""Couplings: one part of x is transformed with parameters that depend on the other, which stays (Dinh et al., 2015)."""

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp


class Coupling(distrax.Bijector):
  """y_a = x_a,  y_b = T(x_b; h(x_a)),  where x = (x_a, x_b) along the last axis, or (x_b, x_a) with `swap`.

  The network computes parameters for x_b alone.

  Args:
    conditioner: x_a [..., S] -> h [..., P, D - S], a pure function.
    transform: T, see transforms.py.
    size: S, the size of x_a.
    swap: whether x_a comes last.
    event_ndims: axes of an event: 1 for [D], 3 for images [H, W, C], which are divided by channels.
  """

  def __init__(self, conditioner: Callable, transform: Any, size: int, swap: bool = False, event_ndims: int = 1):
    super().__init__(event_ndims_in=event_ndims)
    self.conditioner, self.transform, self.size, self.swap = conditioner, transform, size, swap
    self._axes = tuple(range(-event_ndims, 0))

  def _apply(self, x, function):
    cut = x.shape[-1] - self.size if self.swap else self.size
    first, second = x[..., :cut], x[..., cut:]
    kept, other = (second, first) if self.swap else (first, second)
    y, log_slope = function(other, self.conditioner(kept))
    return jnp.concatenate([y, kept] if self.swap else [kept, y], -1), jnp.sum(log_slope, self._axes)

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self._apply(x, self.transform.forward)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, log_det = self._apply(y, self.transform.inverse)
    return x, -log_det


class MaskedCoupling(distrax.Bijector):
  """y = x where `mask` is True, T(x; h(mask x)) elsewhere: for parts that are no slices, such as checkerboards.

  Args:
    conditioner: x [..., *event] with 0 where the mask is False -> h [..., *event[:-1], P, event[-1]], a pure function.
    transform: T, see transforms.py.
    mask: [*event].
  """

  def __init__(self, conditioner: Callable, transform: Any, mask: jax.Array):
    super().__init__(event_ndims_in=mask.ndim)
    self.conditioner, self.transform, self.mask = conditioner, transform, mask
    self._axes = tuple(range(-mask.ndim, 0))

  def _apply(self, x, function):
    y, log_slope = function(x, self.conditioner(jnp.where(self.mask, x, 0.0)))
    return jnp.where(self.mask, x, y), jnp.sum(jnp.where(self.mask, 0.0, log_slope), self._axes)

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self._apply(x, self.transform.forward)

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, log_det = self._apply(y, self.transform.inverse)
    return x, -log_det

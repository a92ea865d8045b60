"""Monotone maps of one number, with parameters: what couplings and autoregressive bijectors apply to each entry.

A transform has `num_params` = P and

  forward(x, h) -> (y, log dy/dx)        x, y, log dy/dx [..., D]
  inverse(y, h) -> (x, log dy/dx at x)   h [..., P, D], the parameters of each entry

With h = 0 it is the identity, or near it.  Slopes are bounded, so that values and gradients are finite for any h.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors, options
from dgm_jax.distributions.bijectors.logistic_mixture import LogisticMixture
from dgm_jax.distributions.bijectors.rational_quadratic import RationalQuadratic


def bounded(a: jax.Array, bound: float) -> jax.Array:
  """bound tanh(a / bound): near a where that is small, and never beyond the bound."""
  return bound * jnp.tanh(a / bound)


class Additive:
  """y = x + h, with slope 1 (NICE, Dinh et al., 2015)."""

  num_params = 1

  def forward(self, x: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    return x + h[..., 0, :], jnp.zeros_like(x)

  def inverse(self, y: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    return y - h[..., 0, :], jnp.zeros_like(y)


class Affine:
  """y = x exp(s) + t, h = (a, t), s = b tanh(a / b) (Dinh et al., 2017; Papamakarios et al., 2017).

  Args:
    max_log_scale: b, the bound of s.
  """

  num_params = 2

  def __init__(self, max_log_scale: float = 7.0):
    errors.require(max_log_scale > 0, f"max_log_scale = {max_log_scale} of transform 'affine' must be positive")
    self.max_log_scale = max_log_scale

  def _parts(self, h):
    return bounded(h[..., 0, :], self.max_log_scale), h[..., 1, :]

  def forward(self, x: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_scale, shift = self._parts(h)
    return x * jnp.exp(log_scale) + shift, log_scale

  def inverse(self, y: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_scale, shift = self._parts(h)
    return (y - shift) * jnp.exp(-log_scale), log_scale


TRANSFORMS = {
  "additive": Additive,
  "affine": Affine,
  "spline": RationalQuadratic,
  "logistic_mixture": LogisticMixture,
}


def make(name: str, **given: Any) -> Any:
  """The transform `name` of TRANSFORMS with its options.

  Raises:
    UserError: no such transform or option, or an invalid value.
  """
  errors.require(name in TRANSFORMS, f"transform = {name!r}; it must be one of {', '.join(TRANSFORMS)}")
  return options.call(f"transform {name!r}", TRANSFORMS[name], **given)

"""Radial flows (Tabak & Turner, 2013; Rezende & Mohamed, 2015)."""

import distrax
import jax
import jax.numpy as jnp


class Radial(distrax.Bijector):
  """y = x + beta (x - c) / (alpha + r),  r = |x - c|,  alpha = exp(a),  beta = softplus(b) - alpha > -alpha.

  Hence y is invertible: |y - c| = r (1 + beta / (alpha + r)) grows with r, and r is the root of a quadratic.

  Args: centre c [..., D], log_alpha a and b [...]; event [D].
  """

  def __init__(self, centre: jax.Array, log_alpha: jax.Array, b: jax.Array):
    super().__init__(event_ndims_in=1)
    self._centre, self._alpha = centre, jnp.exp(log_alpha)
    self._sum = jax.nn.softplus(b)  # alpha + beta

  def _log_det(self, r, dim):
    """(D - 1) log(1 + beta / (alpha + r)) + log(1 + alpha beta / (alpha + r)^2), without cancellation."""
    alpha, total = self._alpha, self._sum
    along = jnp.log((total + r) / (alpha + r))
    across = jnp.log((alpha * total + r * (2 * alpha + r)) / jnp.square(alpha + r))
    return (dim - 1) * along + across

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    d = x - self._centre
    r = _norm(d)
    ratio = (self._sum + r) / (self._alpha + r)
    return self._centre + d * ratio[..., None], self._log_det(r, x.shape[-1])

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    d = y - self._centre
    s, alpha, total = _norm(d), self._alpha, self._sum
    p = total - s  # r^2 + p r - alpha s = 0
    root = jnp.sqrt(jnp.square(p) + 4 * alpha * s)
    # each branch gets an input for which its denominator or its sum does not cancel
    r = jnp.where(p > 0, 2 * alpha * s / (jnp.where(p > 0, p, 1.0) + root), 0.5 * (root - jnp.where(p > 0, 0.0, p)))
    ratio = (alpha + r) / (total + r)
    return self._centre + d * ratio[..., None], -self._log_det(r, y.shape[-1])


def _norm(d: jax.Array) -> jax.Array:
  """|d|, with a finite gradient at 0."""
  square = jnp.sum(jnp.square(d), -1)
  return jnp.sqrt(jnp.maximum(square, jnp.finfo(d.dtype).tiny))

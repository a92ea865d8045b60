"""Planar flows (Rezende & Mohamed, 2015)."""

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.normals import diagonal_normal

_SMALLEST = 1e-6  # of |w|^2


def planar_step(z: jax.Array, w: jax.Array, u: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(f(z), log |det df/dz|) of f(z) = z + v tanh(w'z + b), with v = u + (softplus(w'u) - 1 - w'u) w / |w|^2.

  Hence w'v > -1 and f is invertible (Rezende & Mohamed, 2015, appendix A.1).  z, w, u [..., L], b [...].  |w|^2 is at
  least _SMALLEST in the denominator: v would grow as 1 / |w|, and a network whose input is 0 can give w = 0.
  """
  dot = lambda a, b: jnp.einsum("...l,...l->...", a, b)
  wu = dot(w, u)
  ww, shift = dot(w, w), jax.nn.softplus(wu) - 1 - wu
  v = u + (shift / jnp.maximum(ww, _SMALLEST))[..., None] * w
  t = jnp.tanh(dot(w, z) + b)
  # 1 + (1 - t^2) w'v, w'v = softplus(w'u) - 1, without cancellation
  one_plus_wv = jnp.where(ww >= _SMALLEST, jax.nn.softplus(wu), 1 + wu + shift * ww / _SMALLEST)
  return z + v * t[..., None], jnp.log(t * t + (1 - t * t) * one_plus_wv)


class PlanarFlow(distrax.Distribution):
  """The distribution of f_T(... f_1(z_0)), z_0 from the diagonal normal `base` [..., 2L], f_t a planar_step.

  Args: base, w and u [..., T, L], b [..., T]; event [L].
  """

  def __init__(self, base: jax.Array, w: jax.Array, u: jax.Array, b: jax.Array):
    super().__init__()
    self._base, self._w, self._u, self._b = base, w, u, b

  @property
  def event_shape(self) -> tuple:
    return self._w.shape[-1:]

  @property
  def batch_shape(self) -> tuple:
    return self._b.shape[:-1]

  def _sample_n(self, key, n):
    return self._sample_n_and_log_prob(key, n)[0]

  def _sample_n_and_log_prob(self, key, n):
    z, log_prob = diagonal_normal(self._base).sample_and_log_prob(seed=key, sample_shape=n)
    for t in range(self._b.shape[-1]):
      z, log_det = planar_step(z, self._w[..., t, :], self._u[..., t, :], self._b[..., t])
      log_prob -= log_det
    return z, log_prob

  def log_prob(self, value: jax.Array) -> jax.Array:
    """Raises NotAvailableError."""
    raise errors.NotAvailableError(
      "a planar flow has no closed-form inverse: log q is available for its own draws only, from sample_and_log_prob"
    )

  def mean(self) -> jax.Array:
    """Raises NotAvailableError."""
    raise errors.NotAvailableError("the mean of a planar flow has no closed form: average draws instead")

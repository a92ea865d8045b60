"""Inverse autoregressive flows (Kingma et al., 2016) of a diagonal normal: cheap to sample, expensive at other z.

The Flax module of the posterior is InverseAutoregressive of dgm_jax.distributions.posteriors.
"""

from typing import Any

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.distributions.normals import diagonal_normal
from dgm_jax.networks import masked


def masked_network(layer: dict[str, jax.Array], z: jax.Array, context: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(a, m), both [..., L]; entry l depends on z_<l and the context only.  z [..., L], context [..., C]."""
  dim, hidden = layer["z"].shape
  place, degree = 1 + jnp.arange(dim), masked.cyclic_degrees(hidden, dim)
  h = z @ (layer["z"] * masked.up_to(place, degree)) + context @ layer["context"] + layer["hidden_bias"]
  out = layer["out"] * jnp.tile(masked.before(degree, place), (1, 2))
  return jnp.split(jnp.tanh(h) @ out + context @ layer["out_context"] + layer["out_bias"], 2, -1)


class InverseAutoregressiveFlow(distrax.Distribution):
  """The distribution of z_T, see InverseAutoregressive.

  A sample and its log q take one pass per layer; log_prob of any other z takes L passes per layer.

  Args: base [..., 2L], context [..., C], layers: the parameters of masked_network; event [L].
  """

  def __init__(self, base: jax.Array, context: jax.Array, layers: Any):
    super().__init__()
    self._base, self._context, self._layers = base, context, layers

  @property
  def event_shape(self) -> tuple:
    return (self._base.shape[-1] // 2,)

  @property
  def batch_shape(self) -> tuple:
    return self._base.shape[:-1]

  def _sample_n(self, key, n):
    return self._sample_n_and_log_prob(key, n)[0]

  def _sample_n_and_log_prob(self, key, n):
    z, log_prob = diagonal_normal(self._base).sample_and_log_prob(seed=key, sample_shape=n)
    for layer in self._layers:
      a, m = masked_network(layer, z, self._context)
      s = jax.nn.sigmoid(a)
      z = (s * z + (1 - s) * m)[..., ::-1]
      log_prob -= jnp.sum(jax.nn.log_sigmoid(a), -1)
    return z, log_prob

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log q(z), nats, [...]; value z [..., L]."""
    z, log_det = value, 0.0
    for layer in self._layers[::-1]:
      z, step = self._invert(layer, z[..., ::-1])
      log_det += step
    return diagonal_normal(self._base).log_prob(z) - log_det

  def _invert(self, layer: dict, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(z, log |det dy/dz|): the l-th of L passes determines entry l of z."""

    def improve(_, z):
      a, m = masked_network(layer, z, self._context)
      return (y - jax.nn.sigmoid(-a) * m) / jax.nn.sigmoid(a)

    z = jax.lax.fori_loop(0, y.shape[-1], improve, y)
    return z, jnp.sum(jax.nn.log_sigmoid(masked_network(layer, z, self._context)[0]), -1)

  def mean(self) -> jax.Array:
    """Raises NotAvailableError."""
    raise errors.NotAvailableError(
      "the mean of an inverse autoregressive flow has no closed form: average draws instead"
    )

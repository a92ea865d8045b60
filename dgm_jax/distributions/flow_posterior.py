"""Flows of a diagonal normal as approximate posteriors, with any layer of distributions/bijectors/flows.py."""

from collections.abc import Mapping
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import flows
from dgm_jax.distributions.normals import diagonal_normal


class FlowOfNormal(distrax.Distribution):
  """The distribution of f(e), e from a distribution with batch [B] and event [L], f a bijector with batch [B].

  A draw and its log q take the forward direction alone; log_prob of any other z takes the inverse, which planar and
  Sylvester layers do not have.
  """

  def __init__(self, base: distrax.Distribution, bijector: distrax.Bijector):
    super().__init__()
    self._base, self._bijector = base, bijector

  @property
  def event_shape(self) -> tuple:
    return self._base.event_shape

  @property
  def batch_shape(self) -> tuple:
    return self._base.batch_shape

  def _sample_n(self, key, n):
    return self._sample_n_and_log_prob(key, n)[0]

  def _sample_n_and_log_prob(self, key, n):
    e, log_q = self._base.sample_and_log_prob(seed=key, sample_shape=n)
    z, log_det = jax.vmap(self._bijector.forward_and_log_det)(e)
    return z, log_q - log_det

  def log_prob(self, value: jax.Array) -> jax.Array:
    """log q(z), nats, [..., B]; value z [..., B, L].  Raises NotAvailableError of a layer without inverse."""
    shape = jnp.broadcast_shapes(value.shape, (*self.batch_shape, *self.event_shape))
    flat = jnp.broadcast_to(value, shape).reshape(-1, *shape[len(shape) - 1 - len(self.batch_shape) :])

    def one(z):
      e, log_det = self._bijector.inverse_and_log_det(z)
      return self._base.log_prob(e) + log_det

    return jax.vmap(one)(flat).reshape(shape[:-1])

  def mean(self) -> jax.Array:
    """Raises NotAvailableError."""
    raise errors.NotAvailableError("the mean of a flow has no closed form: average draws instead")


class FlowPosterior(nn.Module):
  """z = f(e; c), e ~ N(loc, diag(scale)^2); outputs of the encoder: loc, log scale and the context c [C] of all layers.

  Attributes:
    latent_dim: L.
    layer, num_layers, layer_args, permutation: of f, see Flow in dgm_jax/distributions/bijectors/flows.py; the forward
      direction takes e to z, so that an autoregressive layer is inverse autoregressive in the sense of Kingma et al.
      (2016).
    context: C.
  """

  latent_dim: int
  layer: str = "coupling"
  num_layers: int = 4
  layer_args: Mapping[str, Any] = FrozenDict()
  permutation: str = "none"
  context: int = 16

  def setup(self):
    errors.require(self.context >= 1, f"context = {self.context} of posterior 'flow' must be 1 or more")
    errors.require(
      self.latent_dim >= 2 or self.layer != "coupling",
      f"latent_dim = {self.latent_dim} of posterior 'flow' with couplings must be 2 or more",
    )
    given = {"layer_args": self.layer_args, "permutation": self.permutation, "context": self.context}
    self.flow = flows.Flow(self.latent_dim, self.layer, self.num_layers, **given)

  @property
  def num_outputs(self) -> int:
    return 2 * self.latent_dim + self.context

  @property
  def without_log_prob(self) -> bool:
    """Whether log q is available for its own draws only."""
    return self.layer in flows.WITHOUT_INVERSE

  def __call__(self, h: jax.Array) -> distrax.Distribution:
    """q(z|x) from the encoder's outputs [B, 2L + C]."""
    base, context = jnp.split(h, (2 * self.latent_dim,), -1)
    return FlowOfNormal(diagonal_normal(base), self.flow(context))

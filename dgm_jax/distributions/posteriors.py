"""Approximate posteriors q(z|x) over z [L]; `posterior` of a model names one of POSTERIORS.

A posterior is a module with `latent_dim` = L and `num_outputs`, the width of the encoder's last layer; called with the
encoder's outputs [B, ...] it returns q with sample(seed=), sample_and_log_prob(seed=), log_prob(z) and mean(), batch
[B], event [L], nats.  Draws are differentiable in all parameters.  Methods that a flow lacks raise NotAvailableError.

A posterior of the user's own is such a class: posterior = "mine.py:MyPosterior", or "mine.py" for its class Posterior.
"""

import math
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options, references
from dgm_jax.distributions.bijectors.inverse_autoregressive import InverseAutoregressiveFlow
from dgm_jax.distributions.bijectors.planar import PlanarFlow
from dgm_jax.distributions.flow_posterior import FlowPosterior
from dgm_jax.distributions.normals import LowRankNormal, NormalMixture, diagonal_normal
from dgm_jax.distributions.student_t import StudentT


class Planar(nn.Module):
  """T planar layers z + u tanh(w'z + b) on N(loc, diag(scale)^2) (Rezende & Mohamed, 2015).

  The encoder's outputs are loc, log scale, and w [L], u [L] and b of every layer.

  Attributes:
    latent_dim: L.
    num_layers: T.
  """

  latent_dim: int
  num_layers: int = 4

  @property
  def num_outputs(self):
    errors.require(self.num_layers >= 1, f"num_layers = {self.num_layers} of posterior 'planar' must be 1 or more")
    return 2 * self.latent_dim + self.num_layers * (2 * self.latent_dim + 1)

  def __call__(self, h):
    base, h = h[..., : 2 * self.latent_dim], h[..., 2 * self.latent_dim :]
    h = h.reshape(*h.shape[:-1], self.num_layers, -1)
    return PlanarFlow(base, h[..., : self.latent_dim], h[..., self.latent_dim : -1], h[..., -1])


class InverseAutoregressive(nn.Module):
  """T inverse autoregressive layers on N(loc, diag(scale)^2) (Kingma et al., 2016).

    z_t = s_t * z_{t-1} + (1 - s_t) * m_t,   s_t = sigmoid(a_t),

  where entry l of (a_t, m_t) depends on entries < l of z_{t-1}, in reversed order in every other layer, and on a
  context, a further output of the encoder: a masked network with one hidden layer (Germain et al., 2015).

  Attributes:
    latent_dim: L.
    num_layers: T.
    hidden: hidden units of the network of a layer.
    context: C, the size of the context, which all layers receive.
  """

  latent_dim: int
  num_layers: int = 2
  hidden: int = 64
  context: int = 16

  def setup(self):
    errors.require(
      min(self.num_layers, self.hidden, self.context) >= 1,
      f"num_layers = {self.num_layers}, hidden = {self.hidden}, context = {self.context} of posterior 'iaf' must be "
      "1 or more",
    )
    self.layers = [self._layer(t) for t in range(self.num_layers)]

  def _layer(self, t: int) -> dict[str, jax.Array]:
    glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros
    open_gate = lambda key, shape: jnp.repeat(jnp.array([2.0, 0.0]), self.latent_dim)  # s near 1: almost the identity
    shapes = {
      "z": (glorot, (self.latent_dim, self.hidden)),
      "context": (glorot, (self.context, self.hidden)),
      "hidden_bias": (zeros, (self.hidden,)),
      "out": (glorot, (self.hidden, 2 * self.latent_dim)),
      "out_context": (glorot, (self.context, 2 * self.latent_dim)),
      "out_bias": (open_gate, (2 * self.latent_dim,)),
    }
    return {name: self.param(f"{name}_{t}", init, shape) for name, (init, shape) in shapes.items()}

  @property
  def num_outputs(self):
    return 2 * self.latent_dim + self.context

  def __call__(self, h):
    base, context = jnp.split(h, (2 * self.latent_dim,), -1)
    return InverseAutoregressiveFlow(base, context, self.layers)


class Diagonal(nn.Module):
  """N(loc, diag(scale)^2); outputs loc and log scale.

  Attributes:
    latent_dim: L.
  """

  latent_dim: int

  @property
  def num_outputs(self):
    return 2 * self.latent_dim

  def __call__(self, h):
    return diagonal_normal(h)


class SharedDiagonal(nn.Module):
  """N(loc, diag(scale)^2) with one learned scale for all x; outputs loc.

  With a linear encoder and decoder it is the linear VAE, whose optimal bound is the log-likelihood of probabilistic PCA
  (Lucas et al., 2019).

  Attributes:
    latent_dim: L.
  """

  latent_dim: int

  @property
  def num_outputs(self):
    return self.latent_dim

  @nn.compact
  def __call__(self, h):
    log_scale = self.param("log_scale", nn.initializers.zeros, (self.latent_dim,))
    return diagonal_normal(jnp.concatenate([h, jnp.broadcast_to(log_scale, h.shape)], -1))


class LowRank(nn.Module):
  """N(loc, diag(scale)^2 + U U'), U [L, rank]; outputs loc, log scale and sqrt(rank) U.

  Attributes:
    latent_dim: L.
    rank: columns of U.
  """

  latent_dim: int
  rank: int = 2

  @property
  def num_outputs(self):
    errors.require(self.rank >= 1, f"rank = {self.rank} of posterior 'low_rank' must be 1 or more")
    return (2 + self.rank) * self.latent_dim

  def __call__(self, h):
    loc, log_scale, u = jnp.split(h, (self.latent_dim, 2 * self.latent_dim), -1)
    return LowRankNormal(loc, log_scale, u.reshape(*u.shape[:-1], self.latent_dim, self.rank) / math.sqrt(self.rank))


class Full(nn.Module):
  """N(loc, T T'), T lower triangular; outputs loc, the log of T's diagonal and sqrt(L) times the entries below it.

  Attributes:
    latent_dim: L.
  """

  latent_dim: int

  @property
  def num_outputs(self):
    return 2 * self.latent_dim + self.latent_dim * (self.latent_dim - 1) // 2

  def __call__(self, h):
    dim = self.latent_dim
    loc, log_diagonal, below = jnp.split(h, (dim, 2 * dim), -1)
    tri = jnp.zeros((*h.shape[:-1], dim, dim), h.dtype)
    tri = tri.at[..., jnp.arange(dim), jnp.arange(dim)].set(jnp.exp(log_diagonal))
    tri = tri.at[..., *jnp.tril_indices(dim, -1)].set(below / math.sqrt(dim))
    return distrax.MultivariateNormalTri(loc, tri)


class StudentTPosterior(nn.Module):
  """prod_l Student-t(z_l); outputs loc, h_2 and h_3: scale softplus(h_2) + 0.001, df 3 + softplus(h_3), as in MIWAE.

  Attributes:
    latent_dim: L.
  """

  latent_dim: int

  @property
  def num_outputs(self):
    return 3 * self.latent_dim

  def __call__(self, h):
    loc, scale, df = jnp.split(h, 3, -1)
    return distrax.Independent(StudentT(3.0 + jax.nn.softplus(df), loc, jax.nn.softplus(scale) + 1e-3), 1)


class Mixture(nn.Module):
  """sum_m pi_m N(loc_m, diag(scale_m)^2); outputs the logits of pi, and loc_m and log scale_m of all components.

  Attributes:
    latent_dim: L.
    num_components: M.
  """

  latent_dim: int
  num_components: int = 3

  @property
  def num_outputs(self):
    errors.require(
      self.num_components >= 1, f"num_components = {self.num_components} of posterior 'mixture' must be 1 or more"
    )
    return self.num_components * (1 + 2 * self.latent_dim)

  def __call__(self, h):
    logits, h = h[..., : self.num_components], h[..., self.num_components :]
    loc, log_scale = jnp.split(h.reshape(*h.shape[:-1], self.num_components, 2 * self.latent_dim), 2, -1)
    return NormalMixture(logits, loc, log_scale)


POSTERIORS = {
  "diagonal": Diagonal,
  "diagonal_shared": SharedDiagonal,
  "low_rank": LowRank,
  "full": Full,
  "student_t": StudentTPosterior,
  "mixture": Mixture,
  "planar": Planar,
  "iaf": InverseAutoregressive,
  "flow": FlowPosterior,
}
WITHOUT_LOG_PROB = {"planar"}  # log q is available for their own draws only; see without_log_prob of a flow, too


def make(name: str, latent_dim: int, **given: Any) -> nn.Module:
  """The posterior `name` over z [L], with its attributes as options.

  Raises:
    UserError: no such posterior or option, or an invalid value.
  """
  if references.is_own(name):
    return options.call(f"posterior {name!r}", references.load(name, "Posterior"), latent_dim, **given)
  errors.require(name in POSTERIORS, f"posterior = {name!r}; it must be one of {', '.join(POSTERIORS)}")
  return options.call(f"posterior {name!r}", POSTERIORS[name], latent_dim, **given)

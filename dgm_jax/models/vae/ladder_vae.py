"""Ladder variational autoencoder: a posterior that corrects the prior of every layer (Soenderby et al., 2016)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.distributions.chain import Chain
from dgm_jax.distributions.normals import diagonal_normal
from dgm_jax.models.base import flat
from dgm_jax.models.vae.base import GaussianLayers


class TopDown(Chain):
  """d(z_L) d(z_{L-1} | z_L) ... d(z_1 | z_2): a Chain from the top down, with values (z_1, ..., z_L)."""

  def sample_and_log_prob(self, *, seed: jax.Array) -> tuple[tuple, jax.Array]:
    """((z_1, ..., z_L), sum_l log d(z_l | z_{l+1})), ancestral sampling."""
    z, log_prob = super().sample_and_log_prob(seed=seed)
    return z[::-1], log_prob

  def log_prob(self, value: tuple) -> jax.Array:
    """sum_l log d(z_l | z_{l+1})."""
    return super().log_prob(value[::-1])

  def conditional_means(self, *, seed: jax.Array) -> tuple:
    """(E[z_1 | z_2], ..., E[z_L]) along one ancestral sample: unbiased for each layer's marginal mean."""
    return super().conditional_means(seed=seed)[::-1]


def combine(a: jax.Array, b: jax.Array) -> jax.Array:
  """The normal whose density is proportional to the product of two normal densities:

    1 / sigma^2 = 1 / sigma_a^2 + 1 / sigma_b^2,    mu = sigma^2 (mu_a / sigma_a^2 + mu_b / sigma_b^2),

  a, b and the result as (mu, log sigma), [..., 2L].
  """
  (loc_a, log_scale_a), (loc_b, log_scale_b) = jnp.split(a, 2, -1), jnp.split(b, 2, -1)
  weight = jax.nn.sigmoid(2 * (log_scale_b - log_scale_a))  # share of a in the precision
  log_precision = jnp.logaddexp(-2 * log_scale_a, -2 * log_scale_b)
  return jnp.concatenate([loc_b + weight * (loc_a - loc_b), -0.5 * log_precision], -1)


class Model(GaussianLayers):
  """p(x, z) = N(z_L; 0, I) prod_l p(z_l | z_{l+1}) prod_d p(x_d; f_d(z_1)), as in the deep latent Gaussian model, and

    q(z|x) = N(z_L; m_L(x), diag s_L^2(x)) prod_{l<L} q(z_l | z_{l+1}, x),
    q(z_l | z_{l+1}, x) ~ N(z_l; m_l(x), diag s_l^2(x)) p(z_l | z_{l+1})       (normalised, see `combine`).

  m_l and s_l come from a deterministic pass upwards, d_0 = x, d_l = g_l(d_{l-1}), and are linear in d_l.  Soenderby et
  al. use batch normalisation in all networks; this model does not.  The defaults are their network with five layers.

  Attributes, in addition to those of base.LayeredModel:
    latent_dims: dimensions of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the hidden layers between it and the one below, the same upwards
      and downwards.
    leak: slope of the units below 0 in the networks next to x, max(h, leak h); the others have tanh units.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
  """

  latent_dims: Sequence[int] = (64, 32, 16, 8, 4)
  hidden: Sequence[Sequence[int]] = ((512, 512), (256, 256), (128, 128), (64, 64), (32, 32))
  leak: float = 0.1
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    self._check_layers(self.hidden)
    self.px_z = self._make_likelihood()
    leaky = lambda h: nn.leaky_relu(h, self.leak)
    self.activations = (leaky, *(nn.tanh,) * (len(self.hidden) - 1))
    pairs = list(zip(self.hidden, self.activations, strict=True))
    self.trunks = [self.mlp(hidden, f) if hidden else None for hidden, f in pairs]
    self.heads = [self.mlp((2 * dim,)) for dim in self.latent_dims]
    self.decoder = self._make_decoder(self.px_z, self.hidden[0], leaky)
    self.priors = self._make_priors(self.hidden, 2)

  def bottom_up(self, batch: dict[str, jax.Array]) -> list[jax.Array]:
    """(m_l, log s_l) [B, 2 L_l] for l = 1..L: the evidence of x about each layer."""
    d, params = self.px_z.features(*flat(batch)), []
    for trunk, head, activation in zip(self.trunks, self.heads, self.activations, strict=True):
      d = d if trunk is None else activation(trunk(d))
      params.append(head(d))
    return params

  def infer(self, batch: dict[str, jax.Array]) -> TopDown:
    """q(z|x), values (z_1 [B, L_1], ..., z_L)."""
    *params, top = self.bottom_up(batch)
    correct = lambda net, params: lambda z: diagonal_normal(combine(params, net(z)))
    return TopDown(diagonal_normal(top), *map(correct, self.priors[::-1], params[::-1]))

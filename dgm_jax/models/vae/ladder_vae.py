"""Ladder variational autoencoder: a posterior that corrects the prior of every layer (Soenderby et al., 2016)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.chain import Chain
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.networks.mlp import Networks


class TopDown(Chain):
  """d(z_L) d(z_{L-1} | z_L) ... d(z_1 | z_2): a Chain from the top down, whose values are (z_1, ..., z_L)."""

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
  """The normal whose density is proportional to the product of two, weighted by their precisions:

    1 / sigma^2 = 1 / sigma_a^2 + 1 / sigma_b^2,    mu = sigma^2 (mu_a / sigma_a^2 + mu_b / sigma_b^2),

  all of them as (mu, log sigma), [..., 2L].
  """
  (loc_a, log_scale_a), (loc_b, log_scale_b) = jnp.split(a, 2, -1), jnp.split(b, 2, -1)
  weight = jax.nn.sigmoid(2 * (log_scale_b - log_scale_a))  # of a: its share of the precision
  log_precision = jnp.logaddexp(-2 * log_scale_a, -2 * log_scale_b)
  return jnp.concatenate([loc_b + weight * (loc_a - loc_b), -0.5 * log_precision], -1)


class Model(Networks):
  """p(x, z) = N(z_L; 0, I) prod_l p(z_l | z_{l+1}) prod_d p(x_d; f_d(z_1)), as in the deep latent Gaussian model, and

    q(z|x) = N(z_L; m_L(x), diag s_L^2(x)) prod_{l<L} q(z_l | z_{l+1}, x),
    q(z_l | z_{l+1}, x) ~ N(z_l; m_l(x), diag s_l^2(x)) p(z_l | z_{l+1})       (normalised, see `combine`).

  m_l and s_l come from a deterministic pass upwards, d_0 = x, d_l = g_l(d_{l-1}), and are linear in d_l.  Soenderby et
  al. have batch normalisation in all networks; here is none.  The defaults are their network with five layers.

  Where a batch has a `mask`, p(x|z) is that of the observed entries, and the encoder sees 0 for the others (Mattei &
  Frellsen, 2019).

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|z] starts near it.  None: at the middle of the support, or 0.
    latent_dims: dimensions of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the hidden layers between it and the one below, the same upwards
      and downwards.
    leak: slope of the units below 0 in the networks next to x, max(h, leak h); the others have tanh units.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
  """

  takes_mask: ClassVar[bool] = True

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dims: Sequence[int] = (64, 32, 16, 8, 4)
  hidden: Sequence[Sequence[int]] = ((512, 512), (256, 256), (128, 128), (64, 64), (32, 32))
  leak: float = 0.1
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|z) can give."""
    return families.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    errors.require(
      len(self.latent_dims) == len(self.hidden) and self.hidden,
      f"there are {len(self.latent_dims)} latent_dims but {len(self.hidden)} groups of hidden layers",
    )
    errors.require(
      min(*self.latent_dims, *(width for hidden in self.hidden for width in hidden), 1) >= 1,
      "latent_dims and hidden must be 1 or more",
    )
    family = families.make(self.likelihood, **self.likelihood_args)
    self.px_z = Likelihood(prod(self.data_shape), family)
    leaky = lambda h: nn.leaky_relu(h, self.leak)
    self.activations = (leaky, *(nn.tanh,) * (len(self.hidden) - 1))
    pairs = list(zip(self.hidden, self.activations, strict=True))
    self.trunks = [self.mlp(hidden, f) if hidden else None for hidden, f in pairs]
    self.heads = [self.mlp((2 * dim,)) for dim in self.latent_dims]
    output_bias = self.px_z.output_bias(self.data_mean)
    self.decoder = self.mlp((*self.hidden[0][::-1], self.px_z.num_outputs), leaky, output_bias)
    self.priors = [  # priors[l] maps z_{l+2} to p(z_{l+1} | z_{l+2})
      self.mlp((*hidden[::-1], 2 * dim)) for hidden, dim in zip(self.hidden[1:], self.latent_dims[:-1], strict=True)
    ]

  def _flat(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """(x [B, D], mask [B, D] or None)."""
    x, mask = batch["x"], batch.get("mask")
    return x.reshape(x.shape[0], -1), None if mask is None else mask.reshape(x.shape[0], -1)

  def bottom_up(self, batch: dict[str, jax.Array]) -> list[jax.Array]:
    """(m_l, log s_l) [B, 2 L_l] for l = 1..L: what x says of each layer."""
    d, params = self.px_z.features(*self._flat(batch)), []
    for trunk, head, activation in zip(self.trunks, self.heads, self.activations, strict=True):
      d = d if trunk is None else activation(trunk(d))
      params.append(head(d))
    return params

  def infer(self, batch: dict[str, jax.Array]) -> TopDown:
    """q(z|x), values (z_1 [B, L_1], ..., z_L)."""
    *params, top = self.bottom_up(batch)
    correct = lambda net, params: lambda z: diagonal_normal(combine(params, net(z)))
    return TopDown(diagonal_normal(top), *map(correct, self.priors[::-1], params[::-1]))

  def decode(self, z_1: jax.Array) -> distrax.Distribution:
    """p(x|z_1), batch [B], event [D]; z_1 [B, L_1]."""
    return self.px_z(self.decoder(z_1))

  def prior_conditionals(self, z: tuple) -> tuple[distrax.Distribution, ...]:
    """(p(z_1|z_2), ..., p(z_L)), each with event [L_l]."""
    lower = (diagonal_normal(net(above)) for net, above in zip(self.priors, z[1:], strict=True))
    return (*lower, standard_normal(self.latent_dims[-1]))

  def log_joint(self, batch: dict[str, jax.Array], z: tuple) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z_1) [B] of the observed entries, log p(z) [B])."""
    log_pz = sum(p.log_prob(z_l) for p, z_l in zip(self.prior_conditionals(z), z, strict=True))
    return self.decode(z[0]).log_prob(*self._flat(batch)), log_pz

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], tuple]:
    """({"x": [n, *data_shape]}, (z_1 [n, L_1], ..., z_L)), a draw from p(x, z)."""
    key_x, key_top, *keys = jax.random.split(key, 2 + len(self.priors))
    z = (standard_normal(self.latent_dims[-1]).sample(seed=key_top, sample_shape=(n,)),)
    for key, net in zip(keys, self.priors[::-1], strict=True):
      z = (diagonal_normal(net(z[0])).sample(seed=key), *z)
    return {"x": self.decode(z[0]).sample(seed=key_x).reshape(n, *self.data_shape)}, z

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z), which is what papers show."""
    batch, z = self.simulate(key, n)
    return self.reconstruct(z) if mean else batch["x"]

  def reconstruct(self, z: tuple) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z[0]).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).sample(seed=jax.random.key(0)))

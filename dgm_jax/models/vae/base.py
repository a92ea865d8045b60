"""What the VAE models share: a decoder with a named likelihood, and p(z) of several stochastic layers."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, ClassVar

import distrax
import jax
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.chain import Chain
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.models.base import flat, require_at_least
from dgm_jax.models.vae import autoregressive_likelihood
from dgm_jax.models.vae.autoregressive_likelihood import AutoregressiveLikelihood
from dgm_jax.networks.mlp import MLP, Networks

AUTOREGRESSIVE = "autoregressive"


class DecoderModel(Networks):
  """A model with p(x|z) = prod_d p(x_d; f_d(z)), where f is a network and p is a named likelihood.

  A subclass adds the fields `likelihood`, a name of families.FAMILIES, and `likelihood_args`, its options; or
  "autoregressive", with those of AutoregressiveLikelihood: the entries of x depend on each other given z.

  Attributes:
    data_shape: the shape of one x.
    data_mean: mean of the training set, flat, where E[x|z] starts; None: the middle of the support, or 0 if unbounded.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest x that p(x|z) can generate."""
    if self.likelihood == AUTOREGRESSIVE:
      return self._make_likelihood(parent=None).support
    return families.make(self.likelihood, **self.likelihood_args).support

  @nn.nowrap
  def _make_likelihood(self, **more: Any) -> Likelihood | AutoregressiveLikelihood:
    if self.likelihood == AUTOREGRESSIVE:
      return autoregressive_likelihood.make(self.data_shape, self.data_mean, self.likelihood_args, **more)
    return Likelihood(prod(self.data_shape), families.make(self.likelihood, **self.likelihood_args))

  @nn.nowrap
  def _make_decoder(self, likelihood: Likelihood, hidden: Sequence[int], activation: Callable = nn.tanh) -> MLP:
    """f, with the encoder's hidden layers in reverse order."""
    return self.mlp((*hidden[::-1], likelihood.num_outputs), activation, likelihood.output_bias(self.data_mean))


class LayeredModel(DecoderModel):
  """p(x, z) = p(z_L) prod_l p(z_l | z_{l+1}) prod_d p(x_d; f_d(z_1)), with stochastic layers z_1 (next to x) ... z_L.

  Where a batch has a `mask`, p(x|z) is that of the observed entries, and the encoder sees 0 for the others (Mattei &
  Frellsen, 2019).

  A subclass adds the fields `latent_dims`, the dimensions of z_1 ... z_L, and `hidden`, for each stochastic layer the
  widths of the hidden layers between it and the one below; in setup `px_z`, `decoder`, `priors` and, unless it has its
  own `infer`, `encoders`; and

    top_prior()                      -> p(z_L)
    layer(h)                         -> the distribution of a lower layer from the outputs h of its network
    log_joint(batch, z)              -> (log p(x|z_1) of the observed entries, log p(z)), [B] each
  """

  takes_mask: ClassVar[bool] = True

  @nn.nowrap
  def _check_layers(self, hidden: Sequence[Sequence[int]]) -> None:
    errors.require(
      len(self.latent_dims) == len(hidden) > 0,
      f"there are {len(self.latent_dims)} latent_dims but {len(hidden)} groups of hidden layers; "
      "the numbers must be equal, and 1 or more",
    )
    require_at_least(1, latent_dims=self.latent_dims, hidden=hidden)

  @nn.nowrap
  def _make_priors(self, hidden: Sequence[Sequence[int]], outputs: int) -> list[MLP]:
    """priors[l] maps z_{l+2} to p(z_{l+1} | z_{l+2}), with `outputs` numbers for each unit."""
    pairs = zip(hidden[1:], self.latent_dims[:-1], strict=True)
    return [self.mlp((*widths[::-1], outputs * dim)) for widths, dim in pairs]

  def infer(self, batch: dict[str, jax.Array]) -> Chain:
    """q(z|x) = q(z_1|x) prod_l q(z_{l+1}|z_l), values (z_1 [B, L_1], ..., z_L)."""
    first = self.layer(self.encoders[0](self.px_z.features(*flat(batch))))
    return Chain(first, *((lambda z, net=net: self.layer(net(z))) for net in self.encoders[1:]))

  def decode(self, z_1: jax.Array) -> distrax.Distribution:
    """p(x|z_1), batch [B], event [D]; z_1 [B, L_1]."""
    return self.px_z(self.decoder(z_1))

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], tuple]:
    """({"x": [n, *data_shape]}, (z_1 [n, L_1], ..., z_L)), a draw from p(x, z)."""
    key_x, key_top, *keys = jax.random.split(key, 2 + len(self.priors))
    z = (self.top_prior().sample(seed=key_top, sample_shape=(n,)),)
    for key, net in zip(keys, self.priors[::-1], strict=True):
      z = (self.layer(net(z[0])).sample(seed=key), *z)
    return {"x": self.decode(z[0]).sample(seed=key_x).reshape(n, *self.data_shape)}, z

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z), as shown in papers."""
    batch, z = self.simulate(key, n)
    return self.reconstruct(z) if mean else batch["x"]

  def reconstruct(self, z: tuple) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z[0]).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).sample(seed=jax.random.key(0)))


class GaussianLayers(LayeredModel):
  """A LayeredModel with p(z) = N(z_L; 0, I) prod_l N(z_l; mu_l(z_{l+1}), diag sigma_l^2(z_{l+1}))."""

  @nn.nowrap
  def layer(self, h: jax.Array) -> distrax.Distribution:
    """N(mu, diag sigma^2), event [L]; h = (mu, log sigma), [..., 2L]."""
    return diagonal_normal(h)

  @nn.nowrap
  def top_prior(self) -> distrax.Distribution:
    """N(0, I), event [L_L]."""
    return standard_normal(self.latent_dims[-1])

  def prior_conditionals(self, z: tuple) -> tuple[distrax.Distribution, ...]:
    """(p(z_1|z_2), ..., p(z_L)), each with event [L_l]."""
    lower = (self.layer(net(above)) for net, above in zip(self.priors, z[1:], strict=True))
    return (*lower, self.top_prior())

  def log_joint(self, batch: dict[str, jax.Array], z: tuple) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z_1) [B] of the observed entries, log p(z) [B])."""
    log_pz = sum(p.log_prob(z_l) for p, z_l in zip(self.prior_conditionals(z), z, strict=True))
    return self.decode(z[0]).log_prob(*flat(batch)), log_pz

"""Deep latent Gaussian model: any number of stochastic layers (Rezende et al., 2014; Burda et al., 2016)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import distrax
import jax
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.chain import Chain
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.networks.mlp import Networks


class Model(Networks):
  """p(x, z) = N(z_L; 0, I) prod_l N(z_l; mu_l(z_{l+1}), diag sigma_l^2(z_{l+1})) prod_d p(x_d; f_d(z_1)),

  q(z|x) = q(z_1|x) prod_l q(z_{l+1}|z_l), all of them diagonal normals.  The defaults are the model and the network of
  Burda et al. (2016) with two stochastic layers: Bernoulli(x_d; sigmoid(f_d(z_1))) and x -> 200 -> 200 -> z_1 (100)
  -> 100 -> 100 -> z_2 (50), mirrored downwards.

  Where a batch has a `mask`, p(x|z) is that of the observed entries, and the encoder sees 0 for the others (Mattei &
  Frellsen, 2019).

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|z] starts near it.  None: at the middle of the support, or 0.
    latent_dims: dimensions of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the hidden layers between it and the one below.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
  """

  takes_mask: ClassVar[bool] = True

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dims: Sequence[int] = (100, 50)
  hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100))
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|z) can give."""
    return families.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    errors.require(
      len(self.latent_dims) == len(self.hidden),
      f"there are {len(self.latent_dims)} latent_dims but {len(self.hidden)} groups of hidden layers",
    )
    errors.require(
      min(*self.latent_dims, *(width for hidden in self.hidden for width in hidden), 1) >= 1,
      "latent_dims and hidden must be 1 or more",
    )
    family = families.make(self.likelihood, **self.likelihood_args)
    self.px_z = Likelihood(prod(self.data_shape), family)
    self.encoders = [self.mlp((*hidden, 2 * dim)) for hidden, dim in zip(self.hidden, self.latent_dims, strict=True)]
    output_bias = self.px_z.output_bias(self.data_mean)
    self.decoder = self.mlp((*self.hidden[0][::-1], self.px_z.num_outputs), output_bias=output_bias)
    self.priors = [  # priors[l] maps z_{l+2} to p(z_{l+1} | z_{l+2})
      self.mlp((*hidden[::-1], 2 * dim)) for hidden, dim in zip(self.hidden[1:], self.latent_dims[:-1], strict=True)
    ]

  def _flat(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """(x [B, D], mask [B, D] or None)."""
    x, mask = batch["x"], batch.get("mask")
    return x.reshape(x.shape[0], -1), None if mask is None else mask.reshape(x.shape[0], -1)

  def infer(self, batch: dict[str, jax.Array]) -> Chain:
    """q(z|x), values (z_1 [B, L_1], ..., z_L)."""
    first = diagonal_normal(self.encoders[0](self.px_z.features(*self._flat(batch))))
    return Chain(first, *((lambda z, net=net: diagonal_normal(net(z))) for net in self.encoders[1:]))

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
    z = self.infer(batch).sample(seed=jax.random.key(0))
    return self.log_joint(batch, z)

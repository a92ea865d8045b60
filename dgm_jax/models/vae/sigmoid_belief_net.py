"""Sigmoid belief network: layers of binary latent variables (Neal, 1992; Mnih & Gregor, 2014)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import distrax
import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.chain import Chain
from dgm_jax.distributions.factorised import Factorised, bernoulli
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.networks.mlp import Networks


class Units(Factorised):
  """prod_l Bernoulli(z_l; sigmoid(a_l)), z_l = 0.0 or 1.0, through which no derivative passes; logits a [..., L].

  A draw is whether a_l + logistic noise is positive.  `relaxed` puts sigmoid((a_l + noise) / temperature) in its place,
  the binary Concrete (Maddison et al., 2017; Jang et al., 2017), with derivatives and the same noise for the same key;
  log_prob is then no density of the draws but the mass, extended linearly: z log s(a) + (1 - z) log(1 - s(a)).
  """

  def __init__(self, logits: jax.Array, temperature: float | jax.Array | None = None):
    super().__init__(bernoulli(logits).distribution)
    self._logits, self._temperature = logits, temperature

  def relaxed(self, temperature: float | jax.Array) -> "Units":
    """The relaxation; its draws tend to those of the units for temperature -> 0."""
    return Units(self._logits, temperature)

  def _sample_n(self, key, n):
    noisy = self._logits + jax.random.logistic(key, (n, *self._logits.shape), self._logits.dtype)
    if self._temperature is None:
      return (noisy > 0).astype(self._logits.dtype)
    return jax.nn.sigmoid(noisy / self._temperature)

  def _sample_n_and_log_prob(self, key, n):
    z = self._sample_n(key, n)
    return z, self.log_prob(z)


class Model(Networks):
  """p(x, z) = prod_u Bernoulli(z_Lu; s(b_u)) prod_l prod_u Bernoulli(z_lu; s(a_lu(z_{l+1}))) prod_d p(x_d; f_d(z_1)),

  q(z|x) = q(z_1|x) prod_l q(z_{l+1}|z_l), Bernoulli too; s is the sigmoid.  Without hidden layers every map is linear,
  which is the sigmoid belief network of Neal (1992); the defaults are that of Mnih & Rezende (2016).

  Draws of z have no derivative.  log_joint takes z in [0, 1], for relaxed draws: log p(z_l | z_{l+1}) is then linear in
  z_l.  Where a batch has a `mask`, p(x|z) is that of the observed entries, and the encoder sees 0 for the others
  (Mattei & Frellsen, 2019).

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|z] starts near it.  None: at the middle of the support, or 0.
    latent_dims: units of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the deterministic tanh layers between it and the one below.  None:
      no such layers.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
  """

  takes_mask: ClassVar[bool] = True
  discrete: ClassVar[bool] = True

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dims: Sequence[int] = (200, 200, 200)
  hidden: Sequence[Sequence[int]] | None = None
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|z) can give."""
    return families.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    groups = ((),) * len(self.latent_dims) if self.hidden is None else self.hidden
    errors.require(
      len(self.latent_dims) == len(groups) and groups,
      f"there are {len(self.latent_dims)} latent_dims but {len(groups)} groups of hidden layers",
    )
    errors.require(
      min(*self.latent_dims, *(width for hidden in groups for width in hidden), 1) >= 1,
      "latent_dims and hidden must be 1 or more",
    )
    family = families.make(self.likelihood, **self.likelihood_args)
    self.px_z = Likelihood(prod(self.data_shape), family)
    self.encoders = [self.mlp((*hidden, dim)) for hidden, dim in zip(groups, self.latent_dims, strict=True)]
    output_bias = self.px_z.output_bias(self.data_mean)
    self.decoder = self.mlp((*groups[0][::-1], self.px_z.num_outputs), output_bias=output_bias)
    self.priors = [  # priors[l] maps z_{l+2} to the logits of p(z_{l+1} | z_{l+2})
      self.mlp((*hidden[::-1], dim)) for hidden, dim in zip(groups[1:], self.latent_dims[:-1], strict=True)
    ]
    self.top_logits = self.param("top_logits", nn.initializers.zeros, self.latent_dims[-1:])

  def _flat(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """(x [B, D], mask [B, D] or None)."""
    x, mask = batch["x"], batch.get("mask")
    return x.reshape(x.shape[0], -1), None if mask is None else mask.reshape(x.shape[0], -1)

  def infer(self, batch: dict[str, jax.Array]) -> Chain:
    """q(z|x), values (z_1 [B, L_1], ..., z_L) of 0.0 and 1.0."""
    first = Units(self.encoders[0](self.px_z.features(*self._flat(batch))))
    return Chain(first, *((lambda z, net=net: Units(net(z))) for net in self.encoders[1:]))

  def decode(self, z_1: jax.Array) -> distrax.Distribution:
    """p(x|z_1), batch [B], event [D]; z_1 [B, L_1]."""
    return self.px_z(self.decoder(z_1))

  def log_joint(self, batch: dict[str, jax.Array], z: tuple) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z_1) [B] of the observed entries, log p(z) [B])."""
    log_pz = Units(self.top_logits).log_prob(z[-1])
    for net, below, above in zip(self.priors, z[:-1], z[1:], strict=True):
      log_pz += Units(net(above)).log_prob(below)
    return self.decode(z[0]).log_prob(*self._flat(batch)), log_pz

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], tuple]:
    """({"x": [n, *data_shape]}, (z_1 [n, L_1], ..., z_L)), a draw from p(x, z)."""
    key_x, key_top, *keys = jax.random.split(key, 2 + len(self.priors))
    z = (Units(self.top_logits).sample(seed=key_top, sample_shape=(n,)),)
    for key, net in zip(keys, self.priors[::-1], strict=True):
      z = (Units(net(z[0])).sample(seed=key), *z)
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

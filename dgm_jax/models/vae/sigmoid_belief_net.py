"""Sigmoid belief network: layers of binary latent variables (Neal, 1992; Mnih & Gregor, 2014)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.distributions.factorised import Factorised, bernoulli
from dgm_jax.models.base import flat
from dgm_jax.models.vae.base import LayeredModel


class Units(Factorised):
  """prod_l Bernoulli(z_l; sigmoid(a_l)), draws z_l = 0.0 or 1.0 without a derivative; logits a [..., L].

  A draw is 1 where a_l + logistic noise is positive.  `relaxed` replaces it by sigmoid((a_l + noise) / temperature),
  the binary Concrete (Maddison et al., 2017; Jang et al., 2017), with derivatives and the same noise for the same key;
  log_prob is then not the density of the draws but the mass, extended linearly: z log s(a) + (1 - z) log(1 - s(a)).
  """

  def __init__(self, logits: jax.Array, temperature: float | jax.Array | None = None):
    super().__init__(bernoulli(logits).distribution)
    self._logits, self._temperature = logits, temperature

  def relaxed(self, temperature: float | jax.Array) -> "Units":
    """The relaxation; its draws converge to the binary ones as temperature -> 0."""
    return Units(self._logits, temperature)

  def _sample_n(self, key, n):
    noisy = self._logits + jax.random.logistic(key, (n, *self._logits.shape), self._logits.dtype)
    if self._temperature is None:
      return (noisy > 0).astype(self._logits.dtype)
    return jax.nn.sigmoid(noisy / self._temperature)

  def _sample_n_and_log_prob(self, key, n):
    z = self._sample_n(key, n)
    return z, self.log_prob(z)


class Model(LayeredModel):
  """p(x, z) = prod_u Bernoulli(z_Lu; s(b_u)) prod_l prod_u Bernoulli(z_lu; s(a_lu(z_{l+1}))) prod_d p(x_d; f_d(z_1)),

  q(z|x) = q(z_1|x) prod_l q(z_{l+1}|z_l), Bernoulli too; s is the sigmoid.  Without hidden layers every map is linear,
  which is the sigmoid belief network of Neal (1992); the defaults are those of Mnih & Rezende (2016).

  Draws of z have no derivative.  log_joint also takes relaxed z in [0, 1]: log p(z_l | z_{l+1}) is linear in z_l.

  Attributes, in addition to those of base.LayeredModel:
    latent_dims: units of z_1 (next to x) ... z_L.
    hidden: for each stochastic layer the widths of the deterministic tanh layers between it and the one below; None:
      no such layers.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
  """

  discrete: ClassVar[bool] = True

  latent_dims: Sequence[int] = (200, 200, 200)
  hidden: Sequence[Sequence[int]] | None = None
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    groups = ((),) * len(self.latent_dims) if self.hidden is None else self.hidden
    self._check_layers(groups)
    self.px_z = self._make_likelihood()
    self.encoders = [self.mlp((*hidden, dim)) for hidden, dim in zip(groups, self.latent_dims, strict=True)]
    self.decoder = self._make_decoder(self.px_z, groups[0])
    self.priors = self._make_priors(groups, 1)
    self.top_logits = self.param("top_logits", nn.initializers.zeros, self.latent_dims[-1:])

  @nn.nowrap
  def layer(self, h: jax.Array) -> Units:
    """Binary units with logits h [..., L]."""
    return Units(h)

  def top_prior(self) -> Units:
    """p(z_L), event [L_L]."""
    return Units(self.top_logits)

  def log_joint(self, batch: dict[str, jax.Array], z: tuple) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z_1) [B] of the observed entries, log p(z) [B])."""
    log_pz = self.top_prior().log_prob(z[-1])
    for net, below, above in zip(self.priors, z[:-1], z[1:], strict=True):
      log_pz += self.layer(net(above)).log_prob(below)
    return self.decode(z[0]).log_prob(*flat(batch)), log_pz

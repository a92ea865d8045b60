"""Variational autoencoder with one stochastic layer (Kingma & Welling, 2014)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import distrax
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from dgm_jax import likelihoods, nets, posteriors, priors
from dgm_jax.precision import Networks


class Model(Networks):
  """p(x, z) = p(z) prod_d p(x_d; f_d(z)),   q(z|x) with parameters g(x), z of L dimensions.

  f and g are multilayer perceptrons with tanh units, or convolutional nets.  The defaults are the model and the
  network of Burda et al. (2016) with one stochastic layer: N(z; 0, I), Bernoulli(x_d; sigmoid(f_d(z))),
  N(z; mu(x), diag sigma(x)^2).

  Where a batch has a `mask`, p(x|z) is that of the observed entries, and the encoder sees 0 for the others: log p is
  the marginal of what was observed, the bounds are those of Mattei & Frellsen (2019).

  Attributes:
    data_shape: the shape of one x.
    data_mean: the mean of the training set, flat; E[x|z] starts near it.  None: at the middle of the support, or 0.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.  Those of convolutional nets
      are between the convolutions and z.
    likelihood: p(x_d | .), a name of likelihoods.FAMILIES, and its options.
    posterior: q, a name of posteriors.POSTERIORS, and its options.
    prior: p(z), a name of priors.PRIORS, and its options.
    net: f and g, a name of nets.NETS, and its options; see nets.make.
  """

  takes_mask: ClassVar[bool] = True

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dim: int = 50
  hidden: Sequence[int] = (200, 200)
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()
  posterior: str = "diagonal"
  posterior_args: Mapping[str, Any] = FrozenDict()
  prior: str = "standard_normal"
  prior_args: Mapping[str, Any] = FrozenDict()
  net: str = "mlp"
  net_args: Mapping[str, Any] = FrozenDict()

  @property
  def support(self) -> tuple[float, float]:
    """The least and the greatest x that p(x|z) can give."""
    return likelihoods.make(self.likelihood, **self.likelihood_args).support

  def setup(self):
    if min(self.latent_dim, *self.hidden, 1) < 1:
      raise ValueError("latent_dim and hidden must be 1 or more")
    family = likelihoods.make(self.likelihood, **self.likelihood_args)
    self.px_z = likelihoods.Likelihood(prod(self.data_shape), family)
    self.qz_x = posteriors.make(self.posterior, self.latent_dim, **self.posterior_args)
    mean = self.px_z.expected(self.data_mean)
    self.pz = priors.make(self.prior, self.latent_dim, mean, family.support, **self.prior_args)
    if self.prior == "vamp" and self.posterior in posteriors.WITHOUT_LOG_PROB:
      raise ValueError(f"prior 'vamp' takes log q at any z, which posterior {self.posterior!r} has not")
    if self.prior == "vamp" and family.num_classes is not None:
      raise ValueError(f"prior 'vamp' takes real x for its pseudo-inputs; those of {self.likelihood!r} are classes")
    widths, output_bias = (self.qz_x.num_outputs, self.px_z.num_outputs), self.px_z.output_bias(self.data_mean)
    common = (self.data_shape, family.num_classes or 1, self.hidden, widths, output_bias, self.compute)
    self.encoder, self.decoder = nets.make(self.net, *common, **self.net_args)

  def _flat(self, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """(x [B, D], mask [B, D] or None)."""
    x, mask = batch["x"], batch.get("mask")
    return x.reshape(x.shape[0], -1), None if mask is None else mask.reshape(x.shape[0], -1)

  def _prior(self) -> distrax.Distribution:
    return self.pz(lambda x: self.qz_x(self.encoder(x)))

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z|x), batch [B], event [L]."""
    return self.proposal(self.encoder_outputs(batch))

  def encoder_outputs(self, batch: dict[str, jax.Array]) -> jax.Array:
    """What the encoder says of q(z|x), [B, O]."""
    return self.encoder(self.px_z.features(*self._flat(batch)))

  def proposal(self, h: jax.Array) -> distrax.Distribution:
    """The member of q's family with the outputs h [B, O] and the parameters of `qz_x`, which only flows have."""
    return self.qz_x(h)

  def decode(self, z: jax.Array) -> distrax.Distribution:
    """p(x|z), batch [B], event [D], flat: sums over one long axis are twice as fast as over an image's; z [B, L]."""
    return self.px_z(self.decoder(z))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z) [B] of the observed entries, log p(z) [B]); z [B, L]."""
    return self.decode(z).log_prob(*self._flat(batch)), self._prior().log_prob(z)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z), which is what papers show."""
    key_z, key_x = jax.random.split(key)
    p = self.decode(self._prior().sample(seed=key_z, sample_shape=(n,)))
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """({"x": [n, *data_shape]}, z [n, L]), a draw from p(x, z)."""
    key_z, key_x = jax.random.split(key)
    z = self._prior().sample(seed=key_z, sample_shape=(n,))
    return {"x": self.decode(z).sample(seed=key_x).reshape(n, *self.data_shape)}, z

  def kl(self, batch: dict[str, jax.Array]) -> jax.Array:
    """KL(q(z_l|x) || N(0, 1)), [B, L], of a diagonal q: (mean^2 + variance - 1 - log variance) / 2."""
    if self.posterior not in ("diagonal", "diagonal_shared") or self.prior != "standard_normal":
      raise ValueError(
        f"the KL of posterior {self.posterior!r} to prior {self.prior!r} has no closed form per unit: "
        "objective.kl = 'analytic' needs 'diagonal' or 'diagonal_shared', and 'standard_normal'"
      )
    q = self.infer(batch)
    return 0.5 * (jnp.square(q.mean()) + q.variance() - 1 - jnp.log(q.variance()))

  def __call__(self, batch: dict[str, jax.Array]):
    """Touches every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).sample(seed=jax.random.key(0)))

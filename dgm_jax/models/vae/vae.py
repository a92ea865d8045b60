"""Variational autoencoder with one stochastic layer (Kingma & Welling, 2014), also for data with missing entries."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions import posteriors, priors
from dgm_jax.distributions.factorised import Factorised, bernoulli
from dgm_jax.distributions.missing_process import IGNORABLE, WithNoise, make
from dgm_jax.models.base import flat, require_at_least, require_one_of
from dgm_jax.models.vae.base import DecoderModel
from dgm_jax.networks import encoder_decoder


class Model(DecoderModel):
  """p(x, z) = p(z) prod_d p(x_d; f_d(z)),   q(z|x) with parameters g(x), z of L dimensions.

  f and g are multilayer perceptrons with tanh units, or convolutional nets.  The defaults are the model and the
  network of Burda et al. (2016) with one stochastic layer: N(z; 0, I), Bernoulli(x_d; sigmoid(f_d(z))),
  N(z; mu(x), diag sigma(x)^2).

  Where a batch has a `mask`, p(x|z) and log p are those of the observed entries, and the encoder sees iota for the
  others; with bound = "iwae" the objective is MIWAE's (Mattei & Frellsen, 2019).  Where it has `shown`, the encoder
  sees iota also where this is 0, while p(x|z) is still that of the observed entries: the mean of
  log 1/K sum_k p(x_observed|z_k) p(z_k) / q(z_k) is at most log p(x_observed) for every q, whatever q has seen.

  With a missing process p(m|x) the model is p(z) p(x|z) p(m|x), and log p is that of (x_observed, m): not-MIWAE (Ipsen,
  Mattei & Frellsen, 2021), log w = log p(x_observed|z) + log p(m|x_observed, x_missing) + log p(z) - log q(z|x) with
  x_missing ~ p(x|z).  Latents are then (z [B, L], keys [B]), see missing_process.WithNoise.  m is the batch's `mask`,
  or its `indicator` where the mask shows entries of x that the missing process had removed.

  Attributes, in addition to those of base.DecoderModel:
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.  Those of convolutional nets
      are between the convolutions and z.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
    posterior: q, a name of posteriors.POSTERIORS, and its options.
    prior: p(z), a name of priors.PRIORS, and its options.
    net: f and g, a name of encoder_decoder.NETS, and its options; see encoder_decoder.make.
    iota: what the encoder sees where x is missing: "zero", or "constant", a learned number for each of its inputs.
    missing_process: p(m|x), "ignorable" or a name of missing_process.PROCESSES, and its options.
  """

  takes_mask: ClassVar[bool] = True
  inference_parameters: ClassVar[tuple[str, ...]] = ("encoder", "qz_x", "iota")

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
  iota: str = "zero"
  missing_process: str = IGNORABLE
  missing_process_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    require_at_least(1, latent_dim=self.latent_dim, hidden=self.hidden)
    self.px_z = self._make_likelihood()
    family = self.px_z.family
    self.qz_x = posteriors.make(self.posterior, self.latent_dim, **self.posterior_args)
    mean = self.px_z.expected(self.data_mean)
    self.pz = priors.make(self.prior, self.latent_dim, mean, family.support, **self.prior_args)
    errors.require(
      self.prior != "vamp"
      or not (self.posterior in posteriors.WITHOUT_LOG_PROB or getattr(self.qz_x, "without_log_prob", False)),
      f"prior 'vamp' needs log q at any z, which posterior {self.posterior!r} does not provide",
    )
    errors.require(
      self.prior != "vamp" or (self.likelihood != "mixed" and family.num_classes is None),
      f"prior 'vamp' needs numeric x for its pseudo-inputs; likelihood {self.likelihood!r} has classes",
    )
    widths, output_bias = (self.qz_x.num_outputs, self.px_z.num_outputs), self.px_z.output_bias(self.data_mean)
    common = (self.data_shape, family.num_classes or 1, self.hidden, widths, output_bias, self.compute)
    self.encoder, self.decoder = encoder_decoder.make(self.net, *common, **self.net_args)
    self._setup_missing()

  def _setup_missing(self):
    require_one_of(("zero", "constant"), iota=self.iota)
    errors.require(
      self.iota != "constant" or self.net != "set",
      "iota = 'constant' cannot be used with net 'set', whose encoder leaves missing entries out",
    )
    if self.iota == "constant":
      self.fill = self.param("iota", nn.initializers.zeros, (self.px_z.num_features,))
    if self.missing_process != IGNORABLE:
      options = self.missing_process_args
      self.pm_x = make(self.missing_process, self.px_z.dim, self.likelihood, **options)

  @property
  def _draws_missing(self) -> bool:
    """Whether p(m|x) depends on x, so that the latents include keys to draw x_missing with."""
    return self.missing_process != IGNORABLE and self.pm_x.sees == "x"

  def _prior(self) -> distrax.Distribution:
    return self.pz(lambda x: self.qz_x(self.encoder(x)))

  def encoder_outputs(self, batch: dict[str, jax.Array]) -> jax.Array:
    """The encoder's outputs, the parameters of q(z|x), [B, O]."""
    x, mask = flat(batch)
    if "shown" in batch:
      shown = batch["shown"].reshape(x.shape)
      mask = shown if mask is None else jnp.minimum(mask, shown)
    seen = self.px_z.features(x, mask, self.fill if self.iota == "constant" else 0)
    if self.net == "set" and mask is not None:
      return self.encoder(seen, self.px_z.family.spread(mask))
    return self.encoder(seen)

  def proposal(self, h: jax.Array) -> distrax.Distribution:
    """The member of q's family with encoder outputs h [B, O] and the parameters of `qz_x`, if there are any."""
    return self.qz_x(h)

  def _posterior(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    return self.proposal(self.encoder_outputs(batch))

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution | WithNoise:
    """q(z|x), batch [B], event [L]; with keys to draw x_missing, q of (z, keys)."""
    q = self._posterior(batch)
    return WithNoise(q, batch["x"].shape[0]) if self._draws_missing else q

  def decode(self, z: jax.Array) -> distrax.Distribution:
    """p(x|z), batch [B], event [D]; z [B, L].  Sums over one flat axis are twice as fast as over an image's axes."""
    return self.px_z(self.decoder(z))

  def given(self, latents: jax.Array | tuple) -> distrax.Distribution:
    """p(x|z) as in `decode`; for latents (z, keys), a point mass at the x that they determine."""
    if not self._draws_missing:
      return self.decode(latents)
    z, keys = self._split(latents)
    return Factorised(distrax.Deterministic(self.px_z.draw(self.decoder(z), keys)))

  def _split(self, latents: jax.Array | tuple) -> tuple[jax.Array, jax.Array | None]:
    """(z, keys); keys are None unless p(m|x) depends on x."""
    if not self._draws_missing:
      return latents, None
    errors.require(
      isinstance(latents, tuple),
      f"with missing_process {self.missing_process!r} the latents are (z, keys), but these are z alone",
    )
    return latents

  def log_joint(self, batch: dict[str, jax.Array], latents: jax.Array | tuple) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z) of the observed entries plus, with a missing process, log p(m|x); log p(z)), [B] each."""
    x, mask = flat(batch)
    z, keys = self._split(latents)
    h = self.decoder(z)
    log_px_z = self.px_z(h).log_prob(x, mask)
    if self.missing_process != IGNORABLE:
      seen = jnp.ones_like(x) if mask is None else mask
      m = batch["indicator"].reshape(x.shape) if "indicator" in batch else seen
      cause = z if keys is None else jnp.where(seen > 0, x, self.px_z.draw(h, keys))
      log_px_z += bernoulli(self.pm_x(cause)).log_prob(m)
    return log_px_z, self._prior().log_prob(z)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, *data_shape]; with `mean`, E[x|z] at z ~ p(z), as shown in papers."""
    key_z, key_x = jax.random.split(key)
    p = self.decode(self._prior().sample(seed=key_z, sample_shape=(n,)))
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct(self, latents: jax.Array | tuple) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    z = latents[0] if isinstance(latents, tuple) else latents
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array | tuple]:
    """({"x": [n, *data_shape]} and, with a missing process, "mask"; the latents), a draw from p(x, z)."""
    key_z, key_x = jax.random.split(key)
    z = self._prior().sample(seed=key_z, sample_shape=(n,))
    if self.missing_process == IGNORABLE:
      return {"x": self.decode(z).sample(seed=key_x).reshape(n, *self.data_shape)}, z
    key_x, key_m = jax.random.split(key_x)
    keys = jax.random.split(key_x, n)
    x = self.px_z.draw(self.decoder(z), keys)
    mask = bernoulli(self.pm_x(x if self._draws_missing else z)).sample(seed=key_m)
    batch = {"x": x.reshape(n, *self.data_shape), "mask": mask.reshape(n, *self.data_shape)}
    return batch, (z, keys) if self._draws_missing else z

  def kl(self, batch: dict[str, jax.Array]) -> jax.Array:
    """KL(q(z_l|x) || N(0, 1)), [B, L], of a diagonal q: (mean^2 + variance - 1 - log variance) / 2."""
    errors.require(
      self.posterior in ("diagonal", "diagonal_shared") and self.prior == "standard_normal",
      f"the KL of posterior {self.posterior!r} to prior {self.prior!r} has no closed form per unit: "
      "objective.kl = 'analytic' needs 'diagonal' or 'diagonal_shared', and 'standard_normal'",
    )
    q = self._posterior(batch)
    return 0.5 * (jnp.square(q.mean()) + q.variance() - 1 - jnp.log(q.variance()))

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).sample(seed=jax.random.key(0)))

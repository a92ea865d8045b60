"""scVI: the VAE of single cells' counts of RNA molecules (Lopez, Regier, Cole, Jordan & Yosef, 2018)."""

import math
from collections.abc import Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import sum_last
from dgm_jax.distributions.likelihoods import counts
from dgm_jax.distributions.normals import diagonal_normal
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.models.vae import cell_nets
from dgm_jax.models.vae.cell_draws import CellDraws
from dgm_jax.models.vae.cell_nets import Decoded, Encoder
from dgm_jax.networks.normed_layers import BatchNorm, Injected, NormedLayers

NEGATIVE_BINOMIAL, POISSON = "negative_binomial", "poisson"
ZERO_INFLATED = "zero_inflated_negative_binomial"
LIKELIHOODS = (ZERO_INFLATED, NEGATIVE_BINOMIAL, POISSON)
DISPERSIONS = ("gene", "gene_batch", "gene_label", "gene_cell")
LIBRARIES = ("observed", "latent", "size_factor")
LATENTS = ("normal", "logistic_normal")


class Model(CellDraws):
  """z ~ N(0, I), rho = softmax(f(z, b)), x_g ~ p(x_g; mean l rho_g, dispersion theta_g), b the batch of the cell.

    latent        log l ~ N(m_b, v_b) with the moments of the log totals of the batch, and q(z, log l | x) factorises
    observed      l = sum_g x_g: p(x | l) depends on the cell's own total and is no density of x
    size_factor   l is given, batch["size_factor"], and rho = softplus(f): no softmax, as it need not sum to 1

  z holds log l as its last unit where the library is latent.  The encoder sees log(1 + x).  Batches, further categories
  and continuous covariates enter every layer of the decoder, and with `encode_covariates` of the encoder.  `beta` of
  the objective weighs the KL of z, never that of the library.

  A batch has x, counts [B, G], and, where the model has them, `batch` int [B], `y` int [B], `categories` int [B, C],
  `continuous` [B, F], `size_factor` [B].  `log_factorials` [B], counts.small_log_factorials(x), saves its computation.
  A batch with `key` [B] is a training batch: dropout, and moments of the batch in place of their averages.

  Attributes:
    data_shape: (G,), the number of genes.
    data_mean: mean of the training set, where the frequencies start.
    latent_dim, hidden, num_layers, dropout: L; width and number of hidden layers; dropout of the encoder.
    likelihood: a name of LIKELIHOODS.
    dispersion: theta by "gene", "gene_batch" or "gene_label", where cells without a label, y = -1, have their own; or
      as a function of z, "gene_cell".
    library: a name of LIBRARIES.
    latent: "normal", or "logistic_normal": the decoder sees softmax(z).
    linear: whether the decoder is linear (LDVAE; Svensson et al., 2020), so that genes have loadings.
    encode_covariates: see above.
    num_batches, num_labels, categories, num_continuous: what the data have; sizes of the further categories.
    library_moments: ((m_b), (v_b)) for each batch.
  """

  data_shape: Sequence[int]
  data_mean: Sequence[float] | None = None
  latent_dim: int = 10
  hidden: int = 128
  num_layers: int = 1
  dropout: float = 0.1
  likelihood: str = ZERO_INFLATED
  dispersion: str = "gene"
  library: str = "observed"
  latent: str = "normal"
  linear: bool = False
  encode_covariates: bool = False
  num_batches: int = 1
  num_labels: int = 0
  categories: Sequence[int] = ()
  num_continuous: int = 0
  library_moments: Sequence[Sequence[float]] = ((0.0,), (1.0,))

  def setup(self):
    self._check()
    widths = (self.hidden,) * self.num_layers
    self.encoder = Encoder(self.latent_dim, widths, self.dropout)
    if self.library == "latent":
      self.library_encoder = Encoder(1, widths[:1], self.dropout)
    self._make_decoder(widths)
    if self.likelihood != POISSON and self.dispersion != "gene_cell":
      rows = {"gene": 1, "gene_batch": self.num_batches, "gene_label": self.num_labels + 1}[self.dispersion]
      self.log_dispersion = self.param("log_dispersion", nn.initializers.normal(1.0), (rows, self.num_genes))

  @nn.nowrap
  def _check(self) -> None:
    require_one_of(LIKELIHOODS, likelihood=self.likelihood)
    require_one_of(DISPERSIONS, dispersion=self.dispersion)
    require_one_of(LIBRARIES, library=self.library)
    require_one_of(LATENTS, latent=self.latent)
    require_at_least(1, latent_dim=self.latent_dim, hidden=self.hidden, num_layers=self.num_layers)
    errors.require(0 <= self.dropout < 1, f"dropout = {self.dropout}; it must be at least 0 and less than 1")
    errors.require(
      self.dispersion != "gene_label" or self.num_labels > 0,
      "dispersion = 'gene_label' needs cells with labels y; these data have none",
    )
    errors.require(
      not (self.linear and self.dispersion == "gene_cell"),
      "dispersion = 'gene_cell' is a function of the decoder's hidden layer, which a linear decoder does not have",
    )

  def _make_decoder(self, widths: Sequence[int]) -> None:
    outputs = 1 + (self.likelihood == ZERO_INFLATED) + (self.dispersion == "gene_cell" and self.likelihood != POISSON)
    self.scale_norm = BatchNorm(self.num_genes) if self.linear else None
    self.decoder = None if self.linear else NormedLayers(widths)
    self.scale_head = Injected(self.num_genes, not self.linear, self._frequencies)
    self.other_heads = Injected((outputs - 1) * self.num_genes) if outputs > 1 else None

  @nn.nowrap
  def _frequencies(self, key, shape, dtype=jnp.float32):
    """Initial scores: log frequencies of the training set; with size factors, softplus(scores) is its mean."""
    del key
    if self.data_mean is None:
      return jnp.zeros(shape, dtype)
    mean = jnp.maximum(jnp.asarray(self.data_mean, dtype), 1e-4)
    if self.library == "size_factor":
      return (mean + jnp.log(-jnp.expm1(-mean))).reshape(shape)
    return jnp.log(mean / max(sum(self.data_mean), 1e-4)).reshape(shape)

  @property
  def num_genes(self) -> int:
    """G."""
    return math.prod(self.data_shape)

  @property
  def warmed(self) -> tuple[bool, ...]:
    """Which units of z the weight `beta` applies to: not the library."""
    return (True,) * self.latent_dim + (False,) * (self.library == "latent")

  @nn.nowrap
  def _x(self, batch: dict[str, jax.Array]) -> jax.Array:
    return batch["x"].reshape(batch["x"].shape[0], -1).astype(jnp.float32)

  @nn.nowrap
  def _one_hot(self, batch: dict[str, jax.Array], name: str, number: int) -> jax.Array:
    """One-hot vectors [B, number] of a batch's integers; the first category where the batch does not say it."""
    given = batch.get(name, jnp.zeros(batch["x"].shape[0], jnp.int32))
    return jax.nn.one_hot(given, number)

  @nn.nowrap
  def covariates(self, batch: dict[str, jax.Array]) -> jax.Array:
    """What the decoder knows of a cell besides z: batch and categories, one-hot, and continuous covariates, [B, C]."""
    parts = [jnp.zeros((batch["x"].shape[0], 0))]
    parts += [self._one_hot(batch, "batch", self.num_batches)] if self.num_batches > 1 else []
    parts += [jax.nn.one_hot(batch["categories"][:, i], n) for i, n in enumerate(self.categories)]
    parts += [batch["continuous"]] if self.num_continuous else []
    return jnp.concatenate(parts, -1)

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z, log l | x), batch [B], event [L] or [L + 1]."""
    x, known = jnp.log1p(self._x(batch)), self.covariates(batch)
    known = known if self.encode_covariates else known[:, :0]
    keys = batch.get("key")
    found = self.encoder(x, known, keys)
    if self.library != "latent":
      return diagonal_normal(found)
    of_library = self.library_encoder(x, known, None if keys is None else cell_nets.of_library(keys))
    parts = zip(jnp.split(found, 2, -1), jnp.split(of_library, 2, -1), strict=True)
    return diagonal_normal(jnp.concatenate([a for pair in parts for a in pair], -1))

  def log_library(self, batch: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    """log l, [B]."""
    if self.library == "latent":
      return z[:, self.latent_dim]
    return jnp.log(batch["size_factor"] if self.library == "size_factor" else jnp.sum(self._x(batch), -1))

  def decode(self, batch: dict[str, jax.Array], z: jax.Array) -> Decoded:
    """The decoder's outputs for z [B, L] or [B, L + 1] and the covariates of the batch."""
    known, z = self.covariates(batch), z[:, : self.latent_dim]
    z = jax.nn.softmax(z) if self.latent == "logistic_normal" else z
    h = z if self.linear else self.decoder(z, known, batch.get("key"))
    none = known[:, :0]
    scores = self.scale_head(h, known if self.linear else none)
    if self.linear:
      scores = self.scale_norm(scores, "key" in batch)
    log_rho = jnp.log(nn.softplus(scores)) if self.library == "size_factor" else jax.nn.log_softmax(scores)
    others = [] if self.other_heads is None else self.other_heads(h, known if self.linear else none)
    others = [] if self.other_heads is None else jnp.split(others, others.shape[-1] // self.num_genes, -1)
    logit = others.pop(0) if self.likelihood == ZERO_INFLATED else None
    return Decoded(log_rho, self._log_dispersion(batch, others), logit)

  def _log_dispersion(self, batch: dict[str, jax.Array], others: list[jax.Array]) -> jax.Array | None:
    if self.likelihood == POISSON:
      return None
    if self.dispersion == "gene_cell":
      return others[0]
    if self.dispersion == "gene":
      return self.log_dispersion[0]
    rows = self.log_dispersion.shape[0]
    if self.dispersion == "gene_batch":
      return self._one_hot(batch, "batch", rows) @ self.log_dispersion
    y = batch.get("y", jnp.full(batch["x"].shape[0], -1))
    return jax.nn.one_hot(y % rows, rows) @ self.log_dispersion  # the last row is that of unlabelled cells, y = -1

  def px_z(self, batch: dict[str, jax.Array], z: jax.Array) -> Any:
    """p(x_g | z, l), entries [B, G] with without_factorial(x), sample(seed=), mean() and variance()."""
    found = self.decode(batch, z)
    log_mean = found.log_rho + self.log_library(batch, z)[:, None]
    if self.likelihood == POISSON:
      return counts.PoissonCounts(log_mean)
    plain = counts.NegativeBinomial(log_mean, found.log_dispersion)
    return plain if found.logit is None else counts.ZeroInflated(plain, found.logit)

  def log_prior(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """p(z, log l), batch [B]: N(0, I), and N(m_b, v_b) of the log library."""
    rows = batch["x"].shape[0]
    zeros = jnp.zeros((rows, self.latent_dim))
    if self.library != "latent":
      return diagonal_normal(jnp.concatenate([zeros, zeros], -1))
    of_batch = self._one_hot(batch, "batch", self.num_batches)
    mean, variance = (of_batch @ jnp.asarray(a, jnp.float32)[:, None] for a in self.library_moments)
    return diagonal_normal(jnp.concatenate([zeros, mean, zeros, 0.5 * jnp.log(variance)], -1))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z, l) [B], log p(z, log l) [B]), nats."""
    x = self._x(batch)
    factorials = batch["log_factorials"] if "log_factorials" in batch else counts.small_log_factorials(x)
    log_px = sum_last(self.px_z(batch, z).without_factorial(x)) - factorials
    return log_px, self.log_prior(batch).log_prob(z)

  def kl(self, batch: dict[str, jax.Array]) -> jax.Array:
    """KL(q(z_l|x) || p(z_l)), and of the library KL(q(log l|x) || N(m_b, v_b)), [B, L] or [B, L + 1]."""
    q, p = self.infer(batch), self.log_prior(batch)
    ratio = q.variance() / p.variance()
    return 0.5 * (ratio + jnp.square(q.mean() - p.mean()) / p.variance() - 1 - jnp.log(ratio))

  def update(self, variables: Any, key: jax.Array, batch: dict[str, jax.Array]) -> Any:
    """The variables, with running averages updated by the moments of a training batch."""
    _, new = self.apply(variables, key, batch, method="_forward", mutable=["averages"])
    return {**variables, **new}

  def _forward(self, key: jax.Array, batch: dict[str, jax.Array]) -> None:
    self.decode(batch, self.infer(batch).sample(seed=key))

  def loadings(self) -> jax.Array:
    """The linear decoder's weights of z for the genes' scores, rho = softmax(scores), in evaluation; [G, L].

    The weights of the batch normalisation that follows are multiplied in: scale / sqrt(variance + eps) x kernel.
    """
    errors.require(self.linear, "loadings are those of a linear decoder: linear = True")
    return self.scale_head.variables["params"]["kernel"].T * self.scale_norm.weights()[:, None]

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).mean())

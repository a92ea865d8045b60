"""scANVI: scVI with types of cells, some of which are known (Xu et al., 2021; the semi-supervised model M1+M2)."""

import math
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import sum_last
from dgm_jax.distributions.likelihoods import counts
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.models.base import require_at_least
from dgm_jax.models.vae import cell_nets, scvi
from dgm_jax.networks.normed_layers import NormedLayers


class Model(scvi.Model):
  """y ~ uniform, z_2 ~ N(0, I), z ~ N(m(z_2, y), s(z_2, y)^2), x ~ p(x | z, l) of scVI; q(z|x) q(y|z) q(z_2|z, y).

    J(z, y) = E_q[log p(z | z_2, y)] - KL(q(z_2 | z, y) || p(z_2)) - log C
    L(x, y) = E_q[log p(x|z) - log q(z|x) + J(z, y)]                              <= log p(x, y)
    U(x)    = E_q[log p(x|z) - log q(z|x) + sum_y q(y|z) (J(z, y) - log q(y|z))]  <= log p(x)

  Training maximises L(x, y) + alpha log q(y|z) where the type is known, and U(x) elsewhere, with one draw of z and of
  each z_2; a latent library adds minus its KL.  batch["y"] holds types 0 .. C - 1, and -1 where it is not known.

  log p(x) is estimated with the latent variables (z, log l, z_2), over whose types both densities are sums:

    log p(x, z, z_2) = log p(x|z) + log N(z_2; 0, I) + log 1/C sum_y p(z | z_2, y)
    log q(z, z_2|x)  = log q(z|x) + log sum_y q(y|z) q(z_2 | z, y)

  `infer`, `log_joint` and `simulate` are of these units; means and variances of q are of (z, log l) alone.

  Attributes, in addition to those of scvi.Model, of which num_labels is C:
    alpha: weight of the classifier's log-likelihood, 50 in scvi-tools.
  """

  alpha: float = 50.0
  discrete = True  # z_2 is drawn after a type, so that its draws have no derivative with respect to q(y|z)

  def setup(self):
    super().setup()
    require_at_least(0, alpha=self.alpha)
    errors.require(
      self.num_labels >= 2, f"scANVI needs cells of two types or more, and the data have {self.num_labels}"
    )
    errors.require(
      self.dispersion != "gene_label",
      "scANVI does not support dispersion = 'gene_label': the type is latent, and theta would read the true one",
    )
    self.classifier = NormedLayers((self.hidden,), self.dropout)
    self.classes = nn.Dense(self.num_labels)
    self.upper_encoder = cell_nets.Encoder(self.latent_dim, (self.hidden,), self.dropout)
    self.upper_decoder = cell_nets.Encoder(self.latent_dim, (self.hidden,), 0.0)

  def log_qy_z(self, z: jax.Array, keys: jax.Array | None = None) -> jax.Array:
    """log q(y|z), [B, C]; z [B, L]."""
    return jax.nn.log_softmax(self.classes(self.classifier(z, z[:, :0], keys)))

  def by_type(self, key: jax.Array, z: jax.Array, keys: jax.Array | None = None) -> jax.Array:
    """An unbiased estimate of J(z, y) for every type, [B, C]; z [B, L]."""
    each, y, keys = self._each_type(z, keys)
    q = diagonal_normal(self.upper_encoder(each, y, keys))
    upper = q.sample(seed=key)
    log_pz = diagonal_normal(self.upper_decoder(upper, y, keys)).log_prob(each)
    found = log_pz - q.kl_divergence(standard_normal(self.latent_dim)) - math.log(self.num_labels)
    return found.reshape(len(z), self.num_labels)

  @nn.nowrap
  def _each_type(self, a: jax.Array, keys: jax.Array | None = None) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """(a [B, D] once for every type, [B C, D], in which the type varies fastest; the types, one-hot; keys [B C])."""
    each = lambda rows: jnp.repeat(rows, self.num_labels, 0)
    y = jax.nn.one_hot(jnp.tile(jnp.arange(self.num_labels), len(a)), self.num_labels)
    return each(a), y, None if keys is None else each(keys)

  @nn.nowrap
  def _below(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z, log l | x), event [L] or [L + 1]."""
    return super().infer(batch)

  @nn.nowrap
  def _split(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """((z, log l), z, z_2) of the units of `infer`."""
    return z[..., : -self.latent_dim], z[..., : self.latent_dim], z[..., -self.latent_dim :]

  def log_upper(self, z: jax.Array, upper: jax.Array, keys: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """(log q(z_2 | z, y), log p(z | z_2, y)) for every type, [B, C]; z and z_2 [B, L]."""
    (z, y, of_each), (upper, _, _) = self._each_type(z, keys), self._each_type(upper)
    log_q = diagonal_normal(self.upper_encoder(z, y, of_each)).log_prob(upper)
    log_p = diagonal_normal(self.upper_decoder(upper, y, of_each)).log_prob(z)
    return log_q.reshape(-1, self.num_labels), log_p.reshape(-1, self.num_labels)

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z, log l, z_2 | x), batch [B], event [2 L] or [2 L + 1]; its mean and variance are of (z, log l)."""
    return _WithUpper(self, self._below(batch), batch.get("key"))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z, l) [B], log p(z, log l, z_2) [B]), nats."""
    lower, z, upper = self._split(z)
    log_pz = jax.nn.logsumexp(self.log_upper(z, upper, batch.get("key"))[1], -1) - math.log(self.num_labels)
    log_pz += standard_normal(self.latent_dim).log_prob(upper) + self._log_prior_of_library(batch, lower)
    return self._log_px_z(batch, lower), log_pz

  @nn.nowrap
  def _log_px_z(self, batch: dict[str, jax.Array], z: jax.Array) -> jax.Array:
    x = self._x(batch)
    factorials = batch["log_factorials"] if "log_factorials" in batch else counts.small_log_factorials(x)
    return sum_last(self.px_z(batch, z).without_factorial(x)) - factorials

  @nn.nowrap
  def _prior_of_scvi(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """N(0, I) and p(log l), of which the second is used."""
    return super().log_prior(batch)

  @nn.nowrap
  def _log_prior_of_library(self, batch: dict[str, jax.Array], z: jax.Array) -> jax.Array | float:
    """log N(log l; m_b, v_b), [B]; 0 where the library is not latent."""
    if self.library != "latent":
      return 0.0
    p = self._prior_of_scvi(batch)
    library = diagonal_normal(jnp.stack([p.mean()[:, -1], 0.5 * jnp.log(p.variance()[:, -1])], -1))
    return library.log_prob(z[:, -1:])

  def log_prior(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """Raises UserError: p(z) is a mixture without a closed form; `log_joint` has p(z, log l, z_2)."""
    raise errors.UserError("p(z) of scANVI is a mixture over types and z_2 without a closed form.")

  def kl(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Raises UserError: p(z) is a mixture."""
    raise errors.UserError("The KL of scANVI has no closed form, as p(z) is a mixture over types and z_2.")

  def terms(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(log p(x|z) - log q(z|x) - KL(library) [B], J(z, y) [B, C], log q(y|z) [B, C]) at one draw of z ~ q(z|x)."""
    key_z, key_upper = jax.random.split(key)
    drawn, log_q = self._below(batch).sample_and_log_prob(seed=key_z)
    below = self._log_px_z(batch, drawn) - log_q + self._log_prior_of_library(batch, drawn)
    z, keys = drawn[:, : self.latent_dim], batch.get("key")
    return below, self.by_type(key_upper, z, keys), self.log_qy_z(z, keys)

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective [B], {elbo: U(x), labelled, labelled_right: [B]})."""
    below, by_type, log_qy_z = self.terms(key, batch)
    elbo = below + unlabelled(by_type, log_qy_z)
    y = batch.get("y", jnp.full(elbo.shape, -1))
    known = (y >= 0).astype(elbo.dtype)
    pick = lambda a: jnp.sum(a * jax.nn.one_hot(y, self.num_labels), -1)
    objective = jnp.where(known > 0, below + pick(by_type) + self.alpha * pick(log_qy_z), elbo)
    right = known * (jnp.argmax(log_qy_z, -1) == y)
    return objective, {"elbo": elbo, "labelled": known, "labelled_right": right}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{elbo: U(x), nats; where batch has y, accuracy and labelled: [B]}.

    accuracy: whether argmax q(y|z) at E[z|x] is y; labelled: whether y >= 0.  The mean of the accuracy is that of the
    labelled cells; see core.evaluation.means_and_errors.
    """
    below, by_type, log_qy_z = self.terms(key, batch)
    values = {"elbo": below + unlabelled(by_type, log_qy_z)}
    if "y" in batch:
      values["labelled"] = (batch["y"] >= 0).astype(jnp.float32)
      values["accuracy"] = (jnp.argmax(self.log_types(batch), -1) == batch["y"]).astype(jnp.float32)
    return values

  def log_types(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log q(y|z) at z = E_q[z|x], [B, C]."""
    return self.log_qy_z(self._below(batch).mean()[:, : self.latent_dim])

  def _forward(self, key: jax.Array, batch: dict[str, jax.Array]) -> None:
    self.terms(key, batch)

  def _latents(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """(y [B], (z, log l, z_2)), a draw of their priors."""
    key_y, key_upper, key_z, key_l = jax.random.split(key, 4)
    n = len(batch["x"])
    y = jax.random.randint(key_y, (n,), 0, self.num_labels)
    upper = jax.random.normal(key_upper, (n, self.latent_dim))
    given = jax.nn.one_hot(y, self.num_labels)
    z = diagonal_normal(self.upper_decoder(upper, given, None)).sample(seed=key_z)
    library = self._prior_of_scvi(batch).sample(seed=key_l)[:, self.latent_dim :]
    return y, jnp.concatenate([z, library, upper], -1)

  def simulate(self, key: jax.Array, n: int) -> tuple[dict[str, jax.Array], jax.Array]:
    """({x [n, G], y, batch, ...}, (z, log l, z_2)), a joint draw; libraries as in scvi.Model.simulate."""
    key_given, key_z, key_x = jax.random.split(key, 3)
    batch = self.conditions(key_given, n)
    y, z = self._latents(key_z, batch)
    batch |= {"y": y}
    return batch | {"x": self.px_z(batch, z).sample(seed=key_x).reshape(n, *self.data_shape)}, z

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, G]; with `mean`, E[x|z]; libraries as in scvi.Model.simulate."""
    if not mean:
      return self.simulate(key, n)[0]["x"]
    key_given, key_z, _ = jax.random.split(key, 3)
    batch = self.conditions(key_given, n)
    return self.px_z(batch, self._latents(key_z, batch)[1]).mean().reshape(n, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    return self.bound(jax.random.key(0), batch)


class _WithUpper(distrax.Distribution):
  """q(z, log l | x) sum_y q(y|z) q(z_2 | z, y), batch [B]; mean and variance are of q(z, log l | x)."""

  def __init__(self, model: Model, below: distrax.Distribution, keys: jax.Array | None):
    super().__init__()
    self._model, self._below, self._keys = model, below, keys

  @property
  def event_shape(self) -> tuple:
    return (self._below.event_shape[0] + self._model.latent_dim,)

  @property
  def batch_shape(self) -> tuple:
    return self._below.batch_shape

  def _one(self, key: jax.Array) -> jax.Array:
    key_below, key_y, key_upper = jax.random.split(key, 3)
    below, model = self._below.sample(seed=key_below), self._model
    z = below[:, : model.latent_dim]
    y = jax.random.categorical(key_y, model.log_qy_z(z, self._keys))
    of_type = diagonal_normal(model.upper_encoder(z, jax.nn.one_hot(y, model.num_labels), self._keys))
    return jnp.concatenate([below, of_type.sample(seed=key_upper)], -1)

  def _sample_n(self, key: jax.Array, n: int) -> jax.Array:
    return jnp.stack([self._one(k) for k in jax.random.split(key, n)])

  def log_prob(self, value: jax.Array) -> jax.Array:
    if value.ndim > 2:
      return jnp.stack([self.log_prob(v) for v in value])
    value = jnp.broadcast_to(value, (*self.batch_shape, *self.event_shape))
    below, z, upper = self._model._split(value)
    log_types = self._model.log_qy_z(z, self._keys) + self._model.log_upper(z, upper, self._keys)[0]
    return self._below.log_prob(below) + jax.nn.logsumexp(log_types, -1)

  def mean(self) -> jax.Array:
    return self._below.mean()

  def variance(self) -> jax.Array:
    return self._below.variance()


def unlabelled(by_type: jax.Array, log_qy: jax.Array) -> jax.Array:
  """sum_y q(y) (J(y) - log q(y)), [B]; both [B, C]."""
  return jnp.sum(jnp.exp(log_qy) * (by_type - log_qy), -1)

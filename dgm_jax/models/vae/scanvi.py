"""scANVI: scVI with types of cells, some of which are known (Xu et al., 2021; the semi-supervised model M1+M2)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.factorised import sum_last
from dgm_jax.distributions.likelihoods import counts
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.models.base import require_at_least
from dgm_jax.models.vae import scvi
from dgm_jax.networks.normed_layers import NormedLayers


class Model(scvi.Model):
  """y ~ uniform, z_2 ~ N(0, I), z ~ N(m(z_2, y), s(z_2, y)^2), x ~ p(x | z, l) of scVI; q(z|x) q(y|z) q(z_2|z, y).

    J(z, y) = E_q[log p(z | z_2, y)] - KL(q(z_2 | z, y) || p(z_2)) - log C
    L(x, y) = E_q[log p(x|z) - log q(z|x) + J(z, y)]                              <= log p(x, y)
    U(x)    = E_q[log p(x|z) - log q(z|x) + sum_y q(y|z) (J(z, y) - log q(y|z))]  <= log p(x)

  Training maximises L(x, y) + alpha log q(y|z) where the type is known, and U(x) elsewhere, with one draw of z and of
  each z_2; a latent library adds minus its KL.  batch["y"] holds types 0 .. C - 1, and -1 where it is not known.

  Attributes, in addition to those of scvi.Model, of which num_labels is C:
    alpha: weight of the classifier's log-likelihood, 50 in scvi-tools.
  """

  alpha: float = 50.0

  def setup(self):
    super().setup()
    require_at_least(0, alpha=self.alpha)
    errors.require(
      self.num_labels >= 2, f"scANVI needs cells of two types or more, and the data have {self.num_labels}"
    )
    self.classifier = NormedLayers((self.hidden,), self.dropout)
    self.classes = nn.Dense(self.num_labels)
    self.upper_encoder = scvi.Encoder(self.latent_dim, (self.hidden,), self.dropout)
    self.upper_decoder = scvi.Encoder(self.latent_dim, (self.hidden,), 0.0)

  def log_qy_z(self, z: jax.Array, keys: jax.Array | None = None) -> jax.Array:
    """log q(y|z), [B, C]; z [B, L]."""
    return jax.nn.log_softmax(self.classes(self.classifier(z, z[:, :0], keys)))

  def by_type(self, key: jax.Array, z: jax.Array, keys: jax.Array | None = None) -> jax.Array:
    """An unbiased estimate of J(z, y) for every type, [B, C]; z [B, L]."""
    rows, classes = z.shape[0], self.num_labels
    each = lambda a: jnp.repeat(a, classes, 0)  # in which the type varies fastest
    y = jax.nn.one_hot(jnp.tile(jnp.arange(classes), rows), classes)
    keys = None if keys is None else each(keys)
    q = diagonal_normal(self.upper_encoder(each(z), y, keys))
    upper = q.sample(seed=key)
    log_pz = diagonal_normal(self.upper_decoder(upper, y, keys)).log_prob(each(z))
    found = log_pz - q.kl_divergence(standard_normal(self.latent_dim)) - math.log(classes)
    return found.reshape(rows, classes)

  def terms(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(log p(x|z) - log q(z|x) - KL(library) [B], J(z, y) [B, C], log q(y|z) [B, C]) at one draw of z ~ q(z|x)."""
    key_z, key_upper = jax.random.split(key)
    q = self.infer(batch)
    drawn, log_q = q.sample_and_log_prob(seed=key_z)
    x = self._x(batch)
    factorials = batch["log_factorials"] if "log_factorials" in batch else counts.small_log_factorials(x)
    below = sum_last(self.px_z(batch, drawn).without_factorial(x)) - factorials - log_q
    if self.library == "latent":
      units = lambda p: diagonal_normal(jnp.stack([p.mean()[:, -1], 0.5 * jnp.log(p.variance()[:, -1])], -1))
      below += units(self.log_prior(batch)).log_prob(drawn[:, -1:])
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
    """{elbo: U(x), nats; where batch has y, accuracy: whether argmax q(y|z) at E[z|x] is y: [B]}."""
    below, by_type, log_qy_z = self.terms(key, batch)
    values = {"elbo": below + unlabelled(by_type, log_qy_z)}
    if "y" in batch:
      values["accuracy"] = (jnp.argmax(self.log_types(batch), -1) == batch["y"]).astype(jnp.float32)
    return values

  def log_types(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log q(y|z) at z = E_q[z|x], [B, C]."""
    return self.log_qy_z(self.infer(batch).mean()[:, : self.latent_dim])

  def _forward(self, key: jax.Array, batch: dict[str, jax.Array]) -> None:
    self.terms(key, batch)

  def _types_and_latents(self, key: jax.Array, n: int) -> jax.Array:
    """z ~ p(z), [n, L]."""
    key_y, key_upper, key_z = jax.random.split(key, 3)
    y = jax.nn.one_hot(jax.random.randint(key_y, (n,), 0, self.num_labels), self.num_labels)
    upper = jax.random.normal(key_upper, (n, self.latent_dim))
    return diagonal_normal(self.upper_decoder(upper, y, None)).sample(seed=key_z)

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x), [n, G]; with `mean`, E[x|z]; libraries as in scvi.Model.simulate."""
    key_given, key_z, key_l, key_x = jax.random.split(key, 4)
    batch, z = self.conditions(key_given, n), self._types_and_latents(key_z, n)
    if self.library == "latent":
      z = jnp.concatenate([z, self.log_prior(batch).sample(seed=key_l)[:, -1:]], -1)
    p = self.px_z(batch, z)
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]) -> Any:
    """Uses every parameter, for `init`."""
    return self.bound(jax.random.key(0), batch)


def unlabelled(by_type: jax.Array, log_qy: jax.Array) -> jax.Array:
  """sum_y q(y) (J(y) - log q(y)), [B]; both [B, C]."""
  return jnp.sum(jnp.exp(log_qy) * (by_type - log_qy), -1)

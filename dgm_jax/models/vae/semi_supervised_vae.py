"""Semi-supervised VAE, model M2 (Kingma, Rezende, Mohamed & Welling, 2014)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.models.base import flat, require_at_least
from dgm_jax.models.vae.base import DecoderModel


class Model(DecoderModel):
  """p(x, y, z) = 1/C N(z; 0, I) p(x | y, z),   q(y, z | x) = q(y|x) N(z; mu(x, y), diag sigma(x, y)^2).

    L(x, y) = E_q(z|x,y) log p(x|y,z) - log C - KL(q(z|x,y) || p(z))       <= log p(x, y)
    U(x)    = sum_y q(y|x) (L(x, y) - log q(y|x))                           <= log p(x)

  Training maximises L(x, y) + alpha log q(y|x) where the class is known, and U(x) elsewhere; the sum over classes is
  exact, and the expectation uses one draw of z for each class.  The networks have softplus units.

  batch["y"] holds classes 0..C-1, and -1 for an unlabelled example; without batch["y"] all examples are unlabelled.

  Attributes, in addition to those of base.DecoderModel:
    num_classes: C.
    latent_dim: L, the dimensions of z.
    hidden: widths of the hidden layers of the two encoders; the decoder's are the same, reversed.
    alpha: weight of the classifier's log-likelihood, for each labelled example.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
  """

  num_classes: int = 10
  latent_dim: int = 50
  hidden: Sequence[int] = (500,)
  alpha: float = 1.0
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    require_at_least(2, num_classes=self.num_classes)
    require_at_least(1, latent_dim=self.latent_dim, hidden=self.hidden)
    require_at_least(0, alpha=self.alpha)
    self.px_yz = self._make_likelihood()
    self.classifier = self.mlp((*self.hidden, self.num_classes), nn.softplus)
    self.encoder = self.mlp((*self.hidden, 2 * self.latent_dim), nn.softplus)
    self.decoder = self._make_decoder(self.px_yz, self.hidden, nn.softplus)

  def _with_class(self, a: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.concatenate([a, jax.nn.one_hot(y, self.num_classes)], -1)

  def log_qy_x(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log q(y|x), [B, C]."""
    return jax.nn.log_softmax(self.classifier(self.px_yz.features(flat(batch)[0])))

  def infer(self, batch: dict[str, jax.Array], y: jax.Array) -> distrax.Distribution:
    """q(z|x, y), batch [B], event [L]; y int [B]."""
    return diagonal_normal(self.encoder(self._with_class(self.px_yz.features(flat(batch)[0]), y)))

  def decode(self, y: jax.Array, z: jax.Array) -> distrax.Distribution:
    """p(x|y, z), batch [B], event [D], flat; y int [B], z [B, L]."""
    return self.px_yz(self.decoder(self._with_class(z, y)))

  def labelled_bounds(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """An unbiased estimate of L(x, y) for every class, [B, C], nats."""
    x, _ = flat(batch)
    size, classes = x.shape[0], self.num_classes
    y = jnp.tile(jnp.arange(classes), size)  # a batch of B C pairs, in which the class varies fastest
    repeated = {"x": jnp.repeat(x, classes, 0)}
    q = self.infer(repeated, y)
    z = q.sample(seed=key)
    log_px_yz = self.decode(y, z).log_prob(repeated["x"])
    bounds = log_px_yz - math.log(classes) - q.kl_divergence(standard_normal(self.latent_dim))
    return bounds.reshape(size, classes)

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the objective [B], {elbo: U(x), labelled, labelled_right: whether argmax q(y|x) is then y: [B]})."""
    log_qy_x, bounds = self.log_qy_x(batch), self.labelled_bounds(key, batch)
    elbo = _unlabelled_bound(log_qy_x, bounds)
    y = batch.get("y", jnp.full(elbo.shape, -1))
    labelled = (y >= 0).astype(elbo.dtype)
    pick = lambda a: jnp.take_along_axis(a, jnp.maximum(y, 0)[:, None], -1)[:, 0]
    objective = jnp.where(labelled > 0, pick(bounds) + self.alpha * pick(log_qy_x), elbo)
    right = labelled * (jnp.argmax(log_qy_x, -1) == y)  # mean(right) / mean(labelled) is the accuracy
    return objective, {"elbo": elbo, "labelled": labelled, "labelled_right": right}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """{elbo: U(x), nats; where batch has y, accuracy: whether argmax q(y|x) is y: [B]}."""
    log_qy_x = self.log_qy_x(batch)
    values = {"elbo": _unlabelled_bound(log_qy_x, self.labelled_bounds(key, batch))}
    if "y" in batch:
      values["accuracy"] = (jnp.argmax(log_qy_x, -1) == batch["y"]).astype(jnp.float32)
    return values

  def generate(self, key: jax.Array, n: int, mean: bool = False, y: jax.Array | None = None) -> jax.Array:
    """x ~ p(x), or p(x|y) for y int [n], [n, *data_shape]; with `mean`, E[x|y,z]."""
    key_y, key_z, key_x = jax.random.split(key, 3)
    y = jax.random.randint(key_y, (n,), 0, self.num_classes) if y is None else y
    p = self.decode(y, jax.random.normal(key_z, (n, self.latent_dim)))
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x|y,z] at the most likely class and z ~ q(z|x,y), [B, *data_shape]."""
    y = jnp.argmax(self.log_qy_x(batch), -1)
    return self.decode(y, self.infer(batch, y).sample(seed=key)).mean().reshape(-1, *self.data_shape)

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    return self.bound(jax.random.key(0), batch)


def _unlabelled_bound(log_qy_x: jax.Array, bounds: jax.Array) -> jax.Array:
  """U(x) [B] from log q(y|x) and L(x, y), [B, C]."""
  return jnp.sum(jnp.exp(log_qy_x) * (bounds - log_qy_x), -1)

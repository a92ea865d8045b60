"""Conditional VAE (Sohn, Lee & Yan, 2015; Kingma et al., 2014)."""

from collections.abc import Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions import posteriors
from dgm_jax.distributions.normals import diagonal_normal, standard_normal
from dgm_jax.models.base import flat, require_at_least, require_one_of
from dgm_jax.models.vae.base import DecoderModel

PRIORS = ("standard_normal", "conditional")


class Model(DecoderModel):
  """p(x, z | c) = p(z|c) p(x | z, c),   q(z | x, c): inference and bounds, on log p(x|c), are conditional on c.

  c = batch["context"], [B, C], is a class as a one-hot vector (the transform `condition`).  All networks are multilayer
  perceptrons with tanh units, and c is concatenated to their other input.

  Attributes, in addition to those of base.DecoderModel:
    num_classes: C.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
    posterior: q, a name of posteriors.POSTERIORS, and its options.
    prior: p(z|c): "standard_normal", or "conditional", a diagonal normal whose parameters are linear in c.
  """

  num_classes: int = 10
  latent_dim: int = 50
  hidden: Sequence[int] = (200, 200)
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()
  posterior: str = "diagonal"
  posterior_args: Mapping[str, Any] = FrozenDict()
  prior: str = "standard_normal"

  def setup(self):
    require_at_least(1, num_classes=self.num_classes, latent_dim=self.latent_dim, hidden=self.hidden)
    require_one_of(PRIORS, prior=self.prior)
    self.px_z = self._make_likelihood()
    self.qz_x = posteriors.make(self.posterior, self.latent_dim, **self.posterior_args)
    self.encoder = self.mlp((*self.hidden, self.qz_x.num_outputs))
    self.decoder = self._make_decoder(self.px_z, self.hidden)
    self.prior_net = nn.Dense(2 * self.latent_dim) if self.prior == "conditional" else None

  def _context(self, batch: dict[str, jax.Array]) -> jax.Array:
    context = batch.get("context")
    errors.require(
      context is not None,
      "a conditional VAE needs batch['context'], which the transform 'condition' makes from the labels",
    )
    errors.require(
      context.shape[-1] == self.num_classes,
      f"num_classes = {self.num_classes}, but the context of the data has {context.shape[-1]} entries",
    )
    return context

  def _prior(self, context: jax.Array) -> distrax.Distribution:
    """p(z|c), event [L]; c [..., C]."""
    return standard_normal(self.latent_dim) if self.prior_net is None else diagonal_normal(self.prior_net(context))

  def infer(self, batch: dict[str, jax.Array]) -> distrax.Distribution:
    """q(z|x, c), batch [B], event [L]."""
    x = self.px_z.features(flat(batch)[0])
    return self.qz_x(self.encoder(jnp.concatenate([x, self._context(batch)], -1)))

  def decode(self, z: jax.Array, context: jax.Array) -> distrax.Distribution:
    """p(x|z, c), batch [B], event [D], flat; z [B, L], c [B, C]."""
    return self.px_z(self.decoder(jnp.concatenate([z, context], -1)))

  def log_joint(self, batch: dict[str, jax.Array], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(log p(x|z,c) [B], log p(z|c) [B]), nats; z [B, L]."""
    context = self._context(batch)
    return self.decode(z, context).log_prob(flat(batch)[0]), self._prior(context).log_prob(z)

  def simulate(
    self, key: jax.Array, n: int, context: jax.Array | None = None
  ) -> tuple[dict[str, jax.Array], jax.Array]:
    """({x [n, *data_shape], context [n, C]}, z [n, L]): a joint draw, of uniform classes without `context`."""
    key_draw, key_x = jax.random.split(key)
    context, z = self._draw(key_draw, n, context)
    x = self.decode(z, context).sample(seed=key_x).reshape(n, *self.data_shape)
    return {"x": x, "context": context}, z

  def _draw(self, key: jax.Array, n: int, context: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """(c [n, C], z ~ p(z|c) [n, L])."""
    key_c, key_z = jax.random.split(key)
    if context is None:
      context = jax.nn.one_hot(jax.random.randint(key_c, (n,), 0, self.num_classes), self.num_classes)
    shape = (n,) if self.prior_net is None else ()
    return context, self._prior(context).sample(seed=key_z, sample_shape=shape)

  def generate(self, key: jax.Array, n: int, mean: bool = False, context: jax.Array | None = None) -> jax.Array:
    """x ~ p(x|c), [n, *data_shape]; with `mean`, E[x|z,c].  Without `context` [n, C] classes are uniform."""
    if not mean:
      return self.simulate(key, n, context)[0]["x"]
    context, z = self._draw(jax.random.split(key)[0], n, context)
    return self.decode(z, context).mean().reshape(n, *self.data_shape)

  def reconstruct(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """E[x|z,c], [B, *data_shape]; without c [B, C], E[x|z], the mean over p(c|z) under a uniform p(c)."""
    if context is not None:
      return self.decode(z, context).mean().reshape(-1, *self.data_shape)
    classes, size = jnp.eye(self.num_classes), z.shape[0]
    log_pz_c = jnp.stack([self._prior(jnp.tile(c, (size, 1))).log_prob(z) for c in classes])  # [C, B]
    means = jnp.stack([self.decode(z, jnp.tile(c, (size, 1))).mean() for c in classes])  # [C, B, D]
    mean = jnp.einsum("cb,cbd->bd", jax.nn.softmax(log_pz_c, 0), means)
    return mean.reshape(-1, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x|z,c] at z ~ q(z|x,c), [B, *data_shape]."""
    z, _ = self.infer(batch).sample_and_log_prob(seed=key)
    return self.reconstruct(z, self._context(batch))

  def __call__(self, batch: dict[str, jax.Array]):
    """Uses every parameter, for `init`."""
    return self.log_joint(batch, self.infer(batch).sample(seed=jax.random.key(0)))

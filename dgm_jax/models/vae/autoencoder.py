"""Autoencoder: a deterministic code of few dimensions, and a decoder that reconstructs x from it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.models.base import flat, require_at_least
from dgm_jax.models.vae.base import DecoderModel


class Model(DecoderModel):
  """max sum_n log p(x_n | z(x_n)),   z(x) = g(x) of L dimensions, p(x|z) = prod_d p(x_d; f_d(z)).

  f and g are multilayer perceptrons with ReLU units (Hinton & Salakhutdinov, 2006, with one hidden layer).  There is
  neither p(z) nor q(z|x), hence no log p(x) and no bound on it: the distortion is minimised and reported.

  Where a batch has a `mask`, the distortion covers the observed entries only, and the encoder sees 0 for the others.

  Attributes, in addition to those of base.DecoderModel:
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder's are the same, reversed.
    likelihood: p(x_d | .), a name of families.FAMILIES, and its options.
  """

  takes_mask: ClassVar[bool] = True

  latent_dim: int = 2
  hidden: Sequence[int] = (200,)
  likelihood: str = "bernoulli"
  likelihood_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    require_at_least(1, latent_dim=self.latent_dim, hidden=self.hidden)
    self.px_z = self._make_likelihood()
    self.encoder = self.mlp((*self.hidden, self.latent_dim), nn.relu)
    self.decoder = self._make_decoder(self.px_z, self.hidden, nn.relu)

  def encode(self, batch: dict[str, jax.Array]) -> jax.Array:
    """z(x), [B, L]."""
    return self.encoder(self.px_z.features(*flat(batch)))

  def decode(self, z: jax.Array) -> Factorised:
    """p(x|z), batch [B], event [D], flat; z [B, L]."""
    return self.px_z(self.decoder(z))

  def log_px_z(self, batch: dict[str, jax.Array]) -> jax.Array:
    """log p(x | z(x)) of the observed entries, nats, [B]."""
    return self.decode(self.encode(batch)).log_prob(*flat(batch))

  def bound(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x | z(x)) [B], {"distortion": its negative}); deterministic."""
    del key
    log_px_z = self.log_px_z(batch)
    return log_px_z, {"distortion": -log_px_z}

  def evaluate(self, key: jax.Array, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """`distortion`, -log p(x | z(x)), nats, [B]; no bound on log p(x)."""
    del key
    return {"distortion": -self.log_px_z(batch)}

  def generate(self, key: jax.Array, n: int, mean: bool = False) -> jax.Array:
    """x ~ p(x|z) at z ~ N(0, I), [n, *data_shape]; with `mean`, E[x|z].

    No density of codes is learned, so the draws need not resemble the data.
    """
    key_z, key_x = jax.random.split(key)
    p = self.decode(standard_normal(self.latent_dim).sample(seed=key_z, sample_shape=(n,)))
    return (p.mean() if mean else p.sample(seed=key_x)).reshape(n, *self.data_shape)

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """E[x|z], [B, *data_shape]."""
    return self.decode(z).mean().reshape(-1, *self.data_shape)

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """E[x | z(x)], [B, *data_shape]."""
    del key
    return self.reconstruct(self.encode(batch))

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, for `init`."""
    return self.log_px_z(batch)

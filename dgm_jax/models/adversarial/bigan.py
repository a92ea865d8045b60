"""Bidirectional GAN (Donahue, Kraehenbuehl & Darrell, 2017; ALI, Dumoulin et al., 2017): a generator and an encoder."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.models.adversarial.base import AdversarialModel
from dgm_jax.networks import players


class Both(nn.Module):
  """The generator's network and the encoder's, which are one player.

  Attributes:
    decoder_make, encoder_make: () -> network.
  """

  decoder_make: Any
  encoder_make: Any

  def setup(self):
    self.decoder, self.encoder = self.decoder_make(), self.encoder_make()


class Model(AdversarialModel, kw_only=True):
  """Pairs (G(z), z) and (x, E(x)): a discriminator D tells them apart.

  At the optimum G and E are inverses of each other on their supports (Donahue et al., 2017, theorem 2).  E(x) is a
  point, not a distribution; it need not lie where p(z) has its mass.

  Attributes, in addition to those of base.AdversarialModel:
    generator_net, generator_args: a name of players.NETS, "mlp" or "maxout", and its options, see players.Perceptron.
    encoder_net, encoder_args, discriminator_net, discriminator_args: the same of the encoder and the discriminator.
  """

  generator_net: str = "mlp"
  generator_args: Mapping[str, Any] = FrozenDict()
  encoder_net: str = "mlp"
  encoder_args: Mapping[str, Any] = FrozenDict()
  discriminator_net: str = "mlp"
  discriminator_args: Mapping[str, Any] = FrozenDict()

  def setup(self):
    self.check()
    bias = {"output_bias": self.first_output()}
    self.generator = Both(
      lambda: players.make("generator", self.generator_net, self.dim, self.generator_args, **bias),
      lambda: players.make("encoder", self.encoder_net, self.latent_dim, self.encoder_args),
    )
    self.discriminator = players.make("discriminator", self.discriminator_net, 1, self.discriminator_args)

  def generate(self, z: jax.Array, y: None = None, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """(G(z) [B, *data_shape], z [B, L])."""
    del y
    return self.shaped(self.generator.decoder(z, train)), z

  def observed(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """(x, E(x) [B, L])."""
    return x, self.generator.encoder(x.reshape(x.shape[0], -1), train)

  def discriminate(self, pair: tuple[jax.Array, jax.Array], y: None = None, train: bool = False) -> jax.Array:
    """Logits [B] of pairs (x, z), or of several side by side."""
    del y
    x, z = pair
    return self.discriminator(jnp.concatenate([x.reshape(x.shape[0], -1), z], -1), train)[:, 0]

  def encode(self, batch: dict[str, jax.Array]) -> jax.Array:
    """E(x), [B, L]."""
    return self.observed(batch["x"])[1]

  def features(self, batch: dict[str, jax.Array]) -> jax.Array:
    """The last hidden layer of the encoder, [B, H]."""
    return self.generator.encoder.features(batch["x"].reshape(batch["x"].shape[0], -1), False)

  def reconstruct(self, z: jax.Array) -> jax.Array:
    """G(z), [B, *data_shape]."""
    return self.generate(z)[0]

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """G(E(x)), [B, *data_shape]."""
    del key
    return self.reconstruct(self.encode(batch))

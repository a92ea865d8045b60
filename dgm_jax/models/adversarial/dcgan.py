"""Deep convolutional GAN (DCGAN; Radford, Metz & Chintala, 2016), also with spectral normalisation or classes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from dgm_jax.core import errors, options
from dgm_jax.models.adversarial.images import ImageModel
from dgm_jax.networks import dcgan

_SET = ("image_shape", "num_classes", "dtype", "parent", "name")


class Model(ImageModel, kw_only=True):
  """x = (tanh(G(z)) + 1) / 2, z ~ p(z), for images of any size; a discriminator D tells x from the data.

  With classes, the generator also sees the class as a one-hot vector, and the discriminator adds e_y'h of its last
  layer's inputs h.

  Attributes, in addition to those of images.ImageModel:
    generator_args, discriminator_args: options of networks.dcgan.Generator and Discriminator.
  """

  latent_dim: int = 100
  generator_args: Mapping[str, Any] = FrozenDict()
  discriminator_args: Mapping[str, Any] = FrozenDict()

  def check(self) -> None:
    """Raises UserError if an option is invalid."""
    super().check()
    errors.require(not self.remat, "remat = True; these networks store their activations: leave it at False.")

  def setup(self):
    self.check()
    dtype = self.compute["dtype"]
    options.check("generator_args of 'dcgan'", dcgan.Generator, self.generator_args, _SET)
    options.check("discriminator_args of 'dcgan'", dcgan.Discriminator, self.discriminator_args, _SET)
    self.generator = dcgan.Generator(tuple(self.data_shape), dtype=dtype, **self.generator_args)
    self.discriminator = dcgan.Discriminator(num_classes=self.num_classes or 0, dtype=dtype, **self.discriminator_args)

  def generate(self, z: jax.Array, y: jax.Array | None = None, train: bool = False) -> jax.Array:
    """x, [B, H, W, C]; z [B, L], y None, int [B], or weights of classes [B, C]."""
    if y is not None:
      z = jnp.concatenate([z, y if y.ndim == 2 else jax.nn.one_hot(y, self.num_classes)], -1)
    return self.image(self.generator(z, train))

  def discriminate(self, x: jax.Array, y: jax.Array | None = None, train: bool = False) -> jax.Array:
    """Logits [B] of x [B, H, W, C], or of several side by side along the channels."""
    return self.discriminator(self.seen(x), y, train)

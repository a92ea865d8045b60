"""Residual blocks of two players of images, and the initialisers of their kernels (SN-GAN, BigGAN, BigGAN-deep).

Blocks of the generator are norm, rectifier, convolution, ...; a `norm` is made by () -> a module (x, condition, train).
A bias that batch normalisation removes again is kept, so that numbers of parameters equal the published ones, but it
does not train: its gradient is 0, and Adam would divide the rounding of it by itself.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.resampled_convolutions import conv, doubled, halved

INITIALISERS: dict[str, Callable[[float], Callable]] = {
  "orthogonal": lambda scale: nn.initializers.orthogonal(),
  "normal": nn.initializers.normal,
  "glorot": lambda scale: nn.initializers.glorot_uniform(),
}


def initialiser(name: str, scale: float) -> Callable:
  """That of the kernels; `scale` is the standard deviation of "normal".  Raises UserError for an unknown name."""
  errors.require(name in INITIALISERS, f"initial = {name!r}; it must be one of {', '.join(INITIALISERS)}")
  return INITIALISERS[name](scale)


class GeneratorBlock(nn.Module):
  """x' + g(x), both doubled in height and width: g is twice norm, rectifier, 3 x 3 convolution; x' a 1 x 1 convolution.

  Attributes:
    features: channels of the output.
    norm: see the module's docstring.
    spectral, kernel_init, dtype: of the convolutions.
    up: whether the image is doubled; then, or where channels change, there is the 1 x 1 convolution.
    trains_bias: whether the last biases matter, which later normalisation removes unless attention comes in between.
  """

  features: int
  norm: Callable
  spectral: bool
  kernel_init: Callable
  dtype: Any = None
  up: bool = True
  trains_bias: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, condition: Any, train: bool) -> jax.Array:
    make = lambda size, resample, name, trains=self.trains_bias: conv(
      self.features, size, resample, self.spectral, self.kernel_init, self.dtype, trains_bias=trains, name=name
    )
    resample = "up" if self.up else "none"
    h = nn.relu(self.norm(name="norm1")(x, condition, train))
    h = make(3, resample, "conv1", False)(h)
    h = nn.relu(self.norm(name="norm2")(h, condition, train))
    h = make(3, "none", "conv2")(h)
    if self.up or x.shape[-1] != self.features:
      x = make(1, resample, "shortcut")(x)
    return x + h


class DiscriminatorBlock(nn.Module):
  """x' + g(x), both halved in height and width: g is twice rectifier, 3 x 3 convolution; x' a 1 x 1 convolution.

  Attributes:
    features: channels of the output, and of the layer between.
    spectral, kernel_init, dtype: of the convolutions.
    down: whether the image is halved; then, or where channels change, there is the 1 x 1 convolution.
    first: whether x is the image: then it is not rectified.
  """

  features: int
  spectral: bool
  kernel_init: Callable
  dtype: Any = None
  down: bool = True
  first: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    make = lambda size, resample, name: conv(
      self.features, size, resample, self.spectral, self.kernel_init, self.dtype, name=name
    )
    resample = "down" if self.down else "none"
    h = make(3, "none", "conv1")(x if self.first else nn.relu(x))
    h = make(3, resample, "conv2")(nn.relu(h))
    if self.down or x.shape[-1] != self.features:
      x = make(1, resample, "shortcut")(x)
    return x + h


class DeepGeneratorBlock(GeneratorBlock):
  """The block of BigGAN-deep: 1 x 1, two 3 x 3 and 1 x 1 convolutions, a quarter of the channels inside.

  The shortcut drops channels, and doubles the image.  Attributes as of GeneratorBlock.
  """

  @nn.compact
  def __call__(self, x: jax.Array, condition: Any, train: bool) -> jax.Array:
    inner = x.shape[-1] // 4
    h = x
    for i, (width, size) in enumerate(((inner, 1), (inner, 3), (inner, 3), (self.features, 1)), 1):
      h = nn.relu(self.norm(name=f"norm{i}")(h, condition, train))
      resample, trains = "up" if self.up and i == 2 else "none", self.trains_bias and i == 4
      layer = conv(
        width, size, resample, self.spectral, self.kernel_init, self.dtype, trains_bias=trains, name=f"conv{i}"
      )
      h = layer(h)
    x = x[..., : self.features]
    return (doubled(x) if self.up else x) + h


class DeepDiscriminatorBlock(nn.Module):
  """The block of BigGAN-deep: 1 x 1, two 3 x 3 and 1 x 1 convolutions, a quarter of the channels inside.

  The shortcut halves the image, and a 1 x 1 convolution makes the channels that are missing.  Attributes as of
  DiscriminatorBlock.
  """

  features: int
  spectral: bool
  kernel_init: Callable
  dtype: Any = None
  down: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    inner = self.features // 4
    make = lambda width, size, name: conv(width, size, "none", self.spectral, self.kernel_init, self.dtype, name=name)
    h = make(inner, 1, "conv1")(nn.relu(x))
    h = make(inner, 3, "conv2")(nn.relu(h))
    h = nn.relu(make(inner, 3, "conv3")(nn.relu(h)))
    h = make(self.features, 1, "conv4")(halved(h) if self.down else h)
    x = halved(x) if self.down else x
    if x.shape[-1] != self.features:
      x = jnp.concatenate([x, make(self.features - x.shape[-1], 1, "shortcut")(x)], -1)
    return x + h

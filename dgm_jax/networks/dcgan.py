"""Convolutional networks of two players of images (DCGAN; Radford, Metz & Chintala, 2016).

Heights and widths are those of convolutions of stride 2, for images of any size: 28, 14, 7, 4.  Weights start from
N(0, 0.02^2).  There is no bias before batch normalisation, which would remove it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.batch_norms import BatchNorm
from dgm_jax.networks.convolutions import Conv, ConvTranspose, conv_geometry
from dgm_jax.networks.spectral import Embed, SpectralConv, SpectralDense, SpectralEmbed

NORMS = ("batch", "none")
NORMS_OF_DISCRIMINATORS = ("batch", "spectral", "none")


def sizes(image: Sequence[int], layers: int) -> list[tuple[int, int]]:
  """(H, W) of the image and after each of so many convolutions of stride 2."""
  found = [(int(image[0]), int(image[1]))]
  for _ in range(layers):
    height, width = (conv_geometry(n, 1, 2, "SAME")[0] for n in found[-1])
    found.append((height, width))
  return found


class Generator(nn.Module):
  """z [B, I] -> a [B, H, W, C]: a linear map to the smallest image, then transposed convolutions of stride 2.

  Attributes:
    image_shape: (H, W, C).
    channels: of the smallest image, and after each transposed convolution but the last, which makes the image.
    kernel_size: k.
    last_kernel_size: 0, or k of one more convolution of stride 1, which then makes the image: `channels` has the
      channels of every image before.
    norm: "batch" or "none", of all layers but the last.
    initial_scale: standard deviation of the initial weights.
    dtype: of products and activations; None for float32.
  """

  image_shape: Sequence[int]
  channels: Sequence[int] = (256, 128, 64)
  kernel_size: int = 4
  last_kernel_size: int = 0
  norm: str = "batch"
  initial_scale: float = 0.02
  dtype: Any = None

  @nn.compact
  def __call__(self, z: jax.Array, train: bool) -> jax.Array:
    errors.require(self.norm in NORMS, f"generator_args.norm = {self.norm!r}; it must be one of {', '.join(NORMS)}")
    require_positive("generator_args", self.channels, self.kernel_size)
    init, batch = nn.initializers.normal(self.initial_scale), self.norm == "batch"
    kinds = {"kernel_init": init, "dtype": self.dtype}

    def activated(h, name):
      return nn.relu(BatchNorm(name=f"norm_{name}")(h, train) if batch else h)

    widths = [*self.channels[1:], *([] if self.last_kernel_size else [self.image_shape[2]])]
    *before, smallest = sizes(self.image_shape, len(widths))
    h = nn.Dense(
      smallest[0] * smallest[1] * self.channels[0], use_bias=not batch, kernel_init=init, dtype=self.dtype, name="first"
    )(z)
    h = activated(h.reshape(-1, *smallest, self.channels[0]), "first")
    for i, (width, size) in enumerate(zip(widths, reversed(before), strict=True)):
      last = i == len(widths) - 1 and not self.last_kernel_size
      layer = ConvTranspose(
        width, self.kernel_size, 2, output_size=size, use_bias=last or not batch, name=f"layer{i}", **kinds
      )
      h = layer(h) if last else activated(layer(h), f"layer{i}")
    if self.last_kernel_size:
      h = Conv(self.image_shape[2], self.last_kernel_size, name="last", **kinds)(h)
    return h.astype(jnp.float32)


class Discriminator(nn.Module):
  """x [B, H, W, C] in [-1, 1] -> logits [B]: convolutions of stride 2, then a linear map of all their outputs h.

  With classes, e_y'h is added, e_y a row of a table (Miyato & Koyama, 2018).

  Attributes:
    channels: after each convolution.
    kernel_size: k.
    norm: "batch" (of all layers but the first and the last), "spectral" (of all layers) or "none".
    norm_first: whether the first layer has batch normalisation, too.
    slope: of the leaky rectifiers.
    num_classes: C; 0 without labels.
    initial_scale, dtype: see Generator.
  """

  channels: Sequence[int] = (64, 128, 256)
  kernel_size: int = 4
  norm: str = "batch"
  norm_first: bool = False
  slope: float = 0.2
  num_classes: int = 0
  initial_scale: float = 0.02
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array | None, train: bool) -> jax.Array:
    choices = ", ".join(NORMS_OF_DISCRIMINATORS)
    errors.require(
      self.norm in NORMS_OF_DISCRIMINATORS, f"discriminator_args.norm = {self.norm!r}; it must be one of {choices}"
    )
    errors.require(
      not self.norm_first or self.norm == "batch",
      f"discriminator_args.norm_first = True is for norm = 'batch'; it is {self.norm!r}.",
    )
    require_positive("discriminator_args", self.channels, self.kernel_size)
    init, spectral = nn.initializers.normal(self.initial_scale), self.norm == "spectral"
    kind: Callable = SpectralConv if spectral else Conv
    h = x if self.dtype is None else x.astype(self.dtype)
    for i, width in enumerate(self.channels):
      batch = self.norm == "batch" and (i > 0 or self.norm_first)
      h = kind(
        width, self.kernel_size, 2, kernel_init=init, use_bias=not batch, dtype=self.dtype, name=f"layer{i}"
      )(h)  # fmt: skip
      h = BatchNorm(name=f"norm{i}")(h, train) if batch else h
      h = nn.leaky_relu(h, self.slope)
    h = h.reshape(h.shape[0], -1).astype(jnp.float32)
    dense, embed = (SpectralDense, SpectralEmbed) if spectral else (nn.Dense, Embed)
    logits = dense(1, kernel_init=init, name="last")(h)[:, 0]
    if not self.num_classes:
      return logits
    return logits + jnp.sum(embed(self.num_classes, h.shape[-1], embedding_init=init, name="classes")(y) * h, -1)


def require_positive(where: str, channels: Sequence[int], kernel_size: int) -> None:
  """Raises UserError unless there are channels, all of them and the kernel's size 1 or more."""
  errors.require(
    len(channels) >= 1 and min(channels) >= 1, f"{where}.channels = {tuple(channels)}; it takes widths of 1 or more."
  )
  errors.require(kernel_size >= 1, f"{where}.kernel_size = {kernel_size}; it must be 1 or more.")

"""U-Net of images (Ronneberger, Fischer & Brox, 2015), in the form of pix2pix (Isola et al., 2017)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.convolutions import Conv, ConvTranspose

NORMS = ("none", "batch")
_leaky = lambda x: nn.leaky_relu(x, 0.2)


def widened(channels: Sequence[int], width: float) -> list[int]:
  """The channels, times `width`; at least 1 each."""
  return [max(1, round(width * count)) for count in channels]


def normed(norm: str, train: bool, x: jax.Array, name: str) -> jax.Array:
  """Batch normalisation, or x; called within a compact module."""
  return nn.BatchNorm(use_running_average=not train, momentum=0.9, name=name)(x) if norm == "batch" else x


class UNet(nn.Module):
  """[B, H, W, I] -> [B, H, W, features], for any H and W that `divisor` divides.

  The first convolution keeps the size, every other halves it; as many transposed convolutions double it again, and the
  input of each level of the way down is joined to the output of the same size on the way up.  The parameters do not
  depend on the size of the image.

  Attributes:
    features: channels of the output.
    channels: of each level, before `width`.
    width: factor of all channels.
    kernel_size: of all convolutions but the last, whose size is 1.
    norm: "none" or "batch", of all convolutions but the first and the last.
    dropout: probability that a number is dropped in the inner half of the way up, where there is an RNG stream
      "dropout".
    gain: initial variance of the output over the mean square of its inputs.
  """

  features: int
  channels: Sequence[int] = (64, 128, 256, 512, 512)
  width: float = 1.0
  kernel_size: int = 4
  norm: str = "none"
  dropout: float = 0.0
  gain: float = 0.1

  @property
  def divisor(self) -> int:
    """2 for each level but the first."""
    return 2 ** (len(self.channels) - 1)

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False, embedding: jax.Array | None = None) -> jax.Array:
    """The image of an image.

    Args:
      x: [B, H, W, I].
      train: whether batch normalisation uses the moments of the batch.
      embedding: [B, E] or None, such as that of a time, or noise: a linear map of it is added to every level.
    """
    errors.require(
      x.shape[1] % self.divisor == x.shape[2] % self.divisor == 0,
      f"images of {x.shape[1]} x {x.shape[2]} pixels: {len(self.channels)} levels take sizes divisible by "
      f"{self.divisor}",
    )
    widths, batch = widened(self.channels, self.width), self.norm == "batch"

    def shifted(h, name):
      return h if embedding is None else h + nn.Dense(h.shape[-1], name=name)(embedding)[:, None, None]

    levels, h = [], x
    for i, count in enumerate(widths):
      h = Conv(count, self.kernel_size, 2 if i else 1, use_bias=not (batch and i), name=f"down_{i}")(h)
      h = _leaky(shifted(normed(self.norm, train, h, f"norm_down_{i}") if i else h, f"embed_down_{i}"))
      levels.append(h)
    for i, skip in reversed(list(enumerate(levels[:-1]))):
      up = ConvTranspose(
        widths[i], self.kernel_size, 2, use_bias=not batch, output_size=skip.shape[1:3], name=f"up_{i}"
      )
      h = shifted(normed(self.norm, train, up(h), f"norm_up_{i}"), f"embed_up_{i}")
      if self.dropout and i >= len(levels) // 2:
        h = nn.Dropout(self.dropout)(h, deterministic=not self.has_rng("dropout"))
      h = jnp.concatenate([nn.relu(h), skip], -1)
    return Conv(self.features, 1, gain=self.gain, name="last")(h)


class PatchDiscriminator(nn.Module):
  """[B, H, W, I] -> logits [B, P], each of a patch of the image (pix2pix).

  Attributes:
    channels: of each convolution, before `width`; each has stride 2.
    width, kernel_size, norm: as in UNet; the first convolution is not normalised.
  """

  channels: Sequence[int] = (64, 128, 256)
  width: float = 1.0
  kernel_size: int = 4
  norm: str = "none"

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    for i, count in enumerate(widened(self.channels, self.width)):
      batch = self.norm == "batch" and i > 0
      x = Conv(count, self.kernel_size, 2, use_bias=not batch, name=f"conv_{i}")(x)
      x = _leaky(normed(self.norm, train, x, f"norm_{i}") if batch else x)
    return Conv(1, self.kernel_size, gain=1.0, name="last")(x).reshape(x.shape[0], -1)

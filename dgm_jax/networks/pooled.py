"""Convolutions whose channels are averaged over the image: features of images of any size."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.convolutions import Conv


class PooledConvolutions(nn.Module):
  """[B, H, W, C] -> [B, sum(channels)]: the mean over positions of every channel of every layer, after rectifiers.

  Attributes:
    channels: of each convolution; all but the first have stride 2.
    kernel_size: k.
  """

  channels: Sequence[int] = (32, 64, 128)
  kernel_size: int = 5

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    found = []
    for i, width in enumerate(self.channels):
      x = nn.relu(Conv(width, self.kernel_size, 2 if i else 1, use_bias=False)(x))
      found.append(x.mean((1, 2)))
    return jnp.concatenate(found, -1)

"""Convolutional encoder and decoder of images, plain or with residual blocks.

They take and return x flat, [B, H W C], as the likelihoods do; inside they use images [B, H, W, C].
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.convolutions import Conv, ConvTranspose, ResidualBlock, conv_geometry
from dgm_jax.networks.mlp import MLP
from dgm_jax.networks.remat import remat

ACTIVATIONS = {"relu": nn.relu, "elu": nn.elu, "silu": nn.silu, "softplus": nn.softplus, "tanh": nn.tanh}


def kernel_sizes(kernel_size: int | Sequence[int], number: int) -> tuple[int, ...]:
  """The kernel of each of `number` convolutions."""
  return (kernel_size,) * number if isinstance(kernel_size, int) else tuple(kernel_size)


_plain = lambda layers, h: layers[0](h)


_after = lambda act, layers, h: layers[0](act(h))


class ConvEncoder(nn.Module):
  """Convolutions, dense layers of widths `hidden`, a linear layer: [B, H W C] -> [B, num_outputs].

  Attributes:
    image_shape: (H, W, C).
    hidden: widths of the dense layers.
    num_outputs: width of the output.
    channels: output channels of each convolution; each has the stride.
    kernel_size: k; of plain convolutions also one for each.
    stride: s.
    padding: an int or "SAME", see convolutions.
    activation: a name of ACTIVATIONS, applied after every layer but the last.
    blocks: None for plain convolutions; else the number of residual blocks at each size, the first with the stride.
    dtype, remat: as in MLP.
    dropout: dropout probability of the dense layers, as in MLP.
  """

  image_shape: Sequence[int]
  hidden: Sequence[int]
  num_outputs: int
  channels: Sequence[int] = (32, 64, 64)
  kernel_size: int | Sequence[int] = 4
  stride: int = 2
  padding: int | str = "SAME"
  activation: str = "relu"
  blocks: int | None = None
  dtype: Any = None
  remat: bool = False
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    act, conv = ACTIVATIONS[self.activation], partial(Conv, dtype=self.dtype)

    keep = partial(remat, self.remat)
    h = x.reshape(x.shape[0], *self.image_shape)
    if self.blocks is not None:
      h = conv(self.channels[0], self.kernel_size, gain=1.0)(h)
    kernels = kernel_sizes(self.kernel_size, len(self.channels))
    for j, width in enumerate(self.channels):
      if self.blocks is None:
        layer = conv(width, kernels[j], self.stride, self.padding)
        h = keep(_plain if j == 0 else partial(_after, act), [layer], h)
        continue
      for i in range(self.blocks):
        block = ResidualBlock(width, self.kernel_size, self.stride if i == 0 else 1, act, dtype=self.dtype)
        h = keep(_plain, [block], h)
    compute = {"dtype": self.dtype, "remat": self.remat, "dropout": self.dropout}
    return MLP((*self.hidden, self.num_outputs), act, **compute)(act(h).reshape(h.shape[0], -1))


class ConvDecoder(nn.Module):
  """Dense layers of widths `hidden` and transposed convolutions: [B, L] -> [B, P H W C], P image-sized blocks.

  Its image sizes are those of a ConvEncoder with the same kernel, stride and padding, in reverse order.

  Attributes:
    image_shape: (H, W, C).
    hidden: widths of the dense layers.
    num_outputs: P H W C.
    output_bias: initialiser of the bias [P H W C], one per output.
    channels: input channels of each transposed convolution.
    kernel_size, stride, padding, activation, blocks: as in ConvEncoder; the last block of a size has the stride.
    linear_code: whether the last dense layer has no activation, as in Ha & Schmidhuber (2018).
    shared_bias: whether the output has a bias for each channel, not for each entry.
    dtype, remat: as in MLP.
  """

  image_shape: Sequence[int]
  hidden: Sequence[int]
  num_outputs: int
  output_bias: Callable
  channels: Sequence[int] = (64, 64, 32)
  kernel_size: int | Sequence[int] = 4
  stride: int = 2
  padding: int | str = "SAME"
  activation: str = "relu"
  blocks: int | None = None
  dtype: Any = None
  remat: bool = False
  linear_code: bool = False
  shared_bias: bool = False

  def _sizes(self) -> list[tuple[int, int]]:
    """(H, W) before the first and after every transposed convolution."""
    sizes = [tuple(self.image_shape[:2])]
    for kernel in kernel_sizes(self.kernel_size, len(self.channels))[::-1]:
      sizes.append(tuple(conv_geometry(n, kernel, self.stride, self.padding)[0] for n in sizes[-1]))
    return sizes[::-1]

  @nn.compact
  def __call__(self, z: jax.Array) -> jax.Array:
    act, (size, *sizes) = ACTIVATIONS[self.activation], self._sizes()
    num_maps = self.num_outputs // prod(self.image_shape[:2])  # P C
    keep, block = partial(remat, self.remat), partial(ResidualBlock, activation=act, dtype=self.dtype)
    mlp = MLP((*self.hidden, prod(size) * self.channels[0]), act, dtype=self.dtype, remat=self.remat)
    h = mlp(z).reshape(-1, *size, self.channels[0])
    kernels = kernel_sizes(self.kernel_size, len(self.channels))
    for i, (width, size) in enumerate(zip((*self.channels[1:], num_maps), sizes, strict=True)):
      last = i == len(sizes) - 1
      if self.blocks is None:
        start = {"gain": 1.0 if last else 2.0, "use_bias": not last, "output_size": size, "dtype": self.dtype}
        layer = ConvTranspose(width, kernels[i], self.stride, self.padding, **start)
        h = keep(_plain if i == 0 and self.linear_code else partial(_after, act), [layer], h)
        continue
      for _ in range(self.blocks - 1):
        h = keep(_plain, [block(h.shape[-1], self.kernel_size)], h)
      width = h.shape[-1] if last else width
      h = keep(_plain, [block(width, self.kernel_size, self.stride, output_size=size)], h)
    if self.blocks is not None:
      h = Conv(num_maps, self.kernel_size, gain=1.0, use_bias=False, dtype=self.dtype)(act(h))
    h = h.reshape(*h.shape[:3], -1, self.image_shape[2])  # [B, H, W, P, C]
    flat = jnp.moveaxis(h, 3, 1).reshape(h.shape[0], -1)
    flat = flat if self.dtype is None else flat.astype(jnp.float32)
    if not self.shared_bias:
      return flat + self.param("bias", self.output_bias, flat.shape[1:])
    blocks = (num_maps // self.image_shape[2], -1, self.image_shape[2])
    mean = lambda key: self.output_bias(key, flat.shape[1:]).reshape(blocks).mean(1)
    bias = self.param("bias", mean)  # [P, C]
    return flat + jnp.broadcast_to(bias[:, None], (blocks[0], prod(self.image_shape[:2]), blocks[2])).reshape(-1)

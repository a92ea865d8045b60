"""Convolutions of images that are doubled before, or halved after, at less than half of the cost.

Nearest neighbours doubled and then convolved with a 3 x 3 kernel are a transposed convolution of stride 2 whose 4 x 4
kernel has sums of the nine numbers; the mean over 2 x 2 pixels of a convolution is a convolution of stride 2 with such
a kernel.  Both are exact, also at the edges, and take 4 products for each pixel of the large image in place of 9.  With
a 1 x 1 kernel the small image is convolved.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import platforms
from dgm_jax.networks.convolutions import (
  Conv,
  conv_by_lax,
  conv_by_matmul,
  conv_transpose_by_lax,
  conv_transpose_by_matmul,
)
from dgm_jax.networks.spectral import SpectralConv

_UP = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))  # [4, 3], along one axis
_DOWN = tuple(tuple(v / 2 for v in row) for row in reversed(_UP))


def doubled(x: jax.Array) -> jax.Array:
  """[B, H, W, C] -> [B, 2 H, 2 W, C]: each pixel four times."""
  n, h, w, c = x.shape
  return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


def halved(x: jax.Array) -> jax.Array:
  """[B, 2 H, 2 W, C] -> [B, H, W, C]: means over 2 x 2 pixels."""
  n, h, w, c = x.shape
  return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def conv_of_doubled(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """The convolution (stride 1, "SAME") of doubled(x); kernel [k, k, I, O], k = 1 or 3."""
  by_matmul = platforms.is_cpu()
  if kernel.shape[0] == 1:
    return doubled((conv_by_matmul if by_matmul else conv_by_lax)(x, kernel, 1, "SAME"))
  up = jnp.asarray(_UP, kernel.dtype)
  kernel = jnp.einsum("as,bt,stio->abio", up, up, kernel, precision="highest")
  convolve = conv_transpose_by_matmul if by_matmul else conv_transpose_by_lax
  return convolve(x, kernel, 2, 1, (2 * x.shape[1], 2 * x.shape[2]))


def halved_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """halved(convolution of x (stride 1, "SAME")); kernel [k, k, I, O], k = 1 or 3, H and W even."""
  convolve = conv_by_matmul if platforms.is_cpu() else conv_by_lax
  if kernel.shape[0] == 1:
    return convolve(halved(x), kernel, 1, "SAME")
  down = jnp.asarray(_DOWN, kernel.dtype)
  kernel = jnp.einsum("as,bt,stio->abio", down, down, kernel, precision="highest")
  return convolve(x, kernel, 2, 1)


class _Resampled(Conv):
  """A convolution of stride 1 with a kernel of size 1 or 3, of the doubled image ("up"), or then halved ("down")."""

  resample: str = "none"

  def _convolve(self, x, kernel):
    if self.resample == "up":
      return conv_of_doubled(x, kernel)
    return halved_conv(x, kernel) if self.resample == "down" else super()._convolve(x, kernel)


class _SpectralResampled(_Resampled, SpectralConv):
  pass


def conv(
  features: int, kernel_size: int, resample: str, spectral: bool, init: Callable, dtype: Any = None, **more: Any
) -> nn.Module:
  """A convolution of a residual block.

  Args:
    features, kernel_size, dtype: see convolutions.Conv.
    resample: "none", "up": x is doubled before; "down": the result is halved.
    spectral: whether the kernel is divided by its spectral norm.
    init: initialiser of the kernel.
    **more: further attributes of Conv.
  """
  kind = _SpectralResampled if spectral else _Resampled
  return kind(features, kernel_size, kernel_init=init, dtype=dtype, resample=resample, **more)

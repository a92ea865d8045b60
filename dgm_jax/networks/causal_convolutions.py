"""Convolutions of images that see only what comes before a pixel, row by row.

An offset (dy, dx) is a tap: y[i, j] = sum_t x[i + dy_t, j + dx_t] kernel[t], zero outside of the image.  Only the taps
that count have weights, and only they are gathered.  The images are those of a view, see causal_views.py: a layer
serves whole images and, from a cache, one pixel at a time.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.causal_views import Offsets
from dgm_jax.networks.convolutions import add_bias


def rectangle(rows: range, columns: range) -> Offsets:
  """All offsets with dy in `rows` and dx in `columns`, row by row."""
  return tuple(itertools.product(rows, columns))


def before(kernel_size: int, centre: bool) -> Offsets:
  """The offsets of a k x k kernel before its centre, row by row, and the centre itself, the last, if asked."""
  r = kernel_size // 2
  return rectangle(range(-r, 0), range(-r, r + 1)) + rectangle(range(1), range(-r, int(centre)))


def above(kernel_size: int, own_row: bool) -> Offsets:
  """The offsets of a k x k kernel in the rows above its centre, and in its own row if asked."""
  r = kernel_size // 2
  return rectangle(range(-r, int(own_row)), range(-r, r + 1))


def left(kernel_size: int, centre: bool) -> Offsets:
  """The offsets of a 1 x k kernel on the left of its centre, and the centre itself, the last, if asked."""
  return rectangle(range(1), range(-(kernel_size // 2), int(centre)))


def degrees(width: int, channels: int, copies: int = 1) -> jax.Array:
  """The colour channel that each feature may depend on up to, [width]: equal numbers of features of each."""
  each = width // copies
  return jnp.tile(jnp.arange(each) * channels // each, copies)


class CausalConv(nn.Module):
  """A convolution over the taps of `offsets`; calls take x of a view, and the view, and give y of the view.

  With `channels` = C > 1, features belong to the colours of a pixel, in their order.  At the centre, which is then the
  last offset, a feature sees those of its own colour and of earlier ones, or, if `strict`, of earlier ones alone.

  Attributes:
    features: of the output.
    offsets: the taps.
    channels: C; 1 for no colours.
    strict: whether the input is the image itself (mask A of the paper) instead of features (mask B).
    copies: the number of parts of the output with all colours in each.
    stride: 1, or 2 for an output of the coarse view.
    gain: initial variance of an output over the mean square of the inputs.
    dtype: of the products and the output.
    inputs: 0, or the number of features of the view's pixels, which are the input; x is then ignored.
    bias_init: initialiser of the bias.
  """

  features: int
  offsets: Offsets
  channels: int = 1
  strict: bool = False
  copies: int = 1
  stride: int = 1
  gain: float = 1.0
  dtype: Any = jnp.float32
  inputs: int = 0
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array | None, view: Any) -> jax.Array:
    inputs = self.inputs or x.shape[-1]
    init = nn.initializers.variance_scaling(self.gain, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=2)
    kernel = self.param("kernel", init, (len(self.offsets), inputs, self.features))
    bias = self.param("bias", self.bias_init, (self.features,))
    if self.channels > 1 and tuple(self.offsets[-1]) == (0, 0):
      source, target = degrees(inputs, self.channels), degrees(self.features, self.channels, self.copies)
      sees = source[:, None] + int(self.strict) <= target
      kernel = jnp.concatenate([kernel[:-1], kernel[-1:] * sees])
    kernel = kernel.astype(self.dtype)
    y = view.first(kernel, self.offsets) if self.inputs else view.convolve(x, kernel, self.offsets, self.stride)
    return add_bias(y.astype(jnp.float32), bias).astype(self.dtype)


def pointwise(features: int, **options: Any) -> CausalConv:
  """A product with the features of the same pixel, a convolution with one tap."""
  return CausalConv(features, ((0, 0),), **options)


class Finer(nn.Module):
  """Features of every pixel from those of the coarse view, with weights for each of 2 x 2 pixels."""

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, view: Any, fine: Sequence[int]) -> jax.Array:
    init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", batch_axis=(0, 1))
    kernel = self.param("kernel", init, (2, 2, x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    return add_bias(view.finer(x, kernel.astype(self.dtype), fine).astype(jnp.float32), bias).astype(self.dtype)

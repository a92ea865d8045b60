"""Inception v3 as the Frechet inception distance uses it: the network of 2015-12-05, not the one of torchvision.

It differs from later versions: averages of pools leave out the padding, the last block pools by a maximum, and there
are 1,008 classes (Szegedy et al., 2016; Heusel et al., 2017).  Batch norm is folded into the convolutions, so that this
network can be applied but not trained.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

NUM_CLASSES = 1008
SIDE = 299  # of the images


class _Unit(nn.Module):
  """relu(conv(x) + bias)."""

  features: int
  kernel_size: tuple[int, int] = (1, 1)
  stride: int = 1
  same: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", nn.initializers.he_normal(), (*self.kernel_size, x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    padding = [((k - 1) // 2, (k - 1) // 2) if self.same else (0, 0) for k in self.kernel_size]
    strides, layout = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout, precision="highest")
    return nn.relu(y + bias)


def _shrink(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (3, 3), (2, 2))


def _average(x: jax.Array) -> jax.Array:
  return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _maximum(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (3, 3), padding="SAME")


def _chain(x: jax.Array, units: Sequence[tuple[str, int, tuple[int, int]]], shrink: bool = False) -> jax.Array:
  """Units (name, features, kernel size) one after another; with `shrink`, the last has stride 2 and no padding."""
  for i, (name, features, size) in enumerate(units):
    last = shrink and i == len(units) - 1
    x = _Unit(features, size, 2 if last else 1, not last, name=name)(x)
  return x


class _A(nn.Module):
  pool: int

  @nn.compact
  def __call__(self, x):
    b = _chain(x, [("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))])
    double = [("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))]
    a, d = _Unit(64, name="branch1x1")(x), _Unit(self.pool, name="branch_pool")(_average(x))
    return jnp.concatenate([a, b, _chain(x, double), d], -1)


class _B(nn.Module):
  @nn.compact
  def __call__(self, x):
    a = _chain(x, [("branch3x3", 384, (3, 3))], shrink=True)
    double = [("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))]
    return jnp.concatenate([a, _chain(x, double, shrink=True), _shrink(x)], -1)


class _C(nn.Module):
  width: int

  @nn.compact
  def __call__(self, x):
    w, row, column = self.width, (1, 7), (7, 1)
    b = _chain(x, [("branch7x7_1", w, (1, 1)), ("branch7x7_2", w, row), ("branch7x7_3", 192, column)])
    double = [("branch7x7dbl_1", w, (1, 1)), ("branch7x7dbl_2", w, column), ("branch7x7dbl_3", w, row)]
    c = _chain(x, [*double, ("branch7x7dbl_4", w, column), ("branch7x7dbl_5", 192, row)])
    a, d = _Unit(192, name="branch1x1")(x), _Unit(192, name="branch_pool")(_average(x))
    return jnp.concatenate([a, b, c, d], -1)


class _D(nn.Module):
  @nn.compact
  def __call__(self, x):
    a = _chain(x, [("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3))], shrink=True)
    units = [("branch7x7x3_1", 192, (1, 1)), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1))]
    b = _chain(x, [*units, ("branch7x7x3_4", 192, (3, 3))], shrink=True)
    return jnp.concatenate([a, b, _shrink(x)], -1)


class _E(nn.Module):
  by_maximum: bool

  @nn.compact
  def __call__(self, x):
    split = lambda h, name: [_Unit(384, size, name=name + end)(h) for end, size in (("a", (1, 3)), ("b", (3, 1)))]
    b = _Unit(384, name="branch3x3_1")(x)
    c = _chain(x, [("branch3x3dbl_1", 448, (1, 1)), ("branch3x3dbl_2", 384, (3, 3))])
    pooled = _maximum(x) if self.by_maximum else _average(x)
    a, d = _Unit(320, name="branch1x1")(x), _Unit(192, name="branch_pool")(pooled)
    return jnp.concatenate([a, *split(b, "branch3x3_2"), *split(c, "branch3x3dbl_3"), d], -1)


class Inception(nn.Module):
  """Images [B, 299, 299, 3] in [-1, 1] -> (the last pool [B, 2048], logits [B, 1008] without their bias).

  The inception score of Salimans et al. (2016) leaves the bias out.
  """

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = _Unit(32, (3, 3), 2, False, name="Conv2d_1a_3x3")(x)
    x = _Unit(32, (3, 3), 1, False, name="Conv2d_2a_3x3")(x)
    x = _shrink(_Unit(64, (3, 3), name="Conv2d_2b_3x3")(x))
    x = _Unit(80, name="Conv2d_3b_1x1")(x)
    x = _shrink(_Unit(192, (3, 3), 1, False, name="Conv2d_4a_3x3")(x))
    for letter, pool in zip("bcd", (32, 64, 64), strict=True):
      x = _A(pool, name=f"Mixed_5{letter}")(x)
    x = _B(name="Mixed_6a")(x)
    for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
      x = _C(width, name=f"Mixed_6{letter}")(x)
    x = _D(name="Mixed_7a")(x)
    x = _E(False, name="Mixed_7b")(x)
    x = _E(True, name="Mixed_7c")(x).mean((1, 2))
    return x, nn.Dense(NUM_CLASSES, use_bias=False, precision="highest", name="fc")(x)


def resized(x: jax.Array, clean: bool, side: int = SIDE) -> jax.Array:
  """Images [B, H, W, 3] in [0, 1] as this network takes them, [B, 299, 299, 3]: 8-bit levels v as (v - 128) / 128.

  Args:
    x: images.
    clean: bilinear with half-pixel centres, and antialiased where it shrinks; else as ResizeBilinear of TensorFlow 1:
      output i is at i H / 299, without either.
    side: 299.
  """
  levels = jnp.round(jnp.clip(x, 0, 1) * 255)
  if clean:
    found = jax.image.resize(levels, (x.shape[0], side, side, x.shape[-1]), "bilinear", antialias=True)
    return (found - 128) / 128
  for axis in (1, 2):
    size = x.shape[axis]
    place = jnp.arange(side) * (size / side)
    low = jnp.floor(place).astype(jnp.int32)
    share = (place - low).reshape(-1, *(1,) * (levels.ndim - axis - 1))
    first, second = (jnp.take(levels, jnp.minimum(i, size - 1), axis) for i in (low, low + 1))
    levels = first + share * (second - first)
  return (levels - 128) / 128

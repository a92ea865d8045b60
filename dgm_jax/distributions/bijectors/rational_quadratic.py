"""Monotone rational-quadratic splines (Gregory & Delbourgo, 1982; Durkan et al., 2019)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import errors


class Bin(NamedTuple):
  """A bin of a spline for each x: its left end x, y, its width, its height, and the slopes at its ends; [..., D]."""

  x: jax.Array
  y: jax.Array
  width: jax.Array
  height: jax.Array
  left: jax.Array
  right: jax.Array


def _shares(logits: jax.Array, floor: float, total: float) -> jax.Array:
  """`total` divided by softmax(logits), [..., K], each share at least floor * total."""
  return total * (floor + (1 - floor * logits.shape[-1]) * jax.nn.softmax(logits, -1))


def find_bin(
  value: jax.Array, widths: jax.Array, heights: jax.Array, slopes: jax.Array, bound: float, by_y: bool
) -> Bin:
  """The bin that holds `value`, an x or (by_y) a y in [-bound, bound]; only its knots are looked up.

  Args: value [..., D]; widths and heights [..., D, K]; slopes [..., D, K + 1].
  """
  left = lambda lengths: jnp.pad(jnp.cumsum(lengths[..., :-1], -1), [(0, 0)] * value.ndim + [(1, 0)]) - bound
  x, y = left(widths), left(heights)
  index = jnp.sum(value[..., None] >= (y if by_y else x)[..., 1:], -1, keepdims=True)
  pick = lambda a, index: jnp.take_along_axis(a, index, -1)[..., 0]
  return Bin(*(pick(a, index) for a in (x, y, widths, heights, slopes)), pick(slopes, index + 1))


def in_bin(x: jax.Array, b: Bin) -> tuple[jax.Array, jax.Array]:
  """(y, log dy/dx) of x in the bin b."""
  t = jnp.clip((x - b.x) / b.width, 0.0, 1.0)
  s = b.height / b.width
  u = t * (1 - t)
  denominator = s + (b.left + b.right - 2 * s) * u
  y = b.y + b.height * (s * t * t + b.left * u) / denominator
  slope = b.right * t * t + 2 * s * u + b.left * jnp.square(1 - t)
  return y, 2 * jnp.log(s) + jnp.log(slope) - 2 * jnp.log(denominator)


def in_bin_inverse(y: jax.Array, b: Bin) -> jax.Array:
  """x for which in_bin gives y: the root of a quadratic, in the form without cancellation.

  Rounding can make the discriminant, a sum of squares in exact arithmetic, negative or zero, where the root has no
  derivative: it is at least the smallest normal number.
  """
  s, rise = b.height / b.width, y - b.y
  excess = rise * (b.left + b.right - 2 * s)
  p, q, r = b.height * (s - b.left) + excess, b.height * b.left - excess, -s * rise
  root = jnp.sqrt(jnp.maximum(q * q - 4 * p * r, jnp.finfo(y.dtype).tiny))
  return b.x + b.width * jnp.clip(2 * r / (-q - root), 0.0, 1.0)


class RationalQuadratic:
  """A spline with `num_bins` bins on [-bound, bound] and the identity, of slope 1, outside.

  h holds the logits of the widths, those of the heights, and the slopes at the inner knots before a softplus.  Without
  floors under widths and slopes training diverges.

  Args:
    num_bins: K.
    bound: half the length of the interval.
    min_width: the least width and height of a bin, as a share of the interval; K of them are less than 1.
    min_slope: the least slope at a knot.
  """

  def __init__(self, num_bins: int = 8, bound: float = 3.0, min_width: float = 1e-3, min_slope: float = 1e-3):
    errors.require(num_bins >= 1, f"num_bins = {num_bins} of transform 'spline' must be 1 or more")
    errors.require(bound > 0, f"bound = {bound} of transform 'spline' must be positive")
    errors.require(
      0 < min_width * num_bins < 1, f"min_width = {min_width} of transform 'spline' must be in (0, 1 / num_bins)"
    )
    errors.require(0 < min_slope < 1, f"min_slope = {min_slope} of transform 'spline' must be in (0, 1)")
    self.num_bins, self.bound, self.min_width, self.min_slope = num_bins, bound, min_width, min_slope
    self.num_params = 3 * num_bins - 1

  def knots(self, h: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(widths [..., D, K], heights [..., D, K], slopes [..., D, K + 1]) from h [..., P, D]."""
    h, k = jnp.moveaxis(h, -2, -1), self.num_bins
    widths, heights = (_shares(a, self.min_width, 2 * self.bound) for a in (h[..., :k], h[..., k : 2 * k]))
    at_zero = math.log(math.expm1(1 - self.min_slope))  # where the slope is 1
    inner = self.min_slope + jax.nn.softplus(h[..., 2 * k :] + at_zero)
    return widths, heights, jnp.pad(inner, [(0, 0)] * (h.ndim - 1) + [(1, 1)], constant_values=1.0)

  def forward(self, x: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    inside = jnp.abs(x) < self.bound
    clamped = jnp.clip(x, -self.bound, self.bound)  # the input of the branch, not its output: no NaN in its gradient
    y, log_slope = in_bin(clamped, find_bin(clamped, *self.knots(h), self.bound, by_y=False))
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)

  def inverse(self, y: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    inside = jnp.abs(y) < self.bound
    clamped = jnp.clip(y, -self.bound, self.bound)
    found = find_bin(clamped, *self.knots(h), self.bound, by_y=True)
    x = in_bin_inverse(clamped, found)
    return jnp.where(inside, x, y), jnp.where(inside, in_bin(x, found)[1], 0.0)

"""Views of the pixels of images, in terms of which networks of causal convolutions are written once.

  Whole      all pixels of images, [B, H, W, F], for training and log p(x)
  Row        the pixels of row i, [W, n, F], given the rows above, for features that see whole rows
  Position   the pixel (i, j), [n, F], given those before it, for draws

Row and Position keep the last rows of each layer's input in rings [R, columns, n, F], row i at index i mod R, which
are updated in place: the position comes first, and the columns beyond the border stay 0.  Kernels are [T, I, O], with
an offset (dy, dx) for each tap, see causal_convolutions.py.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import platforms
from dgm_jax.networks.convolutions import product

Offsets = Sequence[tuple[int, int]]


def margins(offsets: Offsets) -> tuple[int, int, int]:
  """(rows above, columns on the left, columns on the right) that the offsets reach."""
  return max(0, -min(y for y, _ in offsets)), max(0, -min(x for _, x in offsets)), max(0, max(x for _, x in offsets))


def _kernel_of(offsets: Offsets, kernel: jax.Array) -> jax.Array:
  """The kernel [T, I, O] as one of a rectangle, [rows, columns, I, O], with zeros at taps that do not count."""
  top, first, last = margins(offsets)
  found = jnp.zeros((top + 1, first + last + 1, *kernel.shape[1:]), kernel.dtype)
  return found.at[[y + top for y, _ in offsets], [x + first for _, x in offsets]].set(kernel)


class Whole:
  """The pixels of whole images; see the module's docstring.

  Args:
    pixels: the input of the first layer, [B, H, W, C].
    key: of dropout; None for none.
    platform: of the program, see platforms.is_cpu.
  """

  def __init__(self, pixels: jax.Array, key: jax.Array | None = None, platform: str = ""):
    self._pixels, self._keys, self._platform = pixels, [key], platform
    self.size = pixels.shape[1:3]

  def first(self, kernel: jax.Array, offsets: Offsets) -> jax.Array:
    """The convolution of the pixels, [B, H, W, O]; kernel [T, C, O]."""
    return self.convolve(self._pixels, kernel, offsets)

  def convolve(self, x: jax.Array, kernel: jax.Array, offsets: Offsets, stride: int = 1) -> jax.Array:
    """The convolution of x with the kernel [T, I, O], at every `stride`-th pixel."""
    if len(offsets) == 1 and tuple(offsets[0]) == (0, 0) and stride == 1:
      return product(x, kernel[0])
    top, first, last = margins(offsets)
    padding = ((top, 0), (first, last))
    if not platforms.is_cpu(self._platform):
      numbers = ("NHWC", "HWIO", "NHWC")
      return jax.lax.conv_general_dilated(
        x, _kernel_of(offsets, kernel), (stride, stride), padding, dimension_numbers=numbers
      )
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    cut = lambda y, c: x[:, y + top : y + top + height : stride, c + first : c + first + width : stride]
    return product(jnp.concatenate([cut(*offset) for offset in offsets], -1), kernel.reshape(-1, kernel.shape[-1]))

  def down_rows(self, step: Callable, x: jax.Array, columns: range, features: int) -> jax.Array:
    """h of every pixel, [..., F], of a recurrence down the rows, which starts at h = c = 0 above the image.

    Args:
      step: (x of the pixel, h of the row above at the columns dx of `columns` beside each other, c of the pixel above)
        -> (h in the type of x, c in float32).
      x: features of the pixels.
      columns: a range about 0; h is 0 outside of the image.
      features: F, of h and of c.
    """
    batch, _, width, _ = x.shape
    left, right = -columns[0], columns[-1]

    def row(state, x):
      wide = jnp.pad(state[0], ((0, 0), (left, right), (0, 0)))
      above = jnp.concatenate([wide[:, left + dx : left + dx + width] for dx in columns], -1)
      state = step(x, above, state[1])
      return state, state[0]

    start = jnp.zeros((batch, width, features), x.dtype), jnp.zeros((batch, width, features))
    return jnp.moveaxis(jax.lax.scan(row, start, jnp.moveaxis(x, 1, 0))[1], 0, 1)

  def coarse(self) -> "Whole":
    """The view of every second pixel of every second row; `convolve` with stride 2 gives its x."""
    return self

  def finer(self, x: jax.Array, kernel: jax.Array, fine: Sequence[int]) -> jax.Array:
    """[B, H, W, O] with (H, W) = `fine` from coarse x: a kernel [2, 2, I, O], one product for each of 2 x 2 pixels."""
    y = product(x, jnp.moveaxis(kernel, 2, 0).reshape(kernel.shape[2], -1))
    y = y.reshape(*x.shape[:3], 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], -1)[:, : fine[0], : fine[1]]

  def of_row(self, x: jax.Array) -> jax.Array:
    """What a Row view computed, here the same."""
    return x

  def spread(self, context: jax.Array) -> jax.Array:
    """Features [B, F] of the examples, for every pixel."""
    return context[:, None, None]

  def drop(self, x: jax.Array, rate: float) -> jax.Array:
    """x with dropout, if there is a key."""
    if self._keys[-1] is None or not rate:
      return x
    key, self._keys[-1] = jax.random.split(self._keys[-1])
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


class Rings:
  """The rings of a network's layers, in the order in which they are used.

  Args:
    rings: those of the step before; None to make them.
    n: number of images.
  """

  def __init__(self, rings: Sequence[jax.Array] | None, n: int):
    self._given, self.n, self.used = rings, n, []

  def take(self, rows: int, columns: int, features: int, dtype: Any) -> tuple[jax.Array, int]:
    """(the ring of the next layer, its number); `put` replaces it."""
    number = len(self.used)
    ring = jnp.zeros((rows, columns, self.n, features), dtype) if self._given is None else self._given[number]
    self.used.append(ring)
    return ring, number

  def put(self, number: int, ring: jax.Array) -> jax.Array:
    """Replaces a ring, except while rings are made: these are empty."""
    if self._given is not None:
      self.used[number] = ring
    return ring


class _Partial:
  """What Row and Position share."""

  def __init__(self, pixels: jax.Array, margin: int, place: tuple[Any, ...], size: Sequence[int], rings: Rings):
    self._pixels, self._margin, self._place, self.size, self.rings = pixels, margin, place, size, rings

  def first(self, kernel: jax.Array, offsets: Offsets) -> jax.Array:
    """The convolution of the pixels, a ring [R, columns, n, C] whose columns begin `margin` before the image."""
    taps = self._read(self._pixels, self._place, self._margin, offsets, 1)
    return taps @ kernel.reshape(-1, kernel.shape[-1])

  def convolve(self, x: jax.Array, kernel: jax.Array, offsets: Offsets, stride: int = 1) -> jax.Array:
    """The convolution of x with the kernel [T, I, O], of the coarse pixel if the stride is 2."""
    top, first, last = margins(offsets)
    if (top, first, last) == (0, 0, 0) and stride == 1:
      return x @ kernel[0]
    ring, number = self.rings.take(top + stride, first + self.size[1] + last + stride - 1, x.shape[-1], x.dtype)
    ring = self.rings.put(number, self._write(ring, x, first))
    place = tuple(stride * (p // stride) for p in self._place)
    return self._read(ring, place, first, offsets, stride) @ kernel.reshape(-1, kernel.shape[-1])

  def down_rows(self, step: Callable, x: jax.Array, columns: range, features: int) -> jax.Array:
    """See Whole.  The rings of h and c have two rows: a pixel with several colours comes several times."""
    left, width = -columns[0], self.size[1]
    h_ring, h_number = self.rings.take(2, left + width + columns[-1], features, x.dtype)
    c_ring, c_number = self.rings.take(2, width, features, jnp.float32)
    above = self._read(h_ring, self._place, left, [(-1, dx) for dx in columns], 1)
    h, c = step(x, above, self._read(c_ring, self._place, 0, ((-1, 0),), 1))
    self.rings.put(h_number, self._write(h_ring, h, left))
    self.rings.put(c_number, self._write(c_ring, c, 0))
    return h

  def coarse(self) -> Any:
    """See Whole."""
    size, place = [-(-s // 2) for s in self.size], tuple(p // 2 for p in self._place)
    return type(self)(self._pixels, self._margin, place, size, self.rings)

  def drop(self, x: jax.Array, rate: float) -> jax.Array:
    """x: draws have no dropout."""
    del rate
    return x

  def _write(self, ring: jax.Array, x: jax.Array, first: int) -> jax.Array:
    raise NotImplementedError

  def _read(self, ring: jax.Array, place: tuple, first: int, offsets: Offsets, stride: int) -> jax.Array:
    raise NotImplementedError


class Row(_Partial):
  """The pixels of row i, `place` = (i,), x [W, n, F]; see the module's docstring."""

  def _write(self, ring, x, first):
    return jax.lax.dynamic_update_slice(ring, x[None], (self._place[0] % ring.shape[0], first, 0, 0))

  def _read(self, ring, place, first, offsets, stride):
    rows = {
      dy: jax.lax.dynamic_index_in_dim(ring, (place[0] + dy) % ring.shape[0], 0, keepdims=False)
      for dy in {dy for dy, _ in offsets}
    }
    width = self.size[1]
    cut = lambda dy, dx: rows[dy][first + dx : first + dx + width : stride]
    return jnp.concatenate([cut(*offset) for offset in offsets], -1)

  def finer(self, x, kernel, fine):
    """See Whole; x of the coarse row, the result of this one."""
    rows = jax.lax.dynamic_index_in_dim(kernel, self._place[0] % 2, 0, keepdims=False)
    return jnp.stack([x @ rows[0], x @ rows[1]], 1).reshape(-1, x.shape[1], kernel.shape[-1])[: fine[1]]

  def spread(self, context):
    """See Whole."""
    return context[None]


class Position(_Partial):
  """The pixel (i, j) = `place`, x [n, F]; see the module's docstring."""

  def _write(self, ring, x, first):
    row, column = self._place
    return jax.lax.dynamic_update_slice(ring, x[None, None], (row % ring.shape[0], first + column, 0, 0))

  def _read(self, ring, place, first, offsets, stride):
    del stride
    parts = []
    for dy, group in itertools.groupby(offsets, lambda offset: offset[0]):
      columns = [dx for _, dx in group]
      start = ((place[0] + dy) % ring.shape[0], first + place[1] + columns[0], 0, 0)
      taps = jax.lax.dynamic_slice(ring, start, (1, len(columns), *ring.shape[2:]))[0]
      parts += [taps[k] for k in range(len(columns))]
    return jnp.concatenate(parts, -1)

  def finer(self, x, kernel, fine):
    """See Whole; x of the coarse pixel, the result of this one."""
    del fine
    row, column = (p % 2 for p in self._place)
    return x @ jax.lax.dynamic_slice(kernel, (row, column, 0, 0), (1, 1, *kernel.shape[2:]))[0, 0]

  def of_row(self, x):
    """The features [n, F] of the pixel from those of its row, [W, n, F]."""
    return jax.lax.dynamic_index_in_dim(x, self._place[1], 0, keepdims=False)

  def spread(self, context):
    """See Whole."""
    return context

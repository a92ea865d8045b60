"""Squared Euclidean distances between two sets of points, in float64, a block at a time.

Sets stay in the type that they have, mostly float32: 50,000 points of 2,048 features are 0.4 GB, and twice that in
float64, which only blocks of them become.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_BLOCK_BYTES = 2**26  # of one block of distances
_WHOLE_BYTES = 2**28  # of a set in float64 that is kept as a whole; of a larger one so many rows at a time:
_ROWS = 8192
ROUNDING = 1e-12  # of the squared norms: an upper bound of the error of a squared distance over them


class Points(NamedTuple):
  """Points values - mean.

  Attributes:
    values: [N, F], of any float type.
    mean: [F], float64.
  """

  values: np.ndarray
  mean: np.ndarray

  def __len__(self) -> int:
    return len(self.values)

  @property
  def dim(self) -> int:
    """F."""
    return self.values.shape[1]

  def rows(self, part: slice | np.ndarray) -> np.ndarray:
    """Some of the points, in float64."""
    return np.asarray(self.values[part], np.float64) - self.mean

  def parts(self) -> Iterator[slice]:
    """The rows in blocks."""
    return (slice(start, start + _ROWS) for start in range(0, len(self), _ROWS))


def of(points: Points | np.ndarray) -> Points:
  """An array as points, which are not moved."""
  return points if isinstance(points, Points) else Points(points, np.zeros(points.shape[1]))


def centred(*sets: np.ndarray) -> tuple[Points, ...]:
  """The sets minus the mean of the last one, so that norms are no larger than they need be."""
  mean = np.mean(sets[-1], axis=0, dtype=np.float64)
  return tuple(Points(a, mean) for a in sets)


def _norms(points: Points) -> np.ndarray:
  """The squared norms, [N]."""
  found = np.empty(len(points))
  for part in points.parts():
    rows = points.rows(part)
    found[part] = np.einsum("nf,nf->n", rows, rows)
  return found


def tolerance(*sets: Points) -> float:
  """The error that a squared distance between points of these sets may have by rounding."""
  return ROUNDING * max(float(_norms(a).max(initial=0.0)) for a in sets)


def products(x: Points | np.ndarray, y: Points | np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
  """Yields (rows, those rows of x [rows, F], their products with all y [rows, M]): float64, the last in one buffer."""
  x, y = of(x), of(y)
  fits = 8 * len(y) * y.dim <= _WHOLE_BYTES
  columns = [(slice(None), y.rows(slice(None)))] if fits else [(part, None) for part in y.parts()]
  # what is made anew for each block should be used for many rows
  rows = max(1, min(len(x), (1 if fits else 4) * _BLOCK_BYTES // (8 * len(y))))
  buffer = np.empty((rows, len(y)))
  for start in range(0, len(x), rows):
    part = x.rows(slice(start, start + rows))
    found = buffer[: len(part)]
    for those, whole in columns:
      np.matmul(part, (y.rows(those) if whole is None else whole).T, out=found[:, those])
    yield slice(start, start + len(part)), part, found


def blocks(x: Points | np.ndarray, y: Points | np.ndarray, same: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields (rows, |x_i - y_j|^2 [rows, M] for those rows i of x): float64, at least 0, in one buffer.

  Args:
    x, y: [N, F], [M, F]; see `centred`.
    same: whether y is x; then the distance of a point to itself is infinite.
  """
  of_y = _norms(of(y))
  for rows, part, found in products(x, y):
    found *= -2
    found += of_y
    found += np.einsum("nf,nf->n", part, part)[:, None]
    np.maximum(found, 0, out=found)
    if same:
      index = np.arange(len(part))
      found[index, rows.start + index] = np.inf
    yield rows, found


def nearest(x: Points | np.ndarray, y: Points | np.ndarray, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """(distance of each x to its nearest y [N], the index of that y [N]); not to itself where y is x."""
  distance, index = np.empty(len(x)), np.empty(len(x), np.int64)
  for rows, squares in blocks(x, y, same):
    index[rows] = squares.argmin(1)
    distance[rows] = squares[np.arange(len(squares)), index[rows]]
  return np.sqrt(distance), index


def kth(x: Points | np.ndarray, k: int) -> np.ndarray:
  """The squared distance of each x to its k-th nearest neighbour among the others, [N]."""
  found = np.empty(len(x))
  for rows, squares in blocks(x, x, same=True):
    squares.partition(k - 1, axis=1)
    found[rows] = squares[:, k - 1]
  return found

"""Squared Euclidean distances between two sets of points, a block of rows at a time."""

from collections.abc import Iterator

import numpy as np

_BLOCK_BYTES = 2**26  # of one block of distances
ROUNDING = 1e-12  # of the squared norms: an upper bound of the error of a squared distance over them


def centred(*sets: np.ndarray) -> tuple[np.ndarray, ...]:
  """The sets in float64 minus the mean of the last one, so that norms are no larger than they need be."""
  mean = np.mean(sets[-1], axis=0, dtype=np.float64)
  return tuple(np.asarray(a, np.float64) - mean for a in sets)


def tolerance(*sets: np.ndarray) -> float:
  """The error that a squared distance between points of these sets may have by rounding."""
  return ROUNDING * max(float(np.einsum("nf,nf->n", a, a).max(initial=0.0)) for a in sets)


def blocks(x: np.ndarray, y: np.ndarray, same: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields (rows, |x_i - y_j|^2 [rows, M] for those rows i of x): float64, at least 0, in one buffer.

  Args:
    x, y: [N, F], [M, F], float64; see `centred`.
    same: whether y is x; then the distance of a point to itself is infinite.
  """
  rows = max(1, min(len(x), _BLOCK_BYTES // (8 * len(y))))
  of_y = np.einsum("nf,nf->n", y, y)
  buffer = np.empty((rows, len(y)))
  for start in range(0, len(x), rows):
    part = x[start : start + rows]
    found = np.matmul(part, y.T, out=buffer[: len(part)])
    found *= -2
    found += of_y
    found += np.einsum("nf,nf->n", part, part)[:, None]
    np.maximum(found, 0, out=found)
    if same:
      index = np.arange(len(part))
      found[index, start + index] = np.inf
    yield slice(start, start + len(part)), found


def nearest(x: np.ndarray, y: np.ndarray, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
  """(distance of each x to its nearest y [N], the index of that y [N]); not to itself where y is x."""
  distance, index = np.empty(len(x)), np.empty(len(x), np.int64)
  for rows, squares in blocks(x, y, same):
    index[rows] = squares.argmin(1)
    distance[rows] = squares[np.arange(len(squares)), index[rows]]
  return np.sqrt(distance), index


def kth(x: np.ndarray, k: int) -> np.ndarray:
  """The squared distance of each x to its k-th nearest neighbour among the others, [N]."""
  found = np.empty(len(x))
  for rows, squares in blocks(x, x, same=True):
    squares.partition(k - 1, axis=1)
    found[rows] = squares[:, k - 1]
  return found

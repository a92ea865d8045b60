"""Batches as dicts of arrays with a common leading example axis."""

import numpy as np

Arrays = dict[str, np.ndarray]  # every array has a leading example axis, [N, ...]


def size(arrays: Arrays) -> int:
  """The number of examples N."""
  return len(next(iter(arrays.values())))


def take(arrays: Arrays, indices: np.ndarray | slice) -> Arrays:
  """Selects the examples `indices` (an index array or a slice) from every array."""
  return {k: v[indices] for k, v in arrays.items()}


def evenly_spaced(arrays: Arrays, n: int) -> Arrays:
  """n examples at equal distances, from the first to the last; some more than once if there are fewer than n."""
  return take(arrays, np.linspace(0, size(arrays) - 1, n).astype(np.int64))

"""Batches as dicts of arrays with a common leading axis: how many examples, and which of them."""

import numpy as np

Arrays = dict[str, np.ndarray]  # every array has the examples in front


def size(arrays: Arrays) -> int:
  """The number of examples."""
  return len(next(iter(arrays.values())))


def take(arrays: Arrays, indices: np.ndarray | slice) -> Arrays:
  """These examples of every array."""
  return {k: v[indices] for k, v in arrays.items()}

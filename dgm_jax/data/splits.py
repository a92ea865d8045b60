"""What a data set is to the rest: up to three dicts of arrays, and how to hold some out."""

from typing import NamedTuple

import numpy as np

from dgm_jax import errors

Arrays = dict[str, np.ndarray]  # every array has the examples in front


class Splits(NamedTuple):
  """Dicts of arrays with the examples in front; `valid` is None where nothing is held out of the training set."""

  train: Arrays
  valid: Arrays | None
  test: Arrays


def size(arrays: Arrays) -> int:
  """The number of examples."""
  return len(next(iter(arrays.values())))


def hold_out_last(arrays: Arrays, valid_size: int) -> tuple[Arrays, Arrays | None]:
  """(all but the last `valid_size` examples, these), in the published order; (arrays, None) for 0."""
  n = size(arrays)
  errors.require(
    0 <= valid_size < n,
    f"data.valid_size = {valid_size} leaves nothing to train on; choose 0 to {n - 1} of the {n} training examples.",
  )
  if valid_size == 0:
    return arrays, None
  head = {k: v[: n - valid_size] for k, v in arrays.items()}
  return head, {k: v[n - valid_size :] for k, v in arrays.items()}

"""What a data set is to the rest: up to three dicts of arrays, and how to hold some out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, size, take


class Splits(NamedTuple):
  """Dicts of arrays with the examples in front; `valid` is None where nothing is held out of the training set.

  x is what is modelled: uint8 for grey levels and colours 0..255, bool for what is binary, float32 for numbers, int32
  (or uint16) for counts, int32 for tokens.  y is a label (int32) or a response (float32); `mask` is 1 where x was
  observed.  `about` holds what is no array: names of columns, classes and genes, the vocabulary.
  """

  train: Arrays
  valid: Arrays | None
  test: Arrays
  about: Mapping[str, Any] = {}

  def parts(self) -> dict[str, Arrays]:
    """The splits that there are, by name."""
    return {name: getattr(self, name) for name in ("train", "valid", "test") if getattr(self, name)}


def first(arrays: Arrays, count: int | None) -> Arrays:
  """The first `count` examples; all for None."""
  n = size(arrays)
  if count is None:
    return arrays
  errors.require(1 <= count <= n, f"data.train_size = {count}; it must be 1 to {n}, the training examples there are.")
  return take(arrays, slice(count))


def hold_out_last(arrays: Arrays, valid_size: int) -> tuple[Arrays, Arrays | None]:
  """(all but the last `valid_size` examples, these), in the published order; (arrays, None) for 0."""
  n = size(arrays)
  errors.require(
    0 <= valid_size < n,
    f"data.valid_size = {valid_size} leaves nothing to train on; choose 0 to {n - 1} of the {n} training examples.",
  )
  if valid_size == 0:
    return arrays, None
  return take(arrays, slice(n - valid_size)), take(arrays, slice(n - valid_size, n))


def permutation(n: int, seed: int) -> np.ndarray:
  """0 .. n - 1 in the order of numpy's RandomState(seed), whose stream is fixed for good."""
  errors.require(0 <= seed < 2**32, f"data.split_seed = {seed}; it must be in 0 .. 2^32 - 1.")
  return np.random.RandomState(seed).permutation(n)


def random_indices(n: int, valid_fraction: float, test_fraction: float, seed: int) -> dict[str, np.ndarray]:
  """{part: indices} by a permutation of n examples.

  The first round(test_fraction n) of it are the test set, the next round(valid_fraction n) the validation set.

  Raises:
    UserError: a fraction that cannot be, or that leaves a split empty (valid_fraction = 0 means none).
  """
  for name, value in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
    errors.require(0 <= value < 1, f"data.{name} = {value}; it must be at least 0 and less than 1.")
  num_test, num_valid = round(test_fraction * n), round(valid_fraction * n)
  order = permutation(n, seed)
  test, valid, train = order[:num_test], order[num_test : num_test + num_valid], order[num_test + num_valid :]
  parts = {"train": train, "test": test} | ({"valid": valid} if valid_fraction else {})
  for part, indices in parts.items():
    errors.require(
      len(indices) >= 1,
      f"The {part} split is empty: data.valid_fraction = {valid_fraction} and data.test_fraction = {test_fraction} of "
      f"{n} examples.",
    )
  return parts


def at_random(
  arrays: Arrays, valid_fraction: float, test_fraction: float, seed: int, about: Mapping[str, Any] | None = None
) -> Splits:
  """The splits of random_indices."""
  parts = random_indices(size(arrays), valid_fraction, test_fraction, seed)
  taken = {part: take(arrays, indices) for part, indices in parts.items()}
  return Splits(taken["train"], taken.get("valid"), taken["test"], about or {})

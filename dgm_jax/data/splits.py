"""The splits of a data set, up to three dicts of arrays, and functions that hold out examples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors, text_tables
from dgm_jax.core.batches import Arrays, size, take


class Splits(NamedTuple):
  """Dicts of arrays with a leading example axis; `valid` is None if there is no validation set.

  x is the modelled variable: uint8 for grey levels and colours 0..255, bool for binary data, float32 for real numbers,
  int32 (or uint16) for counts, int32 for tokens.  y is a label (int32) or a response (float32); `mask` is 1 where x is
  observed.  `about` holds metadata: names of columns, classes and genes, the vocabulary.
  """

  train: Arrays
  valid: Arrays | None
  test: Arrays
  about: Mapping[str, Any] = {}

  def __repr__(self) -> str:
    lines = [f"  {name}: {text_tables.shapes(arrays)}" for name, arrays in self.parts().items()]
    about = [f"  about: {', '.join(self.about)}"[:200]] if self.about else []
    return "\n".join(["Splits", *lines, *about])

  def parts(self) -> dict[str, Arrays]:
    """The splits that are present, by name."""
    return {name: getattr(self, name) for name in ("train", "valid", "test") if getattr(self, name)}


def first(arrays: Arrays, count: int | None) -> Arrays:
  """The first `count` examples; all if it is None."""
  n = size(arrays)
  if count is None:
    return arrays
  errors.require(1 <= count <= n, f"data.train_size = {count}; it must be 1 to {n}, the number of training examples.")
  return take(arrays, slice(count))


def hold_out_last(arrays: Arrays, valid_size: int) -> tuple[Arrays, Arrays | None]:
  """(training set, validation set): holds out the last `valid_size` examples; (arrays, None) for 0."""
  n = size(arrays)
  errors.require(
    0 <= valid_size < n,
    f"data.valid_size = {valid_size} leaves nothing to train on; choose 0 to {n - 1} of the {n} training examples.",
  )
  if valid_size == 0:
    return arrays, None
  return take(arrays, slice(n - valid_size)), take(arrays, slice(n - valid_size, n))


def permutation(n: int, seed: int) -> np.ndarray:
  """A permutation of 0 .. n - 1 by numpy's RandomState(seed), whose stream never changes."""
  errors.require(0 <= seed < 2**32, f"data.split_seed = {seed}; it must be in 0 .. 2^32 - 1.")
  return np.random.RandomState(seed).permutation(n)


def random_indices(n: int, valid_fraction: float, test_fraction: float, seed: int) -> dict[str, np.ndarray]:
  """{part: indices} from a random permutation of n examples.

  The first round(test_fraction n) indices are the test set, the next round(valid_fraction n) the validation set.

  Raises:
    UserError: an invalid fraction, or an empty split (valid_fraction = 0 means no validation set).
  """
  return _divided(permutation(n, seed), valid_fraction, test_fraction)


def _divided(order: np.ndarray, valid_fraction: float, test_fraction: float) -> dict[str, np.ndarray]:
  """{part: indices}: the first of `order` are the test set, the next the validation set; see random_indices."""
  n = len(order)
  for name, value in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
    errors.require(0 <= value < 1, f"data.{name} = {value}; it must be at least 0 and less than 1.")
  num_test, num_valid = round(test_fraction * n), round(valid_fraction * n)
  test, valid, train = order[:num_test], order[num_test : num_test + num_valid], order[num_test + num_valid :]
  parts = {"train": train, "test": test} | ({"valid": valid} if valid_fraction else {})
  for part, indices in parts.items():
    errors.require(
      len(indices) >= 1,
      f"The {part} split is empty: data.valid_fraction = {valid_fraction} and data.test_fraction = {test_fraction} of "
      f"{n} examples.",
    )
  return parts


def fold_indices(n: int, folds: int, fold: int, valid_fraction: float, seed: int) -> dict[str, np.ndarray]:
  """{part: indices} of a fold of cross-validation: a random permutation is cut into `folds` parts of n / folds.

  Part number `fold` is the test set; of the others the first round(valid_fraction n) are the validation set.  The test
  sets of all folds are disjoint and cover all examples; their sizes differ by one at most.  The other sets are as
  large in every fold, so that folds can be lanes of one program: where the test set is a smaller one, one training
  example is left out.

  Raises:
    UserError: an invalid number, or an empty split (valid_fraction = 0 means no validation set).
  """
  errors.require(2 <= folds <= n, f"data.folds = {folds}; it must be 2 to {n}, the number of examples, or 0 for none.")
  errors.require(0 <= fold < folds, f"data.fold = {fold}; it must be 0 to {folds - 1}, as data.folds = {folds}.")
  errors.require(
    0 <= valid_fraction < 1, f"data.valid_fraction = {valid_fraction}; it must be at least 0 and less than 1."
  )
  parts = np.array_split(permutation(n, seed), folds)
  rest, num_valid = np.concatenate(parts[:fold] + parts[fold + 1 :]), round(valid_fraction * n)
  found = {"train": rest[num_valid : n - -(-n // folds)], "test": parts[fold]}
  found |= {"valid": rest[:num_valid]} if valid_fraction else {}
  for part, indices in found.items():
    errors.require(
      len(indices) >= 1,
      f"The {part} split is empty: data.valid_fraction = {valid_fraction} and data.folds = {folds} of {n} examples.",
    )
  return found


def in_folds(
  arrays: Arrays, folds: int, fold: int, valid_fraction: float, seed: int, about: Mapping[str, Any] | None = None
) -> Splits:
  """Splits the examples by fold_indices."""
  taken = {part: take(arrays, i) for part, i in fold_indices(size(arrays), folds, fold, valid_fraction, seed).items()}
  return Splits(taken["train"], taken.get("valid"), taken["test"], about or {})


def at_random(
  arrays: Arrays, valid_fraction: float, test_fraction: float, seed: int, about: Mapping[str, Any] | None = None
) -> Splits:
  """Splits the examples at random, by random_indices."""
  parts = random_indices(size(arrays), valid_fraction, test_fraction, seed)
  taken = {part: take(arrays, indices) for part, indices in parts.items()}
  return Splits(taken["train"], taken.get("valid"), taken["test"], about or {})


def in_order(arrays: Arrays, valid_fraction: float, test_fraction: float) -> Splits:
  """The last examples are the test set, those before them the validation set; sizes as in random_indices."""
  parts = _divided(np.arange(size(arrays))[::-1], valid_fraction, test_fraction)
  taken = {part: take(arrays, indices[::-1]) for part, indices in parts.items()}
  return Splits(taken["train"], taken.get("valid"), taken["test"])

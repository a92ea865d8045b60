"""mnist5k: 5,000 real MNIST digits, 28 x 28, which come with this package.  No download.

They are the first 500 of each class of MNIST's training set (LeCun, Cortes & Burges, 1998), sorted by class.  The split
is fixed and stratified: of each class 400 train, 50 valid and 50 test digits by a permutation of its 500 with numpy's
RandomState(0) (a stream that numpy guarantees), classes interleaved; 4,000 / 500 / 500 in all.
"""

import pathlib

import numpy as np

from dgm_jax.core import files
from dgm_jax.core.batches import take
from dgm_jax.data.published import cache
from dgm_jax.data.splits import Splits, first

_FILE = pathlib.Path(__file__).with_suffix(".npz")
_COUNTS = {"train": 400, "valid": 50, "test": 50}  # of each class


def split_indices(labels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
  """{part: indices into `labels`}, stratified; a permutation of each class in turn."""
  rng = np.random.RandomState(seed)
  shuffled = np.stack([rng.permutation(np.flatnonzero(labels == c)) for c in range(10)])  # [C, 500]
  ends = np.cumsum(list(_COUNTS.values()))
  return {
    part: shuffled[:, end - count : end].T.ravel() for (part, count), end in zip(_COUNTS.items(), ends, strict=True)
  }


def _write(folder: pathlib.Path) -> None:
  stored = files.load_arrays(_FILE)
  arrays = {"x": stored["x"][..., None], "y": stored["y"].astype(np.int32)}
  cache.save(folder, {part: take(arrays, i) for part, i in split_indices(arrays["y"]).items()})


def load(data_dir: str | None = None, train_size: int | None = None) -> Splits:
  """x uint8 [N, 28, 28, 1], y int32 [N]; 4,000 train, 500 valid, 500 test.

  Args:
    data_dir: see cache.data_dir.
    train_size: number of training examples to keep, from the start (None: all); multiples of 10 stay balanced.
  """
  folder = cache.data_dir(data_dir) / "dgm_arrays" / "mnist5k-1.0.0"
  parts = cache.cached(folder, tuple(_COUNTS), _write, what="mnist5k")
  return Splits(**parts | {"train": first(parts["train"], train_size)})

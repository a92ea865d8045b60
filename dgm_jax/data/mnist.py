"""mnist: the 60,000 + 10,000 handwritten digits of LeCun, Cortes and Burges, 28 x 28, through TFDS."""

import pathlib

import numpy as np

from dgm_jax import errors
from dgm_jax.data import cache
from dgm_jax.data.splits import Splits, hold_out_last


def _make(data_dir: pathlib.Path, manual_dir: str | None) -> dict[str, dict[str, np.ndarray]]:
  from dgm_jax.data.builders import mnist as builder_module  # imports TFDS
  from dgm_jax.data.builders import prepare

  source = prepare.prepare(builder_module.DgmMnist, data_dir, manual_dir)
  return {part: prepare.arrays(source[part], x="image", y="label") for part in ("train", "test")}


def load(data_dir: str | None = None, manual_dir: str | None = None, valid_size: int = 0) -> Splits:
  """x uint8 [N, 28, 28, 1], y int32 [N].

  Args:
    data_dir: where TFDS prepares data sets; default $TFDS_DATA_DIR or ~/tensorflow_datasets.
    manual_dir: a folder with the four published .gz files, instead of a download; checksums are verified.
    valid_size: so many of the last training examples are held out (0: none).
  """
  root = cache.data_dir(data_dir)
  parts = cache.cached(root / "dgm_arrays" / "mnist-1", ["train", "test"], lambda: _make(root, manual_dir))
  errors.require(
    len(parts["train"]["x"]) == 60_000 and len(parts["test"]["x"]) == 10_000,
    f"The cached arrays of mnist in {root / 'dgm_arrays'} are incomplete; remove that folder.",
  )
  train, valid = hold_out_last(parts["train"], valid_size)
  return Splits(train, valid, parts["test"])

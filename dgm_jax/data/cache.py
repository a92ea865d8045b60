"""Arrays kept as .npy files, so that a data set is decoded once and then loads in a fraction of a second."""

import os
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
from absl import logging

from dgm_jax.data.splits import Arrays


def data_dir(override: str | None = None) -> pathlib.Path:
  """Where data sets live: the override, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
  return pathlib.Path(override or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _read(folder: pathlib.Path, parts: list[str]) -> dict[str, Arrays]:
  return {
    part: {f.stem: np.load(f, allow_pickle=False) for f in sorted((folder / part).glob("*.npy"))} for part in parts
  }


def _write(folder: pathlib.Path, splits: dict[str, Arrays]) -> None:
  """Writes beside, then renames: another process sees all of it or nothing."""
  beside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
  for part, arrays in splits.items():
    (beside / part).mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
      np.save(beside / part / f"{name}.npy", array)
  try:
    os.replace(beside, folder)
  except OSError:  # another process was first: its arrays are as good
    shutil.rmtree(beside, ignore_errors=True)


def cached(folder: pathlib.Path, parts: list[str], make: Callable[[], dict[str, Arrays]]) -> dict[str, Arrays]:
  """The arrays of `parts` in `folder`; made by `make` and kept there if they are not, or cannot be read."""
  if folder.is_dir():
    try:
      if all((splits := _read(folder, parts)).values()):
        return splits
    except (ValueError, OSError, EOFError) as e:
      logging.warning("The cached arrays in %s cannot be read (%s); making them again.", folder, e)
    shutil.rmtree(folder, ignore_errors=True)
  splits = make()
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _write(folder, splits)
  except OSError as e:
    logging.warning("Arrays not cached: %s cannot be written (%s).", folder, e)
  return splits

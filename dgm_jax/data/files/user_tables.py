"""The user's own tables as arrays: x, the target y and the mask of missing entries."""

import pathlib
import re

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import readers, tables, user_files
from dgm_jax.data.files.table_options import Options, chosen


def _exact(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
  """The values in a type in which pandas can mark missing ones without rounding the others."""
  return values.astype(object) if missing.any() and values.dtype.kind in "iu" else values


def table(path: pathlib.Path, options: Options) -> tuple[Arrays, dict]:
  """x float32 [N, D] of a .csv, .tsv or .parquet file; mask where cells are empty or NaN; y from the target column."""
  import pandas as pd

  found = tables.read(path, options)
  used, target = chosen(found.names, options, path, found.index)
  seen = {j: pd.Series(_exact(found.values[j], found.missing[j])).mask(found.missing[j]) for j in used}
  frame = pd.DataFrame({found.names[j]: column for j, column in seen.items()})
  arrays = user_files.with_mask({"x": user_files.values(readers.numbers(frame, path), path)}, path)
  about: dict = {"columns": [found.names[j] for j in used]}
  if left_out := [found.names[j] for j in found.index if j not in used and j != target]:
    about["reading"] = [f"the index column {name!r} is left out" for name in left_out]
  if target is not None:
    name, y = found.names[target], found.values[target]
    errors.require(not found.missing[target].any(), f"{path}: target {name!r} has missing values.")
    user_files.add_target(arrays, about, y if y.dtype != object else _typed(y), path, name)
    about["target"] = name
  return arrays, about


def _typed(texts: np.ndarray) -> np.ndarray:
  """Texts as integers or other numbers, if all of them are such; else as they are."""
  import pandas as pd

  numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
  if np.isnan(numbers).any():
    return texts
  return numbers.astype(np.int64) if all(re.fullmatch(r"[+-]?\d+", text) for text in texts) else numbers

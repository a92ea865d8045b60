"""Arrays that are given from Python as the data of a run: written to its folder, and read by the data set `array`."""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dgm_jax.core import errors, files
from dgm_jax.training.workdir import legacy_configs

Part = npt.ArrayLike | Mapping[str, npt.ArrayLike]  # x, or {"x": ..., "y": ..., "mask": ...}


def _arrays(part: Part, y: npt.ArrayLike | None = None, mask: npt.ArrayLike | None = None) -> dict[str, np.ndarray]:
  given = dict(part) if isinstance(part, Mapping) else {"x": part}
  given |= {name: array for name, array in (("y", y), ("mask", mask)) if array is not None}
  arrays = {name: np.asarray(array) for name, array in given.items()}
  errors.require("x" in arrays, f"The data lack 'x'; they have {', '.join(arrays) or 'nothing'}.")
  for name, array in arrays.items():
    errors.require(array.ndim >= 1, f"{name} = {array!r}; an array [N, ...] is expected.")
    errors.require(
      array.dtype.kind in "biufUS", f"{name} holds {array.dtype}; numbers, or strings as class labels, are expected."
    )
    errors.require(
      len(array) == len(arrays["x"]), f"{name} has {len(array)} rows, but x has {len(arrays['x'])}; they must agree."
    )
  return arrays


def require_x(x: Any, **others: Any) -> None:
  """Raises UserError if y, mask, valid or test are given without x, whose data they belong to."""
  given = [name for name, value in others.items() if value is not None]
  errors.require(x is not None or not given, f"{' and '.join(given)} without x: they belong to data given as x.")


def collect(
  x: Part,
  y: npt.ArrayLike | None = None,
  mask: npt.ArrayLike | None = None,
  valid: Part | float | None = None,
  test: Part | float | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
  """({name: array} of a file data.npz, options of the data set `array`) of data that are given as arrays.

  Args:
    x: examples [N, ...], or a mapping of x, y, mask and further arrays with a row for each example.
    y, mask: labels [N]; 1 where x is observed, in x's shape.
    valid, test: the validation and the test set, like x, or the share of x to hold out at random (by default 0.1).

  Raises:
    UserError: an invalid shape, dtype or combination of arrays.
  """
  arrays, options, parts = _arrays(x, y, mask), {}, {}
  for name, part in (("valid", valid), ("test", test)):
    if isinstance(part, int | float):
      options[f"{name}_fraction"] = float(part)
    elif part is not None:
      parts[name] = _arrays(part)
  errors.require("valid" not in parts or "test" in parts, "valid= is an array, so test= must be one, too.")
  if "test" not in parts:
    return arrays, options
  for name, part in parts.items():
    errors.require(
      part.keys() == arrays.keys(),
      f"{name}= has {', '.join(part)}, but the training data have {', '.join(arrays)}: give a mapping of the same.",
    )
  named = {f"{name}_{part}": a for part, found in {"train": arrays, **parts}.items() for name, a in found.items()}
  return named, options


def data_settings(place: pathlib.Path, options: Mapping[str, float]) -> dict[str, Any]:
  """{path: value} of config.data for the arrays in a folder, whose prepared splits are kept there as well."""
  data = {"name": "array", "path": str(place / legacy_configs.OWN_DATA), "data_dir": str(place)} | dict(options)
  return {f"data.{name}": value for name, value in data.items()}


def write_arrays(place: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes the arrays to place/data.npz, unless they are there already.

  Raises:
    UserError: the folder holds other data, or cannot be written.
  """
  path = place / legacy_configs.OWN_DATA
  if path.exists():
    known = files.load_arrays(path)
    same = known.keys() == arrays.keys() and all(
      np.array_equal(known[k], a, equal_nan=a.dtype.kind == "f") for k, a in arrays.items()
    )
    errors.require(same, f"{place} holds a run or a sweep of other data; name another folder.")
    return
  try:
    files.save_arrays(path, **arrays)
  except OSError as e:
    raise errors.UserError(f"{path} cannot be written: {e.strerror}.") from e


def remove_arrays(place: pathlib.Path) -> None:
  """Removes the arrays of a run or sweep that did not start."""
  if not place.is_dir():
    return
  (place / legacy_configs.OWN_DATA).unlink(missing_ok=True)
  shutil.rmtree(place / legacy_configs.PREPARED, ignore_errors=True)

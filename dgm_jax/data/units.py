"""Numbers whose differences float32 loses, such as 1.7e9 +- 10.

They stay in float64 when they are read, and reach a model as (value - loc) / scale in float32, with the moments of the
training split.  Programs compute in float32, whose 24 bits are relative to zero and not to the spread of a feature.
The transforms `standardize` and `standardize_targets` therefore begin on the host, in float64, for such data; all other
data enter the programs as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data.splits import Splits

_ROWS = 20_000  # evenly spaced examples that are looked at
_LOSS = 1e-4  # of a feature's interquartile range: a smaller rounding error is harmless
_REFUSED = 1e-2  # the error that is still accepted where standardising is of no more help
_FAR = 1000  # standard deviations from zero: standardised numbers are less
_WHOLE = 2**24  # float32 holds all smaller integers
_TINY = np.finfo(np.float32).tiny  # programs may flush smaller numbers to zero
_TRANSFORMS = {"x": "standardize", "y": "standardize_targets"}


def _loses(values: np.ndarray, share: float) -> bool:
  """Whether different numbers [N] become equal in float32 with errors above this share of their interquartile range."""
  seen = np.unique(values[~np.isnan(values)])
  rounded = seen.astype(np.float32)
  rounded[np.abs(rounded) < _TINY] = 0
  if len(np.unique(rounded)) == len(seen):
    return False
  low, high = np.quantile(seen, (0.25, 0.75))
  return bool(np.median(np.abs(seen - rounded)) > share * (high - low))


def lost(x: np.ndarray, mask: np.ndarray | None = None, share: float = _LOSS) -> int | None:
  """The first feature, in flat order, of x [N, ...] that float32 would distort; None if there is none.

  Args:
    x: numbers of any type; NaN where missing.
    mask: 0 where an entry is missing.
    share: of a feature's interquartile range; greater rounding errors distort it.
  """
  if x.dtype != np.float64 and not (x.dtype.kind in "iu" and x.dtype.itemsize >= 4):
    return None
  some = slice(None, None, -(-len(x) // _ROWS) or 1)
  flat = np.asarray(x[some], np.float64).reshape(-1, int(np.prod(x.shape[1:])))
  if x.dtype.kind in "iu" and np.abs(flat).max(initial=0) <= _WHOLE:
    return None
  if mask is not None:
    flat = np.where(mask[some].reshape(flat.shape) > 0, flat, np.nan)
  return next((j for j, column in enumerate(flat.T) if _loses(column, share)), None)


def _moments(x: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation of the observed entries of each feature, float64; 1 in place of a deviation of 0."""
  seen = np.ones(x.shape, bool) if mask is None else mask > 0
  count = np.maximum(seen.sum(0), 1)
  loc = np.where(seen, x, 0.0).sum(0) / count
  scale = np.sqrt(np.square(np.where(seen, x - loc, 0.0)).sum(0) / count)
  return loc, np.where(scale > 0, scale, 1.0)


def in_units(x: np.ndarray, units: Mapping[str, Any], mask: np.ndarray | None = None) -> np.ndarray:
  """(x - loc) / scale, float64; 0 where mask is 0."""
  found = (x - np.asarray(units["loc"])) / np.asarray(units["scale"])
  return found if mask is None else np.where(mask > 0, found, 0.0)


def _feature(key: str, j: int, splits: Splits) -> str:
  columns = splits.about.get("columns") or splits.about.get("genes") or ()
  return "y" if key == "y" else f"column {columns[j]!r}" if j < len(columns) else f"feature {j} of x"


def _check(key: str, j: int, splits: Splits, names: Sequence[str]) -> None:
  """Raises UserError unless the first transform of x is `standardize`, or one of y `standardize_targets`."""
  of_x = [name for name in names if name.partition(":")[0] not in ("standardize_targets", "condition", "labelled")]
  errors.require(
    "standardize_targets" in names if key == "y" else of_x[:1] == ["standardize"],
    f"Different values of {_feature(key, j, splits)} become equal in float32, as they are far from zero or tiny: put "
    f"the transform {_TRANSFORMS[key]!r} first in data.transforms, which then works in float64, or rescale them "
    "yourself.",
  )


def reduced(splits: Splits, names: Sequence[str]) -> Splits:
  """The splits with x and y in float32, (value - loc) / scale, where float32 would lose their differences.

  about["units"] then has {"x": {"loc", "scale"}}, by which `converted` takes further examples and the pipeline the
  densities; about["reading"] says it in words.

  Args:
    splits: x and y in float64 or as integers, or in any other type, which is not changed.
    names: the transforms; see pipeline.make.

  Raises:
    UserError: the transforms do not standardise these numbers.
  """
  units, parts = {}, splits.parts()
  for key in _TRANSFORMS:
    mask = "mask" if key == "x" else ""
    features = (lost(a[key], a.get(mask)) for a in parts.values() if key in a and a[key].dtype.kind in "fiu")
    if (j := next((j for j in features if j is not None), None)) is None:
      continue
    _check(key, j, splits, names)
    train = parts["train"]
    loc, scale = _moments(train[key], train.get(mask))
    units[key] = {"loc": loc.tolist(), "scale": scale.tolist()}
    found = {p: in_units(a[key], units[key], a.get(mask)) for p, a in parts.items()}
    worst = lost(found["train"], train.get(mask), _REFUSED)
    errors.require(
      worst is None,
      f"Different values of {_feature(key, worst or 0, splits)} become equal in float32 even when they are "
      "standardised, as a few others are too far away: mark those by data.missing, or leave them out.",
    )
    parts = {p: a | {key: found[p].astype(np.float32)} for p, a in parts.items()}
  if not units:
    return splits
  reading = [f"{key} is read in float64, as float32 makes different values of it equal" for key in units]
  about = dict(splits.about) | {"units": units, "reading": [*splits.about.get("reading", ()), *reading]}
  return splits._replace(**parts, about=about)


def log_scale(units: Mapping[str, Any]) -> np.ndarray | None:
  """log scale of each feature of x, float32 [...]; None if x has no units of its own."""
  return np.log(np.asarray(units["x"]["scale"])).astype(np.float32) if "x" in units else None


def converted(arrays: Arrays, units: Mapping[str, Any]) -> Arrays:
  """Further examples in the units of the splits, about["units"], as `reduced` has them; those of the splits stay.

  Raises:
    UserError: x or y is in float32, which has lost its differences.
  """
  mask, found = {"x": arrays.get("mask")}, dict(arrays)
  for key in units.keys() & arrays.keys():
    if (a := arrays[key]).dtype == np.float32:
      loc, scale = np.asarray(units[key]["loc"]), np.asarray(units[key]["scale"])
      far = np.broadcast_to(np.abs(loc) > _FAR * scale, a.shape)
      errors.require(
        not far.any() or np.median(np.abs(a[far])) < _FAR,
        f"{key} is float32, which makes different values of it equal; give it as float64.",
      )
    else:
      found[key] = in_units(a, units[key], mask.get(key)).astype(np.float32)
  return found

"""Further examples for a trained model, in the type and on the scale of the data that it was trained on."""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays


def _range(x: np.ndarray) -> str:
  return f"x is {x.dtype} in [{x.min():.4g}, {x.max():.4g}]"


def _levels(x: np.ndarray) -> np.ndarray:
  """Grey levels as uint8; black and white (bool) are 0 and 255."""
  if x.dtype == bool:
    return np.where(x, 255, 0).astype(np.uint8)
  errors.require(
    bool((x == np.round(x)).all()) and x.min() >= 0 and x.max() <= 255,
    f"{_range(x)}, but the model was trained on grey levels: uint8, 0 to 255.",
  )
  errors.require(
    x.dtype == np.uint8 or x.max() != 1,
    f"{_range(x)}: give grey levels 0 to 255 as uint8, or black and white as bool.",
  )
  return x.astype(np.uint8)


def as_trained(x: np.ndarray, dtype: str, takes_shades: bool) -> np.ndarray:
  """x in the type that the training set has.

  Args:
    x: examples in any type, without NaN.
    dtype: that of the training set's x.
    takes_shades: whether the first transform takes grey levels (uint8), bool, and numbers in [0, 1] alike.

  Raises:
    UserError: x cannot be on the scale of the training set.
  """
  if dtype == "uint8":
    return x.astype(np.float32) if takes_shades and x.dtype.kind == "f" else _levels(x)
  if x.dtype.kind in "iu" and dtype == "bool" and x.max() <= 1 and x.min() >= 0:
    return x.astype(bool)
  if x.dtype in (np.uint8, bool) and takes_shades:
    return x
  if dtype.startswith(("int", "uint")):
    limits = np.iinfo(dtype)
    errors.require(
      bool((x == np.round(x)).all()) and x.min() >= limits.min and x.max() <= limits.max,
      f"{_range(x)}, but the model was trained on whole numbers ({dtype}).",
    )
    return x.astype(dtype)
  return x.astype(np.float32)


def without_missing(arrays: Arrays, takes_mask: bool) -> Arrays:
  """The arrays with x = 0 where the mask is 0, whatever x is there.

  Raises:
    UserError: x holds texts, NaN or Inf where it is observed, or there is a mask and the model takes none.
  """
  x = arrays["x"]
  errors.require(x.dtype.kind in "biuf", f"x holds {x.dtype}, where numbers are expected.")
  if "mask" in arrays:
    seen = arrays["mask"].reshape(x.shape) > 0
    errors.require(takes_mask or bool(seen.all()), "x has missing entries (mask = 0), and this model takes no mask.")
    x = np.where(seen, x, np.zeros((), x.dtype))
    arrays = arrays | {"x": x, "mask": seen.astype(np.float32)}
  missing = int(np.isnan(x).sum())
  hint = "give {'x': x, 'mask': mask} with mask = 0 there" if takes_mask else "this model does not support missing ones"
  errors.require(missing == 0, f"x has {missing} entries that are NaN; {hint}.")
  errors.require(not np.isinf(x).any(), "x holds Inf.")
  return arrays

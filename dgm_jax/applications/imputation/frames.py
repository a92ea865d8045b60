"""DataFrames and object arrays with columns of text or of categories, as the numbers that MIWAEImputer is fitted to.

A column of classes is coded 0 .. C - 1 in the order of its classes, -1 for a class that the fit did not see; a missing
entry is NaN.  `Layout.restored` writes imputed numbers back, so that the result has the input's types and categories.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dgm_jax.data.files.table_options import key, keys

_MOST_CLASSES = 100


def mixed(X: Any) -> pd.DataFrame | None:
  """X [N, D] as a DataFrame if the types of some columns say that they hold classes; None if all hold numbers.

  Raises: see as_frame.
  """
  if isinstance(X, pd.DataFrame):
    plain = all(isinstance(kind, np.dtype) and kind.kind in "fiu" for kind in X.dtypes)
  else:
    plain = not isinstance(X, np.ndarray | list | tuple) or np.asarray(X).dtype.kind not in "OU"
  if plain:
    return None
  frame = as_frame(X)
  return frame if by_type(frame) else None


def as_frame(X: Any) -> pd.DataFrame:
  """X [N, D] as a DataFrame.

  Raises:
    ValueError: X does not have two dimensions, or holds dates or complex numbers.
    TypeError: an entry of an array is neither a text nor a number.
  """
  if isinstance(X, pd.DataFrame):
    is_number, is_object = pd.api.types.is_numeric_dtype, pd.api.types.is_object_dtype
    for name, kind in X.dtypes.items():
      if not (_is_category(kind) or is_number(kind) or is_object(kind) or kind == "string"):
        raise ValueError(f"Column {name!r} of X holds {kind}; numbers, texts or categories are supported.")
    return X
  X = np.asarray(X, dtype=object)
  if X.ndim != 2:
    raise ValueError(f"Expected a 2D array [N, D], got shape {X.shape}. Reshape your data.")
  for value in X.ravel():
    if not (value is None or isinstance(value, str | int | float | complex | np.generic) or value is pd.NA):
      raise TypeError(f"An entry of X: argument must be a string or a number, not {type(value).__name__}.")
    if isinstance(value, complex | np.complexfloating):
      raise ValueError(f"Complex data not supported: {value}.")
  return pd.DataFrame(X)


def _is_category(kind: Any) -> bool:
  return isinstance(kind, pd.CategoricalDtype)


def _numbers(column: pd.Series) -> np.ndarray | None:
  """A column as float64, NaN where missing; None if it holds something else."""
  if pd.api.types.is_bool_dtype(column.dtype):
    return column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
  try:
    return pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
  except (TypeError, ValueError):
    return None


def _is_text(column: pd.Series) -> bool:
  """Whether some entry is a text or a truth value: then the column holds classes.  "1" is a text, 1 is a number."""
  if _is_category(column.dtype):
    column = pd.Series(column.dtype.categories)
  if pd.api.types.is_numeric_dtype(column.dtype):
    return False
  seen = column.dropna()
  is_class = seen.map(lambda v: isinstance(v, str | bool | np.bool_))
  return bool(is_class.any()) or (len(seen) > 0 and _numbers(seen) is None)


def by_type(frame: pd.DataFrame) -> set[int]:
  """Indices of the columns whose type says that they hold classes: category, text or bool."""
  return {j for j, k in enumerate(frame.dtypes) if _is_category(k) or pd.api.types.is_bool_dtype(k)} | texts(frame)


def texts(frame: pd.DataFrame) -> set[int]:
  """Indices of the columns with entries that are no numbers."""
  return {j for j in range(frame.shape[1]) if _is_text(frame.iloc[:, j])}


class Layout(NamedTuple):
  """How the columns of a DataFrame are coded.

  Attributes:
    classes: for each column its classes in the order of their codes; None for numbers.
  """

  classes: tuple[tuple[Any, ...] | None, ...]

  @classmethod
  def of(cls, frame: pd.DataFrame, categorical: Sequence[int] | set[int]) -> "Layout":
    """The layout of the frame of a fit; a category column has the classes that occur, in the order of its categories.

    Raises:
      ValueError: a column has more than 100 classes.
    """
    found: list[tuple[Any, ...] | None] = []
    for j in range(frame.shape[1]):
      column = frame.iloc[:, j]
      if j not in categorical:
        found.append(None)
        continue
      seen = list({key(v): v for v in column.dropna().tolist()[::-1]}.values())  # "1" and "1.0" are one class
      if _is_category(column.dtype):
        classes = [c for c in column.dtype.categories if c in seen]
      else:
        classes = sorted(seen, key=lambda v: (isinstance(v, str), v if isinstance(v, str) else float(v)))
      if len(classes) > _MOST_CLASSES:
        raise ValueError(
          f"Column {frame.columns[j]!r} of X has {len(classes)} classes; at most {_MOST_CLASSES} are supported."
        )
      found.append(tuple(classes))
    return cls(tuple(found))

  def encoded(self, frame: pd.DataFrame) -> np.ndarray:
    """The frame as float64 [N, D]; NaN where missing, -1 for an unknown class.

    Raises:
      ValueError: a column of numbers holds something else.
    """
    parts = []
    for j, classes in enumerate(self.classes):
      column = frame.iloc[:, j]
      if classes is None:
        if (values := _numbers(column)) is None:
          raise ValueError(f"Column {frame.columns[j]!r} of X holds texts, but it held numbers in the fit.")
      else:
        known, gone = {key(c): code for code, c in enumerate(classes)}, column.isna().to_numpy(bool)
        values = np.full(len(column), np.nan)
        values[~gone] = [known.get(k, -1) for k in keys(column[~gone].tolist())]
      parts.append(values)
    return np.stack(parts, 1).astype(np.float64)

  def restored(self, frame: pd.DataFrame, x: np.ndarray, kept: Sequence[int]) -> pd.DataFrame:
    """The columns `kept` of a frame, with its missing entries from x [N, D]; NaN there leaves them missing.

    A column keeps its type; integers become floats where a number was imputed, as expectations are not whole.
    """
    made = {}
    for j in kept:
      column, classes = frame.iloc[:, j], self.classes[j]
      gone = column.isna().to_numpy(bool) & ~np.isnan(x[:, j])
      if gone.any():
        column = self._filled(column, gone, x[gone, j], classes)
      made[j] = column
    out = pd.DataFrame(made, index=frame.index)
    out.columns = frame.columns[list(kept)]
    return out

  @staticmethod
  def _filled(column: pd.Series, gone: np.ndarray, x: np.ndarray, classes: tuple[Any, ...] | None) -> pd.Series:
    if classes is not None:
      values = [classes[int(code)] for code in x]
      if _is_category(column.dtype):
        column = column.cat.add_categories([c for c in dict.fromkeys(values) if c not in column.cat.categories])
    elif pd.api.types.is_float_dtype(column.dtype) and isinstance(column.dtype, np.dtype):
      values = x.astype(column.dtype)
    else:
      values = x.tolist()
      if _is_category(column.dtype) or pd.api.types.is_integer_dtype(column.dtype):
        column = column.astype("Float64")
    filled = column.array.copy()
    filled[gone] = values
    return pd.Series(filled, index=column.index)

"""The kinds of a table's columns, and the encoding of their entries as the numbers a model is fitted to."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dgm_jax.core import errors
from dgm_jax.data.files.table_options import key, keys, notation

_MAX_CLASSES = 100
_INTEGER = re.compile(r"[+-]?\d+")
_LIKELIHOODS = {"real": "student_t", "integer": "student_t", "binary": "bernoulli", "categorical": "categorical({})"}


class Column(NamedTuple):
  """A column as described by its observed entries.

  Attributes:
    name: of the column.
    kind: real, integer, binary (two values) or categorical; or constant, empty or ignored, which are not modelled.
    classes: the distinct values of a binary or categorical column, or the value of a constant one, as in the table.
    loc, scale: mean and standard deviation of a real or integer column: the model is fitted to (x - loc) / scale.
    low, high: smallest and largest observed value: imputed values stay within this range.
  """

  name: str
  kind: str
  classes: tuple[Any, ...] = ()
  loc: float = 0.0
  scale: float = 1.0
  low: float = -np.inf
  high: float = np.inf

  @property
  def modelled(self) -> bool:
    return self.kind in _LIKELIHOODS

  @property
  def numeric(self) -> bool:
    return self.kind in ("real", "integer")

  @property
  def likelihood(self) -> str:
    """The likelihood as an entry of `columns` of the likelihood 'mixed'."""
    return _LIKELIHOODS[self.kind].format(len(self.classes))


def _numbers(values: np.ndarray) -> np.ndarray:
  """Values as float64, NaN where a value is not a number."""
  if values.dtype.kind in "fiub":
    return values.astype(np.float64)
  return pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(np.float64)


def _integers(values: np.ndarray, numbers: np.ndarray) -> bool:
  if values.dtype == object:  # the text "7.0" counts as a real number
    return all(map(_INTEGER.fullmatch, values))
  return bool((numbers == np.round(numbers)).all())


def infer(name: str, values: np.ndarray, missing: np.ndarray, kind: str | None = None) -> Column:
  """Infers a column's kind from its observed entries.

  Texts are classes, as is any column with exactly two distinct values; other numbers are integer or real.

  Args:
    name: of the column.
    values: [N], texts or numbers.
    missing: bool [N].
    kind: "numeric" or "categorical" to set the kind instead of inferring it; or "ignored".

  Raises:
    UserError: the column has infinite numbers, mixes numbers and texts, or has too many classes.
  """
  if kind == "ignored":
    return Column(name, "ignored")
  seen = values[~missing]
  if not len(seen):
    return Column(name, "empty")
  numbers = _numbers(seen)
  _check_finite(name, values, missing, numbers)
  texts = pd.unique(seen[np.isnan(numbers)])
  if kind == "numeric":
    hint = notation(texts[0]) if len(texts) else ""
    errors.require(
      not len(texts), f"Column {name!r} is declared numeric but holds {_some(texts)}{hint and f': {hint}'}."
    )
  distinct = pd.unique(keys(seen))
  if len(distinct) == 1:
    return Column(name, "constant", tuple(seen[:1]))
  if kind == "categorical" or (kind is None and (len(texts) or len(distinct) == 2)):
    _check_classes(name, seen, numbers, texts, kind)
    return _classes(name, seen)
  integers = _integers(seen, numbers)
  return Column(name, "integer" if integers else "real")


def _check_finite(name: str, values: np.ndarray, missing: np.ndarray, numbers: np.ndarray) -> None:
  if np.isinf(numbers).any():
    row = np.nonzero(~missing)[0][np.isinf(numbers)][0]
    raise errors.UserError(
      f"Column {name!r} is infinite in row {row + 1}; --missing={values[row]} marks this value as missing."
    )


def _check_classes(name: str, seen: np.ndarray, numbers: np.ndarray, texts: np.ndarray, kind: str | None) -> None:
  distinct = len(pd.unique(keys(seen)))
  if kind is None and len(texts):
    like = [text for text in texts if notation(text)]
    errors.require(
      2 * len(like) < len(texts),
      f"Column {name!r} holds {_some(np.array(like))}: {like and notation(like[0])}; --categorical={name} treats the "
      "texts as classes.",
    )
    errors.require(
      2 * np.isfinite(numbers).sum() < len(seen),
      f"Column {name!r} holds numbers as well as {_some(texts)}: --missing={texts[0]} marks this text as missing, "
      f"--categorical={name} treats all values as classes.",
    )
    errors.require(
      2 * distinct <= len(seen) or len(seen) < 10,
      f"Column {name!r} has {distinct} different texts in {len(seen)} entries: --ignore={name} leaves the "
      f"column unchanged, --categorical={name} treats the texts as classes.",
    )
  errors.require(
    distinct <= _MAX_CLASSES,
    f"Column {name!r} has {distinct} classes; at most {_MAX_CLASSES} are supported: --ignore={name} leaves the column "
    "unchanged.",
  )


def _some(texts: np.ndarray) -> str:
  shown = ", ".join(map(repr, map(str, texts[:3])))
  return shown if len(texts) <= 3 else f"{shown} and {len(texts) - 3} other texts"


def _classes(name: str, seen: np.ndarray) -> Column:
  """The column with its classes, as first spelled, sorted: numerically if all are numbers, else as texts."""
  distinct = seen[~pd.Series(keys(seen)).duplicated().to_numpy()]
  numbers = _numbers(distinct)
  order = np.argsort(distinct.astype(str)) if np.isnan(numbers).any() else np.argsort(numbers, kind="stable")
  classes = tuple(distinct[order])
  return Column(name, "binary" if len(classes) == 2 else "categorical", classes, low=0, high=len(classes) - 1)


def spelled(column: Column, values: np.ndarray, missing: np.ndarray) -> Column:
  """The column with its classes as a table spells them that has them: 1.0 where the fit had 1."""
  if not column.classes or column.kind == "ignored":
    return column
  seen = values[~missing]
  own = dict(zip(keys(seen)[::-1], seen[::-1], strict=True))
  return column._replace(classes=tuple(own.get(key(c), c) for c in column.classes))


def encode(columns: Sequence[Column], values: Sequence[np.ndarray], missing: Sequence[np.ndarray]) -> np.ndarray:
  """The modelled columns as float64 [N, D], classes as their indices; NaN where missing or where a class is unknown."""
  return np.stack([_encode(*column) for column in zip(columns, values, missing, strict=True) if column[0].modelled], 1)


def _encode(column: Column, values: np.ndarray, missing: np.ndarray) -> np.ndarray:
  x = np.full(len(values), np.nan)
  seen = values[~missing]
  if column.numeric:
    x[~missing] = _numbers(seen)
    _check_finite(column.name, values, missing, x[~missing])
    errors.require(
      not np.isnan(x[~missing]).any(),
      f"Column {column.name!r} is numeric but holds {_some(pd.unique(seen[np.isnan(x[~missing])]))}.",
    )
  else:
    known = {key(c): float(code) for code, c in enumerate(column.classes)}
    codes, distinct = pd.factorize(keys(seen))
    x[~missing] = np.array([known.get(value, np.nan) for value in distinct])[codes]
  return x


def scaled(columns: Sequence[Column], x: np.ndarray) -> tuple[Column, ...]:
  """The columns with mean, standard deviation and range of the observed entries of x [N, D], NaN where missing."""
  measured = []
  for column, values in zip(columns, x.T, strict=True):
    seen = values[~np.isnan(values)]
    if column.numeric and len(seen):
      spread = seen.std() or 1.0
      column = column._replace(loc=seen.mean(), scale=spread, low=seen.min(), high=seen.max())
    measured.append(column)
  return tuple(measured)


def standardise(columns: Sequence[Column], x: np.ndarray) -> np.ndarray:
  """(x - loc) / scale, [..., D] float32."""
  loc, scale = (np.array([getattr(c, name) for c in columns]) for name in ("loc", "scale"))
  return ((x - loc) / scale).astype(np.float32)


def restore(columns: Sequence[Column], cells: np.ndarray, column: np.ndarray) -> np.ndarray:
  """Standardised values [..., C] of cells in `column` [C], in the table's units: float64, rounded, clipped to range."""
  loc, scale, low, high = (
    np.array([getattr(c, name) for c in columns])[column] for name in ("loc", "scale", "low", "high")
  )
  whole = np.array([c.kind != "real" for c in columns])[column]
  x = cells * scale + loc
  return np.clip(np.where(whole, np.round(x), x), low, high)

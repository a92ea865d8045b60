"""Compares imputation methods by their errors on observed entries that were hidden from all of them."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.imputation import baselines, cells
from dgm_jax.applications.imputation.columns import Column
from dgm_jax.applications.imputation.fitted import Fitted

_FOREST = 60_000  # cells; the trees of a table of this size take about a gigabyte


class Errors(NamedTuple):
  """Errors of one method.

  Attributes:
    by_column: root mean squared error in the table's units for a numeric column, share of wrong classes for a
      categorical one; None where nothing was hidden.
    numbers: root mean squared error over all numbers, each in standard deviations of its column, or None.
    classes: share of wrong classes over all categorical columns, or None.
    seconds: run time of the method.
  """

  by_column: list[float | None]
  numbers: float | None
  classes: float | None
  seconds: float


def measure(
  columns: Sequence[Column], truth: np.ndarray, filled: np.ndarray, hidden: np.ndarray, seconds: float
) -> Errors:
  """The errors of `filled` [N, D] on the hidden entries."""
  numeric, scale = (np.array([getattr(c, name) for c in columns]) for name in ("numeric", "scale"))
  wrong = np.where(numeric, np.square((filled - truth) / scale), filled != truth)

  def mean(where):
    return float(wrong[where].mean()) if where.any() else None

  by_column = [mean(hidden & (np.arange(len(columns)) == d)) for d in range(len(columns))]
  by_column = [
    e if e is None or not c.numeric else float(np.sqrt(e) * c.scale) for c, e in zip(columns, by_column, strict=True)
  ]
  numbers = mean(hidden & numeric)
  return Errors(by_column, None if numbers is None else numbers**0.5, mean(hidden & ~numeric), seconds)


def methods(x: np.ndarray) -> tuple[str, ...]:
  """The default baselines to compare with; trees take too long on large tables."""
  return ("mean", "knn", "forest") if x.size <= _FOREST else ("mean", "knn")


def compare(
  fitted: Fitted, x: np.ndarray, hidden: np.ndarray, names: Sequence[str], **options: Any
) -> tuple[dict[str, Errors], float | None]:
  """({method: Errors}, share of hidden numbers that lie in their 90 % interval).

  Args:
    fitted: the model, fitted to x without the hidden entries.
    x: [N, D], NaN where missing.
    hidden: bool [N, D], the observed entries that were hidden.
    names: of the baselines, which are also fitted to x without the hidden entries.
    options: num_samples and seed of cells.impute.
  """
  seen, rows = np.where(hidden, np.nan, x), hidden.any(1)
  start = time.monotonic()
  found = cells.impute(fitted, seen, where=hidden, hidden=hidden, **options)
  filled = seen.copy()
  filled[found.row, found.column] = found.x
  seconds = time.monotonic() - start
  errors = {"miwae": measure(fitted.columns, x, filled, hidden, seconds)}
  num_classes = [0 if c.numeric else len(c.classes) for c in fitted.columns]
  for name in names:
    start = time.monotonic()
    baseline = baselines.make(name, num_classes, options["seed"]).fit(seen)
    filled[rows] = baseline.transform(seen[rows])
    errors[name] = measure(fitted.columns, x, filled, hidden, time.monotonic() - start)
  truth, numbers = x[found.row, found.column], np.isfinite(found.low)
  inside = ((found.low <= truth) & (truth <= found.high))[numbers]
  return errors, float(inside.mean()) if len(inside) else None

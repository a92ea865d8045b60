"""Counts of single cells as the arrays of a data set: checks of counts and columns, moments of the libraries, genes.

Arrays: x [N, G], `batch`, `y` (-1 where unlabelled), `categories` [N, C], `continuous` [N, F], `size_factor`, and
`log_factorials`, see distributions/likelihoods/counts.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.special

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data.splits import Splits

_SMALL = 10  # as counts.SMALL
_MOST = 1_000  # categories of a column
_FAR = 20.0  # absolute values of a continuous covariate, or standard deviations, that are taken for unscaled


def check_counts(x: np.ndarray, cells: Sequence[str], genes: Sequence[str], where: str) -> None:
  """Raises UserError unless x [N, G] holds counts: the sentence names the first cell and gene that does not."""
  errors.require(x.dtype.kind in "biuf", f"{where} holds {x.dtype}, where counts are expected.")
  if x.dtype.kind == "f":
    _refuse(~np.isfinite(x), x, cells, genes, where, "counts have no NaN or Inf; remove the cell, or set 0")
  _refuse(x < 0, x, cells, genes, where, "counts are not negative: give raw counts, before scaling")
  if x.dtype.kind == "f":
    advice = "whole numbers are expected: give raw counts, not normalised or logged ones (layer= chooses a layer)"
    _refuse(x != np.floor(x), x, cells, genes, where, advice)


def _refuse(wrong: np.ndarray, x: np.ndarray, cells: Any, genes: Any, where: str, advice: str) -> None:
  if wrong.any():
    i, j = np.argwhere(wrong)[0]
    raise errors.UserError(f"{where} has {x[i, j]:g} for cell {cells[i]!r} and gene {genes[j]!r}; {advice}.")


def check_totals(totals: np.ndarray, cells: Sequence[str], where: str) -> None:
  """Raises UserError if a cell has no counts, whose library would have the logarithm -inf."""
  empty = np.flatnonzero(totals == 0)
  if len(empty):
    raise errors.UserError(
      f"{where}: cell {cells[empty[0]]!r} has no counts in the genes used, as {len(empty):,} of {len(totals):,} cells "
      "do not; remove these cells."
    )


def check_genes(sums: np.ndarray, genes: Sequence[str], where: str) -> None:
  """Raises UserError if a gene has no counts in any cell."""
  empty = np.flatnonzero(sums == 0)
  if len(empty):
    raise errors.UserError(
      f"{where}: gene {genes[empty[0]]!r} has no counts in any cell, as {len(empty):,} of {len(sums):,} genes do not; "
      "remove these genes, or choose variable ones (num_genes)."
    )


def missing(values: np.ndarray) -> np.ndarray:
  """Which entries are None, NaN or empty."""
  return np.array(
    [v is None or v != v or (isinstance(v, str) and v in ("", "nan", "NaN", "<NA>")) for v in values.tolist()]
  )


def categories(
  values: np.ndarray, column: str, where: str, known: Sequence[str] | None = None
) -> tuple[np.ndarray, list]:
  """(indices [N], names) of a column of categories.

  Args:
    values: of the cells.
    column, where: its name, and the file's, for messages.
    known: the names of a trained model, among which those of new cells must be.

  Raises:
    UserError: a missing value, numbers that are no categories, or a name that is not known.
  """
  values = np.asarray(values)
  lost = missing(values)
  errors.require(
    not lost.any(),
    f"{where}: column {column!r} has no value for {int(lost.sum()):,} cells, e.g. row {int(lost.argmax()) + 1}; give "
    "them one, or remove these cells.",
  )
  numbers = _as_numbers(values)
  errors.require(
    numbers is None or bool((numbers == np.floor(numbers)).all()),
    f"{where}: column {column!r} holds numbers such as {values[0]}, not categories; name another column, or save it as "
    "text.",
  )
  names = as_texts(values).tolist()
  found = sorted(set(names), key=lambda n: (0, int(n), n) if numbers is not None else (1, 0, n))
  errors.require(
    len(found) <= min(_MOST, max(10, len(names) // 2)) or known is not None,
    f"{where}: column {column!r} has {len(found):,} different values for {len(names):,} cells; it does not hold "
    "categories.",
  )
  if known is not None:
    unknown = sorted(set(found) - set(known))
    errors.require(
      not unknown,
      f"{where}: column {column!r} has {unknown and unknown[0]!r}, which the model has not seen; it knows "
      f"{', '.join(known)}.",
    )
    found = list(known)
  place = {name: i for i, name in enumerate(found)}
  return np.array([place[name] for name in names], np.int32), found


def as_texts(values: np.ndarray) -> np.ndarray:
  """The names of categories: texts, and whole numbers without a decimal point."""
  numbers = _as_numbers(values)
  if numbers is not None and (numbers == np.floor(numbers)).all():
    return np.array([str(int(n)) for n in numbers])
  return np.array([str(v) for v in np.asarray(values).tolist()])


def _as_numbers(values: np.ndarray) -> np.ndarray | None:
  if values.dtype.kind in "iuf":
    return values.astype(np.float64)
  if values.dtype == object and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values):
    return values.astype(np.float64)
  return None


def continuous(values: np.ndarray, column: str, where: str) -> np.ndarray:
  """A continuous covariate, float32 [N].  Raises UserError if it is no number, or far from standardised."""
  try:
    found = np.asarray(values, np.float64)
  except (TypeError, ValueError):
    raise errors.UserError(f"{where}: column {column!r} holds texts, where numbers are expected.") from None
  errors.require(bool(np.isfinite(found).all()), f"{where}: column {column!r} has missing values.")
  errors.require(
    float(np.abs(found).max(initial=0)) <= _FAR,
    f"{where}: column {column!r} has values up to {np.abs(found).max(initial=0):.4g}: standardise a continuous "
    "covariate to mean 0 and standard deviation 1.",
  )
  return found.astype(np.float32)


def labels(
  values: np.ndarray, column: str, where: str, unlabelled: str, known: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
  """(indices [N], -1 for `unlabelled`; names of the classes) of a column of labels; see `categories`.

  Raises:
    UserError: see `categories`; or `unlabelled` is not in the column, and would thus be misspelt, except in cells for a
      trained model (`known`), which may all have a type.
  """
  if not unlabelled:
    return categories(values, column, where, known)
  extended = None if known is None else [*known, unlabelled]
  found, names = categories(values, column, where, extended)
  if unlabelled not in names:
    said = errors.unknown(f"label of cells without a type in column {column!r} of {where}:", unlabelled, names)
    raise errors.UserError(f"{said} Leave it out if every cell has a type.")
  kept = [n for n in names if n != unlabelled]
  place = np.array([kept.index(n) if n != unlabelled else -1 for n in names], np.int32)
  return place[found], kept


def small_log_factorials(x: np.ndarray) -> np.ndarray:
  """sum_g log x_g! over counts up to ten, float32 [N]."""
  of_small = np.where(np.arange(256) <= _SMALL, scipy.special.gammaln(np.arange(256) + 1.0), 0)
  return of_small[np.minimum(x, 255)].sum(-1).astype(np.float32)


def library_moments(
  x: np.ndarray, batch: np.ndarray, num_batches: int, names: Sequence[str] = ()
) -> tuple[list[float], list[float]]:
  """(m_b, v_b): mean and variance of the logarithms of the totals of the cells of each batch.

  Raises:
    UserError: a batch has fewer than two training cells.
  """
  totals = np.concatenate([x[i : i + 4096].sum(-1, dtype=np.int64) for i in range(0, len(x), 4096)])
  logs = np.log(totals.astype(np.float64))
  means, variances = [], []
  for b in range(num_batches):
    of = logs[batch == b]
    errors.require(
      len(of) >= 2,
      f"batch {names[b] if b < len(names) else b!r} has {len(of)} training cells; a batch needs two or more: join it "
      "to another, or remove it.",
    )
    means.append(float(of.mean()))
    variances.append(float(max(of.var(), 1e-6)))
  return means, variances


def described(splits: Splits) -> Splits:
  """The splits of counts [N, G] with about["cells"], the arguments of models of cells that the data determine."""
  train, about = splits.train, dict(splits.about)
  batch = np.asarray(train.get("batch", np.zeros(len(train["x"]), np.int32)))
  parts = splits.parts().values()
  top = lambda name: 1 + max((int(np.max(a[name])) for a in parts if name in a), default=-1)
  num_batches = max(1, len(about.get("batches", ())), top("batch"))
  moments = library_moments(train["x"], batch, num_batches, about.get("batches", ()))
  counts = about.get("category_names", ())
  about["cells"] = {
    "num_batches": num_batches,
    "num_labels": max(len(about.get("classes", ())), top("y")),
    "categories": [len(names) for names in counts],
    "num_continuous": int(train["continuous"].shape[1]) if "continuous" in train else 0,
    "library_moments": [list(m) for m in moments],
  }
  return splits._replace(about=about)


def described_if_counts(splits: Splits) -> Splits:
  """`described` of the user's own arrays where x is counts of cells, with none empty; else the splits as they are."""
  x = splits.train["x"]
  if x.dtype.kind not in "iu" or x.ndim != 2 or not len(x) or x.min() < 0 or x.shape[1] < 2:
    return splits  # `for_model` describes whole numbers in floats, and says what is wrong with others
  try:
    return described(splits) if x.sum(-1, dtype=np.int64).min() > 0 else splits
  except errors.UserError:  # a batch of a single cell
    return splits


def for_model(splits: Splits, where: str) -> dict[str, Any]:
  """The arguments of a model of cells that the data determine; see `described`.

  Raises:
    UserError: x is no matrix of counts, a cell has none, or a batch has a single training cell.
  """
  if "cells" in splits.about:
    return splits.about["cells"]
  for name, part in splits.parts().items():
    x = np.asarray(part["x"])
    errors.require(x.ndim == 2, f"{where}: x has the shape {x.shape}; a model of cells takes counts [cells, genes].")
    cells = [f"{name} {i}" for i in range(len(x))]
    check_counts(x, cells, splits.about.get("genes") or range(x.shape[1]), where)
    check_totals(x.sum(-1, dtype=np.float64), cells, where)
  return described(splits).about["cells"]


def with_factorials(arrays: Arrays) -> Arrays:
  """The arrays with `log_factorials`, which depend on x alone."""
  x = arrays["x"]
  found = [small_log_factorials(np.asarray(x[i : i + 4096])) for i in range(0, len(x), 4096)]
  return arrays | {"log_factorials": np.concatenate(found)}

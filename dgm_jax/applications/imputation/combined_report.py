"""Fits a combination for a report: its entries are hidden first, and used for nothing else."""

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.imputation import combined, comparison, report
from dgm_jax.applications.imputation.columns import Column
from dgm_jax.applications.imputation.combined import Combined
from dgm_jax.core import errors

_REPORTED, _EVIDENCE = (0.03, 200), (0.06, 400)  # least shares of the observed entries, and numbers aimed at
_MOST = 0.15
AUTO = "auto"


class Reported(NamedTuple):
  """What the entries of the report say.

  Attributes:
    errors: of the combination, named by its method, and of each method by itself.
    coverage: share of numbers that lie in their 90 % intervals, by column; None where nothing was hidden.
    width: mean length of these intervals in the table's units, by column.
    log_loss: -log p of hidden classes, nats, mean over the table; None without classes.
    num_hidden: the number of entries.
    share: the mean weight of rows that agree, by column.
  """

  errors: dict[str, comparison.Errors]
  coverage: list[float | None]
  width: list[float | None]
  log_loss: float | None
  num_hidden: int
  share: list[float | None]

  @property
  def overall(self) -> float | None:
    """The coverage of all numbers, columns weighted alike."""
    known = [c for c in self.coverage if c is not None]
    return float(np.mean(known)) if known else None


def rate(x: np.ndarray, of: tuple[float, int]) -> float:
  """The share of observed entries to hide: more in small tables."""
  return min(_MOST, max(of[0], of[1] / max(1, (~np.isnan(x)).sum())))


class Hidden(NamedTuple):
  """Disjoint parts of the observed entries, bool [N, D]: the evidence, and the entries of the report."""

  evidence: np.ndarray
  report: np.ndarray


def hide(x: np.ndarray, method: str, seed: int, report: bool = True) -> Hidden:
  """The entries of x [N, D] to hide; none for the report unless one is wanted.

  Raises:
    UserError: the method weighs others, and nothing can be hidden.
  """
  reported = combined.hide(x, rate(x, _REPORTED), seed + 1) if report else np.zeros(x.shape, bool)
  rest = np.where(reported, np.nan, x)
  known = combined.hide(rest, rate(x, _EVIDENCE), seed)
  errors.require(
    known.any() or method != AUTO,
    f"No column has {combined.LEAST} observed entries, so that none can be hidden to weigh the methods by: choose one, "
    f"--method={', '.join(combined.CANDIDATES)} or miwae.",
  )
  return Hidden(known, reported)


def fit(
  x: np.ndarray, columns: Sequence[Column], method: str, hidden: Hidden, *, seed: int, **options: Any
) -> tuple[Combined, Reported | None]:
  """(the combination of a method, or of `auto`, fitted to x [N, D]; its report, if entries are hidden for one)."""
  rest = np.where(hidden.report, np.nan, x)
  model = combined.fit(rest, columns, hidden.evidence, combined.methods_for(method, x.size), seed=seed, **options)
  return model, measure(model, x, hidden.report, method) if hidden.report.any() else None


def measure(model: Combined, x: np.ndarray, hidden: np.ndarray, method: str) -> Reported:
  """The report of a combination on the hidden entries of x [N, D]."""
  rows, spread, start = hidden.any(1), model.spread, time.monotonic()
  truth, where, seen = x[rows], hidden[rows], np.where(hidden, np.nan, x)[rows]
  found, said = combined.combine(model, seen)
  seconds, columns = time.monotonic() - start, spread.columns
  loc, scale = (np.array([getattr(c, name) for c in columns]) for name in ("loc", "scale"))
  units = lambda features: spread.cells(features)[0] * scale + loc
  by = {method: comparison.measure(columns, truth, units(found.features), where, sum(model.seconds) + seconds)}
  for name, features, took in zip(model.methods, said.features, model.seconds, strict=True):
    if name not in by:
      by[name] = comparison.measure(columns, truth, units(features), where, took)
  z, p = (truth - loc) / scale, []
  inside, width, share = (found.low <= z) & (z <= found.high), (found.high - found.low) * scale, []
  of_column = lambda a, d: float(a[where[:, d], d].mean()) if where[:, d].any() else None
  coverage = [of_column(inside, d) if c.numeric else None for d, c in enumerate(columns)]
  widths = [of_column(width, d) if c.numeric else None for d, c in enumerate(columns)]
  for d, at, of_numbers in spread.parts():
    share.append(of_column(found.share, d))
    if not of_numbers and where[:, d].any():
      picked = found.features[where[:, d], at][np.arange(where[:, d].sum()), truth[where[:, d], d].astype(int)]
      p.append(np.log(np.maximum(picked, 1e-12)))
  log_loss = float(-np.concatenate(p).mean()) if p else None
  return Reported(by, coverage, widths, log_loss, int(hidden.sum()), share)


def weights_of(model: Combined) -> list[dict[str, float]]:
  """{method: weight} of each column, with the methods of weight 0 left out; see Reported.share for rows that agree."""
  return [
    {name: round(float(w), 3) for name, w in zip(model.methods, of_column, strict=True) if w > 5e-4}
    for of_column in model.weights
  ]


_SHIFTED = (
  "imputations by {models} networks, numbers shifted to the combined mean and classes changed to the combined "
  "probabilities; not proper multiple imputation, as their spread ignores the uncertainty of the parameters (see "
  "--method=miwae --proper)"
)
_IGNORABLE = (
  "The errors are those of cells that were observed: they say nothing of cells that are missing because of their own "
  "values. If large or small values go missing more often, compare --method=miwae --mechanism=self_masking"
)


def about(args: argparse.Namespace, model: Combined, found: Reported | None) -> report.Method:
  """The combination's part of the report."""
  said, names = [], [n for n in model.methods if n != "mean" or args.method in ("auto", "mean")]
  record = {"method": args.method, "methods": list(model.methods), "seed": args.seed, "temperature": model.temperature}
  said.append(f"Method {args.method}" + (f": {', '.join(names)}, weighed by column" if args.method == "auto" else ""))
  if model.nets is not None:
    fit = model.nets.fit
    record |= {"models": args.models, "hidden": args.hidden, "steps": fit.steps, "ended": fit.reason}
    said.append(f"{args.models} networks, {fit.steps} steps; ended because {fit.reason}")
  if model.agreeing is not None:
    record |= {"agreeing_width": model.agreeing.width, "agreeing_gates": list(model.agreeing.gates)}
  for d in model.sparse:
    column = model.spread.columns[d]
    what = "mean" if column.numeric else "commonest class"
    said.append(f"Column {column.name!r} has fewer than {combined.LEAST} observed cells and gets its {what}")
  if args.multiple:
    said.append(f"{args.multiple} " + _SHIFTED.format(models=args.models))
  said.append(_IGNORABLE)
  columns = [{"weights": w} for w in weights_of(model)]
  for d, entry in enumerate(columns):
    part = lambda values, d=d: None if found is None else values[d]
    entry |= {"coverage": part(found and found.coverage), "width": part(found and found.width)}
    entry["agreeing"] = part(found and found.share)
  if found is None:
    return report.Method(said, record, {}, None, 0, columns)
  record["log_loss"] = found.log_loss
  return report.Method(said, record, found.errors, found.overall, found.num_hidden, columns)

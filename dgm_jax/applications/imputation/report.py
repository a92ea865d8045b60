"""Reports of an imputation: a .csv with one line per imputed cell, and a summary as text and JSON."""

import argparse
import csv
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.applications.imputation import cells, comparison
from dgm_jax.applications.imputation.columns import Column
from dgm_jax.applications.imputation.fitted import Fitted
from dgm_jax.core import files
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import key

_IMPROPER = (
  "all from one fitted model: not proper multiple imputation, as their spread ignores the uncertainty of its "
  "parameters (see --proper)"
)


def write_cells(path: pathlib.Path, columns: Sequence[Column], found: cells.Imputed) -> None:
  """Writes a .csv with one line per imputed cell: row (from 1), column, value, deviation, low, high, probability."""
  with files.whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
    writer = csv.writer(f)
    writer.writerow(("row", "column", "value", "deviation", "low", "high", "probability"))
    values = zip(
      found.row, found.column, found.x, found.deviation, found.low, found.high, found.probability, strict=True
    )
    for row, d, x, deviation, low, high, probability in values:
      column = columns[d]
      if column.numeric:
        shown = (f"{x:.6g}", f"{deviation:.4g}", f"{low:.6g}", f"{high:.6g}", "")
      else:
        shown = (column.classes[int(x)], "", "", "", f"{probability:.4f}")
      writer.writerow((row + 1, column.name, *shown))


class Method(NamedTuple):
  """A method's part of a report.

  Attributes:
    sentences: how it was fitted, and what is to be known of its results.
    model: the same for JSON.
    errors: {method: Errors}, the first being the one that imputed.
    coverage: share of hidden numbers that lie in their 90 % interval.
    hidden: the number of hidden cells.
    columns: further entries of each modelled column.
    median_ess: median effective number of importance samples.
  """

  sentences: list[str]
  model: dict[str, Any]
  errors: dict[str, comparison.Errors]
  coverage: float | None
  hidden: int
  columns: list[dict[str, Any]] | None = None
  median_ess: float | None = None


def of_miwae(
  args: argparse.Namespace,
  model: Fitted,
  compared: dict[str, comparison.Errors],
  coverage: float | None,
  num_hidden: int,
  found: cells.Imputed,
) -> Method:
  """The part of a MIWAE."""
  about = {"method": args.method, "latents": args.latents, "hidden": args.hidden, "samples": args.samples}
  about |= {"mechanism": args.mechanism, "seed": args.seed, "models": max(args.proper, args.models)}
  about |= {"steps": model.fit.steps, "ended": model.fit.reason, "held_out": model.fit.score}
  score = "" if model.fit.score is None else f"; log p of held-out entries: {model.fit.score:.3f} nats per entry"
  name = "MIWAE" if args.mechanism == "ignorable" else "not-MIWAE with self-masking"
  said = [f"{name}, {args.latents} latents, {model.fit.steps} steps; ended because {model.fit.reason}{score}"]
  if args.proper:
    said.append(
      f"{args.multiple} imputations by {args.proper} models, each fitted to a bootstrap sample of the rows: proper "
      "multiple imputation"
    )
  elif args.multiple:
    said.append(f"{args.multiple} imputations, {_IMPROPER}")
  ess = float(np.median(found.ess)) if len(found.ess) else None
  return Method(said, about, compared, coverage, num_hidden, median_ess=ess)


def make(
  args: argparse.Namespace, columns: Sequence[Column], table: tables.Table, fitted_rows: int, method: Method
) -> dict[str, Any]:
  """The contents of the report, as a dict for JSON."""
  # the index of a data frame is copied, and no column of the table unless the user says so
  shown = [j for j, c in enumerate(columns) if c.kind != "ignored" or j not in table.index]
  missing, compared = np.stack(table.missing, 1), method.errors
  modelled = [j for j, c in enumerate(columns) if c.modelled]
  by_column = []
  for j in shown:
    column = columns[j]
    errors = {m: e.by_column[modelled.index(j)] for m, e in compared.items()} if column.modelled else {}
    unknown = _unknown(column, table.values[j][~table.missing[j]])
    by_column.append(
      {"name": column.name, "kind": column.kind, "missing": int(missing[:, j].sum()), "errors": errors}
      | ({"classes": len(column.classes)} if column.modelled and not column.numeric else {})
      | ({"unknown": unknown} if unknown else {})
      | (method.columns[modelled.index(j)] if column.modelled and method.columns else {})
    )
  return {
    "table": {
      "file": str(args.data),
      "rows": table.num_rows,
      "missing": int(missing[:, shown].sum()),
      "empty_rows": int(missing[:, shown].all(1).sum()),
    },
    "fitted": {"file": str(args.fit or args.data), "rows": fitted_rows, "inductive": args.fit is not None},
    "model": method.model,
    "multiple": {"imputations": args.multiple, "proper": args.proper > 0},
    "columns": by_column,
    "hidden": method.hidden,
    "errors": {m: {"numbers": e.numbers, "classes": e.classes, "seconds": e.seconds} for m, e in compared.items()},
    "coverage": method.coverage,
    "median_ess": method.median_ess,
    "sentences": method.sentences,
  }


def _unknown(column: Column, seen: np.ndarray) -> list[str]:
  """The table's classes that did not occur in the data the model was fitted to."""
  if not column.modelled or column.numeric:
    return []
  known = {key(c) for c in column.classes}
  return sorted(str(value) for value in set(seen.tolist()) if key(value) not in known)


def _number(value: float | None) -> str:
  return "" if value is None else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _sentences(about: dict[str, Any]) -> list[str]:
  table, source = about["table"], about["fitted"]
  cells_ = table["rows"] * len(about["columns"])
  lines = [f"{table['file']}: {table['rows']} rows, {len(about['columns'])} columns, {table['missing']} missing cells "
           f"({100 * table['missing'] / cells_:.1f} %)"]  # fmt: skip
  if table["empty_rows"]:
    lines.append(f"{table['empty_rows']} rows without any observed cell are imputed from the model's marginal p(x)")
  way = "inductive" if source["inductive"] else "transductive: the imputed rows themselves"
  lines.append(f"Fitted to {source['rows']} rows of {source['file']} ({way})")
  lines += about["sentences"]
  for column in about["columns"]:
    if column["kind"] == "empty":
      lines.append(f"Column {column['name']!r} has no observed cell and is left empty")
    if column.get("unknown"):
      listed = ", ".join(column["unknown"][:5])
      lines.append(f"Column {column['name']!r} has classes unknown to the model, kept but treated as missing: {listed}")
  return lines


def _by_column(about: dict[str, Any]) -> list[str]:
  """Which methods carry each column, and its intervals, where several methods were combined."""
  shown = [c for c in about["columns"] if "weights" in c]
  if not shown:
    return []
  percent = lambda v: "" if v is None else f"{100 * v:.0f} %"
  rows = [("column", "weights of the methods", "agreeing rows", "coverage", "width")]
  for c in shown:
    carried = ", ".join(f"{name} {w:.2f}" for name, w in sorted(c["weights"].items(), key=lambda at: -at[1]))
    rows.append((c["name"], carried, percent(c["agreeing"]), percent(c["coverage"]), _number(c["width"])))
  return [
    "",
    "Weights by column, and the coverage and mean width of its 90 % intervals on hidden cells",
    *_aligned(rows),
  ]


def text(about: dict[str, Any]) -> str:
  """The report as text."""
  methods = list(about["errors"])
  rows = [("column", "kind", "missing", *methods)]
  rows += [
    (c["name"], c["kind"], str(c["missing"]), *(_number(c["errors"].get(m)) for m in methods)) for c in about["columns"]
  ]
  for kind, name in (("numbers", "all numbers, in standard deviations"), ("classes", "all classes")):
    if any(e[kind] is not None for e in about["errors"].values()):
      rows.append((name, "", "", *(_number(about["errors"][m][kind]) for m in methods)))
  lines = [*_sentences(about), ""]
  if methods:
    lines += [
      f"Root mean squared errors of numbers and shares of wrong classes, on {about['hidden']} observed cells that were "
      "hidden from every method",
    ]
  lines += _aligned(rows)
  lines += _by_column(about)
  if about["coverage"] is not None:
    lines.append(f"The 90 % intervals contain {100 * about['coverage']:.1f} % of the hidden numbers")
  lines.append(f"{about['seconds']:.0f} s")
  return "\n".join(lines) + "\n"

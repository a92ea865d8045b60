"""Tables of numbers of a run's samples: means over seeds beside published ones."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Value


class Column(NamedTuple):
  """A number of a table.

  Attributes:
    name: of the number in published, "CELL NAME".
    title: of the column.
    result: its name in results.json.
    digits: that are shown.
  """

  name: str
  title: str
  result: str
  digits: int


def measure(run: Any, columns: Sequence[Column]) -> dict[str, np.ndarray]:
  """{"scores": the columns' numbers in the run's results, NaN where one is missing, [K]}; `report` leaves NaN out."""
  return {"scores": np.array([float(run.results.get(c.result, np.nan)) for c in columns])}


def report(
  budget: Budget,
  columns: Sequence[Column],
  labels: Mapping[str, str],
  published: Mapping[str, Value],
  folder: pathlib.Path,
  sentences: Callable[[dict[str, Any]], list[str]] = lambda cells: [],
  others: Mapping[str, str] = {},
) -> dict[str, Any]:
  """The report of the runs that are finished and measured.

  Args:
    budget: what is run.
    columns: of the table.
    labels: {cell: its name in the table}.
    published: {"CELL NAME": Value}.
    folder: of the budget's runs.
    sentences: {cell: {name: Mean as a dict}} -> sentences about them, without a number that a run of the cell lacks.
    others: {cell: its name} of published rows without runs, which stand below.
  """
  names, cells = stages.run_names(budget), {}
  for cell, runs in names.items():
    done = [name for name in runs if measured.file(folder, name).exists()]
    if done:
      scores = np.stack([a["scores"] for a in measured.arrays(folder, done)])
      full = {c.name: scores[:, i] for i, c in enumerate(columns) if np.isfinite(scores[:, i]).all()}
      cells[cell] = {name: measured.mean(list(values))._asdict() for name, values in full.items()}
  known = any(f"{cell} {c.name}" in published for cell in (*names, *others) for c in columns)
  heads = [c.title for c in columns]
  rows = []
  theirs = lambda cell: [_published(published.get(f"{cell} {c.name}"), c.digits) for c in columns if known]
  for cell, runs in names.items() if cells else ():
    row = [tables.cell(labels[cell]), *theirs(cell)]
    for c in columns:
      row.append(tables.cell(_text(cells.get(cell, {}).get(c.name), c.digits), runs))
    rows.append(row)
  for cell, label in others.items() if cells else ():
    rows.append([tables.cell(label), *theirs(cell), *[tables.cell("")] * len(columns)])
  titles = ["", *([f"{head}, published" for head in heads] if known else []), *heads]
  made = [tables.table("Means over seeds ± standard error", titles, rows)] if rows else []
  return {"numbers": {"cells": cells}, "tables": made, "figures": [], "sentences": sentences(cells) if cells else []}


def _published(value: Value | None, digits: int) -> dict[str, Any]:
  text = "" if value is None else tables.plus_minus(value.value, value.stderr, digits=digits)
  return tables.published(text, value is None or value.verified)


def _text(found: Mapping[str, Any] | None, digits: int) -> str:
  return "no result" if found is None else tables.plus_minus(found["mean"], found["stderr"], digits=digits)


def row_of_summary(
  numbers: Mapping[str, Any], columns: Sequence[Column], labels: Mapping[str, str], published: Mapping[str, Value]
) -> dict[str, str]:
  """{"published", "ours"} for a row of README's table."""
  cells = numbers["cells"]
  of = lambda found: ", ".join(_text(found.get(c.name), c.digits) for c in columns)
  theirs = []
  for cell in cells:
    values = [published[key].value for c in columns if (key := f"{cell} {c.name}") in published]
    theirs += [f"{labels[cell]} {', '.join(f'{v:g}' for v in values)}"] if values else []
  return {
    "published": "; ".join(theirs) or "none",
    "ours": "; ".join(f"{labels[cell]} {of(found)}" for cell, found in cells.items()),
  }

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
  """{"scores": the columns' numbers in the run's results, NaN where one is missing, [K]}."""
  return {"scores": np.array([float(run.results.get(c.result, np.nan)) for c in columns])}


def report(
  budget: Budget,
  columns: Sequence[Column],
  labels: Mapping[str, str],
  published: Mapping[str, Value],
  folder: pathlib.Path,
  sentences: Callable[[dict[str, Any]], list[str]] = lambda cells: [],
) -> dict[str, Any]:
  """The report of the runs that are finished and measured.

  Args:
    budget: what is run.
    columns: of the table.
    labels: {cell: its name in the table}.
    published: {"CELL NAME": Value}.
    folder: of the budget's runs.
    sentences: {cell: {name: Mean as a dict}} -> sentences about them.
  """
  names, cells = stages.run_names(budget), {}
  for cell, runs in names.items():
    done = [name for name in runs if measured.file(folder, name).exists()]
    if done:
      scores = np.stack([a["scores"] for a in measured.arrays(folder, done)])
      cells[cell] = {c.name: measured.mean(list(scores[:, i]))._asdict() for i, c in enumerate(columns)}
  known = any(f"{cell} {c.name}" in published for cell in names for c in columns)
  heads = [c.title for c in columns]
  rows = []
  for cell, runs in names.items() if cells else ():
    row = [tables.cell(labels[cell])]
    for c in columns if known else ():
      value = published.get(f"{cell} {c.name}")
      text = "" if value is None else tables.plus_minus(value.value, value.stderr, digits=c.digits)
      row.append(tables.published(text, value is None or value.verified))
    for c in columns:
      found = cells.get(cell, {}).get(c.name)
      text = "no result" if found is None else tables.plus_minus(found["mean"], found["stderr"], digits=c.digits)
      row.append(tables.cell(text, runs))
    rows.append(row)
  titles = ["", *([f"{head}, published" for head in heads] if known else []), *heads]
  made = [tables.table("Means over seeds ± standard error", titles, rows)] if rows else []
  return {"numbers": {"cells": cells}, "tables": made, "figures": [], "sentences": sentences(cells) if cells else []}


def row_of_summary(
  numbers: Mapping[str, Any], columns: Sequence[Column], labels: Mapping[str, str], published: Mapping[str, Value]
) -> dict[str, str]:
  """{"published", "ours"} for a row of README's table."""
  cells = numbers["cells"]
  of = lambda found: ", ".join(
    tables.plus_minus(found[c.name]["mean"], found[c.name]["stderr"], digits=c.digits) for c in columns
  )
  theirs = []
  for cell in cells:
    values = [published[key].value for c in columns if (key := f"{cell} {c.name}") in published]
    theirs += [f"{labels[cell]} {', '.join(f'{v:g}' for v in values)}"] if values else []
  return {
    "published": "; ".join(theirs) or "none",
    "ours": "; ".join(f"{labels[cell]} {of(found)}" for cell, found in cells.items()),
  }

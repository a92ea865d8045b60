"""Tables of imputation errors by data set: published, ours, paired differences and conclusions."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.experiments.harness import measured, paper, tables

Values = Mapping[str, Mapping[str, Mapping[int, float]]]  # {data set: {row: {seed: error}}}


class Claims(NamedTuple):
  """The claims of a paper's table.

  Attributes:
    error: name of the error, "RMSE".
    over: what the seeds stand for, "seeds" or "masks".
    published: {"white-miwae": error}.
    labels: {row: label}, in the order of the table.
    pairs: (first, second) rows, where the first is claimed to have the lower error.
    digits: decimal places.
    within: largest |ours - published| that counts as reproduced; 0 for no such column.
  """

  error: str
  over: str
  published: Mapping[str, paper.Value]
  labels: Mapping[str, str]
  pairs: Sequence[tuple[str, str]]
  digits: int = 2
  within: float = 0.0

  def show(self, value: float, stderr: float | None = None, sign: bool = False) -> str:
    """tables.plus_minus with `digits`."""
    return tables.plus_minus(value, stderr, sign, self.digits)


def _published(claims: Claims, value: paper.Value | None) -> dict:
  if value is None:
    return tables.published("none")
  text = claims.show(value.value) + (f" {value.more}" if value.more else "")
  return tables.published(text, value.verified)


def _row(claims: Claims, cell: str, found: Mapping[str, Any], comparable: Container[str]) -> list[dict]:
  row = cell.partition("-")[2]
  published = claims.published.get(cell)
  line = [tables.cell(claims.labels[row]), _published(claims, published)]
  line.append(tables.cell(claims.show(found["mean"], found["stderr"]), found["runs"]))
  holds = published is not None and published.verified and row in comparable
  gap = None if published is None else found["mean"] - published.value
  line.append(
    tables.cell("" if gap is None else tables.difference(gap, found["stderr"], holds, claims.digits), found["runs"])
  )
  if claims.within:
    near = "" if gap is None or not holds else "yes" if abs(gap) <= claims.within else "no"
    line.append(tables.cell(near))
  return line


def _table(claims: Claims, data: str, cells: Mapping[str, Mapping[str, Any]], comparable: Container[str]) -> dict:
  columns = ["", f"published {claims.error}", f"ours ± over {claims.over}", "ours − published"]
  columns += [f"within {claims.within:g}"] if claims.within else []
  rows = [_row(claims, cell, found, comparable) for cell, found in cells.items()]
  return tables.table(f"{claims.error} of hidden entries, {data}", columns, rows)


def _pair_table(claims: Claims, pairs: Mapping[str, Mapping[str, Any]]) -> dict:
  show = lambda p: claims.show(p["difference"], p["stderr"], sign=True)
  each = lambda p: ", ".join(claims.show(d, sign=True) for d in p["by_seed"])
  rows = [
    [tables.cell(t) for t in (name, show(p), each(p), measured.named_words(p["verdict"], "lower"))]
    for name, p in pairs.items()
  ]
  columns = ["first − second", f"{claims.error} difference ± over {claims.over}", "each", "first is"]
  note = f"Paired by {claims.over}. Shown: below zero at 95 % by Student's t over {claims.over}."
  return tables.table("Paired differences", columns, rows, note)


def _sentence(claims: Claims, first: str, second: str, pairs: Mapping[str, Mapping[str, Any]], data: Sequence) -> str:
  """In how many data sets the first is lower: by the mean, beyond its error, and as published."""
  found = {d: pairs[name] for d in data if (name := _pair_name(claims, d, first, second)) in pairs}
  if not found:
    return ""
  lower = sum(p["difference"] < 0 for p in found.values())
  shown = sum(p["verdict"] == "lower" for p in found.values())
  opposite = [d for d, p in found.items() if p["verdict"] == "higher"]
  numbers = "; ".join(f"{d} {claims.show(p['difference'], p['stderr'], sign=True)}" for d, p in found.items())
  a, b = claims.labels[first], claims.labels[second]
  text = f"The error of {a} is lower than that of {b} in {lower} of {len(found)} data sets, shown in {shown}"
  text += f", the opposite is shown in {', '.join(opposite)}" if opposite else ""
  known = [(claims.published.get(f"{d}-{first}"), claims.published.get(f"{d}-{second}")) for d in found]
  if all(v is not None and v.verified for pair in known for v in pair):
    text += f" (published: in {sum(x.value < y.value for x, y in known)} of {len(known)})"
  return f"{text}: {numbers}."


def _pair_name(claims: Claims, data: str, first: str, second: str) -> str:
  return f"{data}: {claims.labels[first]} − {claims.labels[second]}"


def report(
  claims: Claims, values: Values, names: Mapping[str, Sequence[str]], comparable: Container[str]
) -> dict[str, Any]:
  """The report of imputation errors: numbers, tables, sentences.

  Args:
    claims: claims of the table.
    values: {data set: {row: {seed: error}}}, as far as measured.
    names: {cell "white-miwae": runs} of the trained rows.
    comparable: rows whose numbers may be compared with the published ones.
  """
  cells, pairs, made = {}, {}, []
  for data, rows in values.items():
    here = {}
    for row in (r for r in claims.labels if rows.get(r)):
      found = measured.mean([rows[row][s] for s in sorted(rows[row])])
      runs = list(names.get(f"{data}-{row}", ()))
      here[f"{data}-{row}"] = {
        "mean": found.mean,
        "stderr": found.stderr,
        "by_seed": {str(s): rows[row][s] for s in sorted(rows[row])},
        "runs": runs,
      }
    cells |= here
    made += [_table(claims, data, here, comparable)] if here else []
    for first, second in claims.pairs:
      if (found := measured.seed_difference(rows.get(first, {}), rows.get(second, {}))) is not None:
        pairs[_pair_name(claims, data, first, second)] = found
  sentences = [_sentence(claims, *pair, pairs, list(values)) for pair in claims.pairs]
  return {
    "numbers": {"cells": cells, "pairs": pairs},
    "tables": made + ([_pair_table(claims, pairs)] if pairs else []),
    "figures": [],
    "sentences": [s for s in sentences if s],
  }


def by_seed(values: Sequence[float] | np.ndarray) -> dict[int, float]:
  """{0: first, 1: second ...}."""
  return dict(enumerate(map(float, values)))


def summary(claims: Claims, numbers: Mapping[str, Any], system: str, rows: Sequence[str]) -> dict[str, str]:
  """A row of README's table, from the given rows of the paper's table."""
  kept = {c: n for c, n in numbers["cells"].items() if c.partition("-")[2] in rows}
  data = list(dict.fromkeys(c.partition("-")[0] for c in kept))
  label = lambda c: claims.labels[c.partition("-")[2]]

  def line(show):
    by_data = {d: ", ".join(show(c) for c in kept if c.startswith(f"{d}-") and show(c)) for d in data}
    return "; ".join(f"{d}: {text}" if len(data) > 1 else text for d, text in by_data.items() if text)

  def published(c):
    value = claims.published.get(c)
    return (
      "" if value is None else f"{label(c)} {claims.show(value.value)}" + ("" if value.verified else " (unverified)")
    )

  return {
    "system": system,
    "data": f"UCI {', '.join(data)}",
    "published": line(published),
    "ours": line(lambda c: f"{label(c)} {claims.show(kept[c]['mean'], kept[c]['stderr'])}"),
  }

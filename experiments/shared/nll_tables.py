"""Tables of test NLL, published and ours, and of active units; differences paired by image, and conclusions."""

import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.experiments.harness import measured, paper, stages, tables
from dgm_jax.sweeps import states


class Claims(NamedTuple):
  """The claims of a paper's table.

  Attributes:
    published: {cell: NLL, with its active units}.
    label: maps a cell to its name in tables.
    orders: cells by increasing NLL in the paper, such as ("iwae-50", "iwae-5", "vae-1").
    pairs: (first, second), further differences that are below zero in the paper.
    more: what `Value.more` of the published numbers is.
  """

  published: Mapping[str, paper.Value]
  label: Callable[[str], str]
  orders: Sequence[tuple[str, ...]]
  pairs: Sequence[tuple[str, str]] = ()
  more: str = "active units"


def _links(order: Sequence[str]) -> list[tuple[str, str]]:
  return list(itertools.pairwise(order))


def _pairs(claims: Claims, cells: Sequence[str]) -> list[tuple[str, str]]:
  """The pairs of existing cells to compare, each once."""
  every = [link for order in claims.orders for link in _links(order)] + list(claims.pairs)
  return [(a, b) for a, b in dict.fromkeys(every) if a in cells and b in cells]


def _cell(folder: pathlib.Path, names: list[str]) -> dict[str, Any]:
  """Numbers of the finished runs of a cell, {} if there are none."""
  runs = measured.read(folder, names)
  if not runs:
    return {}
  results = {seed: run.results for seed, run in sorted(runs.items())}
  nll = measured.mean([r["test/nll"] for r in results.values()])
  values = np.stack([runs[seed].values["log_px"] for seed in results])
  images = measured.by_image(values, measured.have_same_images(runs.values()))
  return {
    "nll": nll.mean,
    "stderr_seeds": nll.stderr,
    "stderr_images": float(images.std(ddof=1) / len(images) ** 0.5),
    "by_seed": {str(seed): r["test/nll"] for seed, r in results.items()},
    "elbo": measured.mean([r["test/elbo"] for r in results.values()]).mean,
    "active_units": {str(seed): r["test/active_units_by_layer"] for seed, r in results.items()},
    "samples": next(iter(results.values()))["test/likelihood_samples"],
    "runs": names,
  }


def data_of(runs: dict[str, dict]) -> str:
  """The data of the runs in words: mnist5k (4,000 train, 500 test)."""
  about = [run.results for found in runs.values() for run in found.values()]
  found = {f"{r['data']} ({r['split_sizes']['train']:,} train, {r['split_sizes']['test']:,} test)" for r in about}
  return ", ".join(sorted(found))


def _published(value: paper.Value | None) -> dict:
  if value is None:
    return tables.published("none")
  return tables.published(
    tables.plus_minus(value.value, None) + (f" ({value.more})" if value.more else ""), value.verified
  )


def _row(claims: Claims, cell: str, found: dict[str, Any], full: bool) -> list[dict]:
  published = claims.published.get(cell)
  row = [tables.cell(claims.label(cell)), _published(published)]
  if not found:
    return [*row, tables.cell("not finished"), *[tables.cell("")] * 3]
  nll = tables.plus_minus(found["nll"], found["stderr_seeds"])
  difference = ""
  if published is not None:
    comparable = full and published.verified
    difference = tables.difference(found["nll"] - published.value, found["stderr_seeds"], comparable)
  units = ", ".join(found["active_units"].values())
  texts = (nll, f"± {found['stderr_images']:.2f}", units, difference)
  return row + [tables.cell(text, found["runs"]) for text in texts]


def _paired_table(pairs: dict[str, dict[str, Any]]) -> dict:
  rows = [tables.paired_row(name, p, measured.named_words(p["verdict"], "lower")) for name, p in pairs.items()]
  columns = ["first − second", "NLL difference ± over images", "by seed", "over seeds", "first is"]
  note = (
    "log p(x) of each image is averaged over seeds before the difference is taken; all runs are evaluated with the "
    "same key, on the same binarised images. Shown: below zero at 95 % by a z test over images and a t test over seeds."
  )
  return tables.table("Paired differences", columns, rows, note)


def _verdict(claims: Claims, order: Sequence[str], pairs: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]]:
  """("shown", "cannot be told" or "not so", the links that decide it); ("", []) if a link is not measured."""
  links = [f"{claims.label(a)} − {claims.label(b)}" for a, b in _links(order)]
  if not all(link in pairs for link in links):
    return "", []
  for verdict, words in (("higher", "not so"), ("undecided", "cannot be told")):
    if found := [link for link in links if pairs[link]["verdict"] == verdict]:
      return words, found
  return "shown", links


def _sentences(claims: Claims, pairs: dict[str, dict[str, Any]]) -> list[str]:
  """For each claimed order, whether it is shown."""
  found = []
  for cells in claims.orders:
    verdict, links = _verdict(claims, cells, pairs)
    if not verdict:
      continue
    order, names = " < ".join(map(claims.label, cells)), ", ".join(links)
    every = [f"{claims.label(a)} − {claims.label(b)}" for a, b in _links(cells)]
    numbers = "; ".join(
      f"{n}: {tables.plus_minus(pairs[n]['difference'], pairs[n]['stderr_images'], True)}" for n in every
    )
    found.append(
      {
        "shown": f"The order of NLL {order} is shown ({numbers}).",
        "cannot be told": f"This budget cannot show the order of NLL {order}: {names} may be zero ({numbers}).",
        "not so": f"The order of NLL {order} does not hold in this budget: {names} is above zero ({numbers}).",
      }[verdict]
    )
  return found


def curves(folder: pathlib.Path, names: dict[str, list[str]], label: Callable[[str], str]) -> list[dict]:
  """Learning curves, mean over seeds: validation log p(x) and training ELBO, where they were logged."""
  found = []
  for metric, what in (("valid/log_px", "validation log p(x), nats"), ("train/elbo", "training ELBO, nats")):
    series = []
    for cell, runs in names.items():
      done = [n for n in runs if states.is_finished(folder, n)]
      if (found_curve := measured.late_curve(folder, done, metric)).points:
        series.append(tables.series(label(cell), found_curve.points, done, band=found_curve.band))
    if series:
      found.append(tables.figure(f"Learning curves: {what}", "step", what, series))
  return found


def report(claims: Claims, budget: paper.Budget, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder: numbers, tables, figures, sentences."""
  names = stages.run_names(budget)
  cells = {cell: _cell(folder, runs) for cell, runs in names.items()}
  runs = {cell: measured.read(folder, names[cell]) for cell in names}
  pairs = {}
  for a, b in _pairs(claims, list(names)):
    if (found := measured.pair(runs[a], runs[b])) is not None:
      pairs[f"{claims.label(a)} − {claims.label(b)}"] = found._asdict() | {"by_seed": list(found.by_seed)}
  columns = [
    "",
    f"published NLL ({claims.more})",
    "ours ± over seeds",
    "over images",
    "active units",
    "ours − published",
  ]
  samples = {c["samples"] for c in cells.values() if c}
  note = f"Nats; NLL by {', '.join(map(str, sorted(samples)))} importance samples." if samples else "Nats."
  rows = [_row(claims, cell, found, budget.full) for cell, found in cells.items()]
  return {
    "numbers": {"data": data_of(runs), "cells": {c: found for c, found in cells.items() if found}, "pairs": pairs},
    "tables": [tables.table("Test NLL", columns, rows, note), *([_paired_table(pairs)] if pairs else [])],
    "figures": curves(folder, names, claims.label),
    "sentences": _sentences(claims, pairs),
  }


def summary(claims: Claims, numbers: dict[str, Any], system: str) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  name = lambda cell: claims.label(cell).replace("k = ", "")
  published = {c: claims.published[c] for c in numbers["cells"] if c in claims.published}
  ours = [f"{name(c)} {tables.plus_minus(n['nll'], n['stderr_seeds'])}" for c, n in numbers["cells"].items()]
  orders = {" < ".join(map(name, order)): _verdict(claims, order, numbers["pairs"])[0] for order in claims.orders}
  return {
    "system": system,
    "data": numbers["data"],
    "published": ", ".join(f"{name(c)} {tables.plus_minus(v.value, None)}" for c, v in published.items()),
    "ours": "; ".join([", ".join(ours), *(f"{order}: {verdict}" for order, verdict in orders.items() if verdict)]),
  }

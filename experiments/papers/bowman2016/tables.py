"""Tables and figures of VAEs of sentences: NLL, KL, mutual information, active units, and curves."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.core import files
from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.harness.paper import Value
from dgm_jax.sweeps import states

METRICS = {  # name in results.json: (title, digits)
  "nll": ("NLL", 2),
  "collapse_rate": ("KL", 2),
  "perplexity": ("perplexity", 1),
  "collapse_mutual_information": ("mutual information (estimate)", 2),
  "active_units": ("active units", 0),
}
Found = Mapping[str, Mapping[int, compare.Run]]  # {cell: {seed: run}}


def _means(runs: Mapping[int, compare.Run]) -> dict[str, measured.Mean]:
  results = [run.results for run in runs.values()]
  return {m: measured.mean([r[f"test/{m}"] for r in results]) for m in METRICS if f"test/{m}" in results[0]}


def numbers(
  found: Found, names: Mapping[str, Sequence[str]], published: Mapping[str, Value], by_dropout: bool = False
) -> dict[str, Any]:
  """NLL, KL, perplexity, mutual information and active units of each cell, beside what was published."""
  cells, rows = {}, []
  for cell, runs in found.items():
    if not runs:
      continue
    means = _means(runs)
    cells[cell] = {"nll": means["nll"].mean, "stderr": means["nll"].stderr}
    cells[cell] |= {m: value.mean for m, value in means.items()}
    old = published.get(cell)
    row = [tables.cell(cell), tables.published(f"{old.value:g}, {old.more}", old.verified) if old else tables.cell("")]
    for m, (_, digits) in METRICS.items():
      text = tables.plus_minus(means[m].mean, means[m].stderr, digits=digits) if m in means else ""
      row.append(tables.cell(text, names[cell]))
    rows.append(row)
  columns = ["", "published", *(title for title, _ in METRICS.values())]
  made = [tables.table("nats for a sentence", columns, rows)]
  figures = []
  if by_dropout and cells:
    lines = [
      tables.series(METRICS[m][0], [(float(cell), values[m]) for cell, values in cells.items() if m in values])
      for m in ("nll", "collapse_rate")
    ]
    figures = [tables.figure("NLL and KL by word dropout", "word dropout", "nats for a sentence", lines)]
  return {"numbers": {"cells": cells}, "tables": made, "figures": figures, "sentences": sentences(cells)}


def sentences(cells: Mapping[str, Mapping[str, float]]) -> list[str]:
  """What the published table claims, as far as these numbers show it."""
  found = []
  if {"plain", "vae"} <= cells.keys():
    kl = {name: cells[name]["collapse_rate"] for name in ("plain", "vae")}
    found.append(f"The KL is {kl['plain']:.2f} nats without annealing and {kl['vae']:.2f} with it and word dropout.")
  if {"lm", "vae", "inputless lm", "inputless vae"} <= cells.keys():
    gain = {kind: cells[f"{kind}lm"]["nll"] - cells[f"{kind}vae"]["nll"] for kind in ("", "inputless ")}
    order = "more" if gain["inputless "] > gain[""] else "not more"
    found.append(
      f"The inputless decoder gains {gain['inputless ']:.2f} nats from z, {order} than the LSTM, {gain['']:.2f}."
    )
  return found


_CURVES = {"train/rate": "KL, nats for a sentence", "train/distortion": "-log p(x|z), nats for a sentence"}


def curves(folder: pathlib.Path, names: Mapping[str, Sequence[str]], more: Mapping[str, str] | None = None) -> dict:
  """The KL and other metrics during training."""
  figures, ends = [], {}
  for metric, title in (_CURVES | dict(more or {})).items():
    lines = []
    for cell, runs in names.items():
      found = measured.curve(folder, runs, metric)
      if found.points:
        lines.append(tables.series(cell, found.points, runs, band=found.band))
        ends.setdefault(cell, {})[metric.removeprefix("train/")] = found.points[-1][1]
    if lines:
      figures.append(tables.figure(title, "step", title, lines))
  rows = [
    [tables.cell(cell), tables.cell(f"{values['rate']:.2f}")] for cell, values in ends.items() if "rate" in values
  ]
  made = [tables.table("The KL at the end of training", ["", "KL"], rows)]
  return {"numbers": {"ends": ends}, "tables": made, "figures": figures, "sentences": []}


def minutes(folder: pathlib.Path, runs: Sequence[str]) -> float:
  """Wall time of the training steps of some runs, minutes, on average."""
  each = []
  for name in runs:
    starts = files.read_json(states.folder(folder, name) / "run.json") or []
    each.append(sum(start.get("wall_s", {}).get("train", 0.0) for start in starts) / 60)
  return sum(each) / len(each)


def last(folder: pathlib.Path, runs: Sequence[str], metric: str) -> float | None:
  """A metric in the last row of some runs that has it, on average; None where it is not logged."""
  points = measured.curve(folder, runs, metric).points
  return points[-1][1] if points else None


def paths(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
  """The measured sentences between pairs of test sentences."""
  rows, texts = [], []
  for runs in names.values():
    for found in measured.arrays(folder, runs):
      for i, path in enumerate(found["paths"].tolist(), 1):
        texts.append(path)
        labels = ("first", *(f"{j / 6:.2f}" for j in range(7)), "second")
        rows += [[tables.cell(f"{i} {label}"), tables.cell(text)] for label, text in zip(labels, path, strict=True)]
  made = [tables.table("Sentences along the line between two codes", ["", "sentence"], rows)]
  return {"numbers": {"paths": texts}, "tables": made, "figures": [], "sentences": []}


def summary(numbers: Mapping[str, Any], published: Mapping[str, Value]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  old = ", ".join(f"{cell} {v.value:g}" for cell, v in published.items())
  if "cells" in numbers:
    ours = [f"{cell} {v['nll']:.2f}" + (f" (KL {v['collapse_rate']:.2f})" if "collapse_rate" in v else "")
            for cell, v in numbers["cells"].items()]  # fmt: skip
    return {
      "system": "VAE of sentences, NLL",
      "data": "see budget",
      "published": f"{old} (unverified)",
      "ours": ", ".join(ours),
    }
  if "ends" in numbers:
    ours = ", ".join(f"{cell} {v['rate']:.2f}" for cell, v in numbers["ends"].items() if "rate" in v)
    return {"system": "VAE of sentences, KL at the end", "data": "see budget", "published": "a figure", "ours": ours}
  count = len(numbers["paths"])
  ours = f"{count} paths; the first ends in: {numbers['paths'][0][-2]}" if count else ""
  return {"system": "sentences between two sentences", "data": "see budget", "published": "examples", "ours": ours}

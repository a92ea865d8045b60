"""Tables of searches for equations, of log p(x), of paths, and of molecules."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, tables
from dgm_jax.experiments.harness.paper import Value

BEST_LOG_PX = -11.513  # -log 100,000
_SEARCH = {"valid": 2, "average": 2, "best": 3}
_GP = {"rmse": 3, "log_py": 3}
_METRICS = {  # in results.json: (title, digits)
  "log_px": ("log p(x), nats", 2),
  "collapse_rate": ("KL", 2),
  "active_units": ("active units", 0),
  "strings_log_px_z": ("E log p(x|z), z as reported", 2),
  "strings_log_px_z_narrow": ("... with 1 % of the noise", 2),
  "strings_greedy": ("greedy reconstruction", 3),
  "strings_sampled": ("by sampling", 3),
  "strings_complete": ("complete prior draws", 3),
}
_OF_MOLECULES = {"molecules_valid": ("valid prior draws", 3), "molecules_unique@1000": ("unique@1000", 3)}


def _joined(folder: pathlib.Path, runs: Sequence[str]) -> dict[str, np.ndarray]:
  """The measurements of all runs of a cell, one after the other."""
  found = measured.arrays(folder, runs)
  return {key: np.concatenate([arrays[key] for arrays in found]) for key in (found[0] if found else {})}


def searches(
  folder: pathlib.Path, names: Mapping[str, Sequence[str]], published: Mapping[str, Value]
) -> dict[str, Any]:
  """Valid, average and best scores of the searches beside the published, predictions, and the three best equations."""
  cells, rows, best = {}, [], []
  for cell, runs in names.items():
    found = _joined(folder, runs)
    if not found:
      continue
    cells[cell] = {}
    for method in ("ei", "random"):
      row = [tables.cell(cell if method == "ei" else f"{cell}, random search")]
      for metric, digits in _SEARCH.items():
        of = measured.mean(found[f"{method}_{metric}"])
        cells[cell] |= {f"{method}_{metric}": of.mean, f"{method}_{metric}_stderr": of.stderr}
        row.append(tables.cell(tables.plus_minus(of.mean, of.stderr, digits=digits), runs))
        row.append(_published(published.get(f"{cell} {metric}") if method == "ei" else None))
      rows.append(row)
    order = np.argsort(found["ei_best"])[:3]
    best += [[tables.cell(cell), tables.cell(str(found["ei_texts"][i])), tables.cell(f"{found['ei_best'][i]:.3f}"),
              tables.cell(f"{found['ei_true'][i]:.3f}")] for i in order.tolist()]  # fmt: skip
    cells[cell] |= {m: measured.mean(found[m]).mean for m in _GP}
  columns = ["", *(c for m in _SEARCH for c in (m, "published"))]
  of_gp = [
    [tables.cell(cell)]
    + [x for m, d in _GP.items() for x in (tables.cell(f"{v[m]:.{d}f}"), _published(published.get(f"{cell} {m}")))]
    for cell, v in cells.items()
  ]
  made = [
    tables.table("Searches, scores log(1 + MSE) with the division of Python 2: lower is better", columns, rows),
    tables.table("The best equations", ["", "equation", "score, Python 2", "score, division of numbers"], best),
    tables.table("Predictions of scores from codes", ["", "RMSE", "published", "log p(y)", "published"], of_gp),
  ]
  return {"numbers": {"cells": cells}, "tables": made, "figures": [], "sentences": _sentences(cells)}


def _published(old: Value | None) -> dict[str, Any]:
  if old is None:
    return tables.cell("")
  text = f"{old.value:g}" + ("" if old.stderr is None else f" ± {old.stderr:g}")
  return tables.published(f"{text}; {old.more}" if old.verified else text, old.verified)


def _sentences(cells: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Whether the grammar's average is lower than that of characters by more than their joint error."""
  if not {"grammar", "character"} <= cells.keys():
    return []
  a, b = cells["grammar"], cells["character"]
  difference = a["ei_average"] - b["ei_average"]
  error = float(np.hypot(a["ei_average_stderr"] or 0, b["ei_average_stderr"] or 0))
  what = f"The average score of the grammar minus that of characters is {difference:+.2f} ± {error:.2f}: "
  return [
    what + ("lower by more than the joint error." if difference < -error else "not lower by more than the error.")
  ]


def likelihoods(
  folder: pathlib.Path, names: Mapping[str, Sequence[str]], published: Mapping[str, Value], molecules: bool
) -> dict[str, Any]:
  """log p(x), KL, active units, reconstruction and validity of each cell."""
  cells, rows = {}, []
  metrics = _METRICS | (_OF_MOLECULES if molecules else {})
  for cell, runs in names.items():
    found = measured.of_seeds(measured.read(folder, runs), metrics)
    if not found:
      continue
    cells[cell] = {m: v["mean"] for m, v in found.items()}
    row = [tables.cell(cell), _published(published.get(cell))]
    for m, (_, digits) in metrics.items():
      text = tables.plus_minus(found[m]["mean"], found[m]["stderr"], digits=digits) if m in found else ""
      row.append(tables.cell(text, runs))
    rows.append(row)
  said = []
  if not molecules:
    said = [
      f"{cell}: log p(x) is {v['log_px']:.2f} nats; no model has more than {BEST_LOG_PX} on average."
      for cell, v in cells.items()
      if "log_px" in v
    ]
  made = [tables.table("Held-out examples", ["", "published", *(title for title, _ in metrics.values())], rows)]
  return {"numbers": {"likelihoods": cells}, "tables": made, "figures": [], "sentences": said}


def paths(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
  """Strings along lines, and on a plane."""
  rows, plane, texts = [], [], []
  for runs in names.values():
    for found in measured.arrays(folder, runs):
      texts += found["paths"].tolist()
      last = found["paths"].shape[1] - 1
      for i, path in enumerate(found["paths"].tolist(), 1):
        label = lambda j: "first" if j == 0 else "second" if j == last else f"{(j - 1) / (last - 2):.2f}"
        rows += [[tables.cell(f"{i} {label(j)}"), tables.cell(text)] for j, text in enumerate(path)]
      plane += [[tables.cell(text) for text in row] for row in found["plane"].tolist()]
  made = [tables.table("Along the line between two codes", ["", "equation"], rows)]
  if plane:
    made.append(tables.table("A plane of the latent space, around an equation", [""] * len(plane[0]), plane))
  return {"numbers": {"paths": texts}, "tables": made, "figures": [], "sentences": []}


def summary(numbers: Mapping[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  if "cells" in numbers:
    ours = ", ".join(f"{cell} {v['ei_average']:.2f}" for cell, v in numbers["cells"].items())
    published = "grammar 3.26, character 4.74 (rerun)"
    return {
      "system": "search for an equation, average score",
      "data": "equations",
      "published": published,
      "ours": ours,
    }
  if "likelihoods" in numbers:
    ours = ", ".join(f"{cell} {v['log_px']:.2f}" for cell, v in numbers["likelihoods"].items() if "log_px" in v)
    return {"system": "grammar VAE, log p(x)", "data": "see budget", "published": "none", "ours": ours}
  ours = f"{len(numbers['paths'])} paths"
  return {"system": "equations between two equations", "data": "equations", "published": "examples", "ours": ours}

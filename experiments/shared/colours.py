"""Tables of colours found for grey photographs, beside four answers that know nothing, and the curve of a game."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.api import loading
from dgm_jax.evaluate.colour_measures import ANSWERS
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Value

TITLES = {
  "within_2": "within 2 %",
  "within_5": "within 5 %",
  "mae": "MAE, %",
  "psnr": "PSNR",
  "auc": "AuC",
  "auc_rebalanced": "AuC, rebalanced",
  "colourfulness": "colourfulness",
  "frechet": "Frechet, random features",
}
LABELS = {
  "grey": "grey",
  "median": "median of training images",
  "another": "another image's colours",
  "nearest": "colours of the training image with the nearest L",
}
_CURVES = {
  "colour_frechet": "Frechet distance of random features",
  "colour_mae": "MAE, %",
  "colour_colourfulness": "colourfulness",
}
_DIGITS = {"mae": 2, "psnr": 2, "frechet": 3}


def measure(run: Any) -> dict[str, np.ndarray]:
  """The numbers of evaluate.colour on the test images, at the checkpoint that keep_best chose, and its step."""
  best = bool(run.config.keep_best)
  chosen = loading.of_run(pathlib.Path(run.source), "best") if best else run
  found = chosen.evaluate("colour", run.experiment.splits.test, transform=True)
  numbers = {name: np.asarray(value, np.float64) for name, value in found.items() if name != "values"}
  return numbers | {"step": np.asarray(int(chosen.state.step))}


def _cell(arrays: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
  """{measure: mean over seeds, with its error: over seeds, or over images of a single run}."""
  found: dict[str, Any] = {"steps": [int(a["step"]) for a in arrays]}
  for name in arrays[0]:
    if name.endswith("_stderr") or name == "step":
      continue
    values = [float(a[name]) for a in arrays if name in a]
    number = measured.mean(values)
    over_images = [float(a[f"{name}_stderr"]) for a in arrays if f"{name}_stderr" in a]
    error = over_images[0] if number.stderr is None and over_images else number.stderr
    found[name.removeprefix("colour_")] = {"mean": number.mean, "stderr": error, "by_seed": list(number.values)}
  return found


def _text(found: Mapping[str, Any], measure: str, ending: str = "") -> str:
  number = found.get(f"{measure}{ending}")
  if number is None:
    return ""
  return tables.plus_minus(number["mean"], number["stderr"], digits=_DIGITS.get(measure, 1))


def _row(
  label: str, found: Mapping[str, Any], columns: Sequence[str], published: Mapping[str, Value], key: str, runs: Any
) -> list[dict]:
  row = [tables.cell(label)]
  for name in columns:
    if any(cell.endswith(f" {name}") for cell in published):
      value = published.get(f"{key} {name}")
      row.append(tables.published("" if value is None else f"{value.value:g}", value is None or value.verified))
    row.append(tables.cell(_text(found, name, f"_{key}" if key in ANSWERS else ""), runs))
  return row


def _z(number: Mapping[str, float]) -> float:
  return number["mean"] / max(number["stderr"] or 0.0, 1e-12)


def _sentences(labels: Mapping[str, str], cells: Mapping[str, Any]) -> list[str]:
  """Whether each beats the answers that know nothing, paired by image."""
  said = []
  for cell, found in cells.items():
    better = [f"{name} by z = {_z(found[f'mae_below_{name}']):.1f}" for name in ANSWERS]
    area = [f"{name} by z = {_z(found[f'auc_above_{name}']):.1f}" for name in ANSWERS]
    share = 100 * found["colourfulness"]["mean"] / found["colourfulness_truth"]["mean"]
    said.append(
      f"{labels[cell]}: MAE below that of {', '.join(better)}; AuC above that of {', '.join(area)} (paired by image, "
      f"positive where the model is better); colourfulness {share:.0f} % of the truth's."
    )
  return said


def _fall(labels: Mapping[str, str], cells: Mapping[str, Any], game: str) -> list[str]:
  """Whether the Frechet distance falls from the first cell to the game; errors of both added as if independent."""
  first = next(iter(cells))
  if game not in cells or first == game:
    return []
  a, b = cells[first]["frechet"], cells[game]["frechet"]
  error = math.hypot(a["stderr"] or 0.0, b["stderr"] or 0.0)
  return [
    f"Frechet distance of random features, {labels[first]}: {_text(cells[first], 'frechet')}; in the game: "
    f"{_text(cells[game], 'frechet')}; it {'falls' if b['mean'] < a['mean'] else 'does not fall'}, "
    f"z = {(a['mean'] - b['mean']) / max(error, 1e-12):.1f}."
  ]


def _curves(folder: pathlib.Path, names: Sequence[str], stopped: Sequence[int]) -> list[dict[str, Any]]:
  """Figures of the tracked numbers of a game by its step."""
  found = []
  for metric, title in _CURVES.items():
    of_runs = measured.curve(folder, names, f"valid/{metric}", most=200)
    if of_runs.points:
      line = tables.series("held-out images", of_runs.points, names, band=of_runs.band)
      kept = [(x, y) for x, y in of_runs.points if x in stopped]
      marks = [tables.series("the checkpoint that is kept", kept, names, style="published")] if kept else []
      found.append(tables.figure(f"{title} in the game", "steps of both players", title, [line, *marks]))
  return found


def report(
  budget: Budget,
  published: Mapping[str, Value],
  labels: Mapping[str, str],
  columns: Sequence[str],
  folder: pathlib.Path,
  game: str = "",
) -> dict[str, Any]:
  """The report of the runs that are finished and measured.

  Args:
    budget, published, folder: of the item; keys of `published` are "CELL MEASURE".
    labels: of the cells.
    columns: measures, keys of TITLES.
    game: the cell whose curves are drawn; "" for none.
  """
  names = stages.run_names(budget)
  cells = {cell: _cell(arrays) for cell, runs in names.items() if (arrays := measured.arrays(folder, runs))}
  if not cells:
    return {"numbers": {"cells": {}}, "tables": [], "figures": [], "sentences": []}
  first = next(iter(cells.values()))
  rows = [_row(LABELS[name], first, columns, published, name, ()) for name in ANSWERS]
  rows += [_row(labels[cell], found, columns, published, cell, names[cell]) for cell, found in cells.items()]
  heads = [""]
  for name in columns:
    has = any(cell.endswith(f" {name}") for cell in published)
    heads += ([f"{TITLES[name]}, published"] if has else []) + [TITLES[name]]
  truth = first["colourfulness_truth"]["mean"]
  note = f"The photographs' own colourfulness is {truth:.1f}; ± over images of one run, over seeds of several."
  made = tables.table("Colours of the test images", heads, rows, note)
  drawn = _curves(folder, names[game], cells[game]["steps"]) if game in cells else []
  sentences = [*_sentences(labels, cells), *_fall(labels, cells, game)]
  return {"numbers": {"cells": cells}, "tables": [made], "figures": drawn, "sentences": sentences}


def ours(numbers: Mapping[str, Any], labels: Mapping[str, str], columns: Sequence[str]) -> str:
  """Our numbers in a sentence: those of grey, then each cell's."""
  show = lambda found, ending="": ", ".join(_text(found, name, ending) for name in columns)
  cells = numbers["cells"]
  grey = [f"grey {show(next(iter(cells.values())), '_grey')}"] if cells else []
  return "; ".join([*grey, *(f"{labels[cell]} {show(found)}" for cell, found in cells.items())])

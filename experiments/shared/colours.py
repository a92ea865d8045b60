"""Tables of colours found for grey photographs, beside four answers that know nothing, and the curve of a game."""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
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
CEILING = 0.9  # as in configs/colouriser.py
_CURVES = {
  "colour_frechet": "Frechet distance of random features",
  "colour_mae": "MAE, %",
  "colour_colourfulness": "colourfulness",
}
_REFUSED = 1e5  # evaluate.colour adds a million to colour_frechet_within above the ceiling on MAE
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
  """Whether each beats the answers that know nothing: differences paired by image, with the error of `_cell`."""
  said = []
  for cell, found in cells.items():
    seeds = len(found["mae_below_grey"]["by_seed"])
    of = f"over {seeds} seeds, of differences" if seeds > 1 else "over images, of differences"
    better = [f"{name} by z = {_z(found[f'mae_below_{name}']):.1f}" for name in ANSWERS]
    area = [f"{name} by z = {_z(found[f'auc_above_{name}']):.1f}" for name in ANSWERS]
    share = 100 * found["colourfulness"]["mean"] / found["colourfulness_truth"]["mean"]
    said.append(
      f"{labels[cell]}: MAE below that of {', '.join(better)}; AuC above that of {', '.join(area)} (errors {of} "
      f"paired by image, positive where the model is better); colourfulness {share:.0f} % of the truth's."
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


def _ceiling(curve: Callable, names: Sequence[str]) -> list[dict[str, Any]]:
  """The MAE below which a checkpoint may be kept: 0.9 of that of another image's colours."""
  points = [(x, CEILING * y) for x, y in curve(names, "colour_mae_another").points]
  label = f"ceiling: {CEILING:g} of the MAE of another image's colours"
  return [tables.series(label, points, names, style="theory")] if points else []


def _curves(folder: pathlib.Path, names: Sequence[str], stopped: Sequence[int]) -> list[dict[str, Any]]:
  """Figures of the tracked numbers of a game by its step; the mark of a run lies on the run's own curve."""
  found = []
  curve = lambda runs, metric: measured.curve(folder, runs, f"valid/{metric}", most=200)
  for metric, title in _CURVES.items():
    of_runs = curve(names, metric)
    if not of_runs.points:
      continue
    lines = [tables.series("held-out images", of_runs.points, names, band=of_runs.band)]
    if metric == "colour_frechet":
      allowed = [(x, y) for x, y in curve(names, "colour_frechet_within").points if y < _REFUSED]
      lines += [tables.series("of which the MAE is under the ceiling", allowed, names)] if allowed else []
    if metric == "colour_mae":
      lines += _ceiling(curve, names)
    each = zip(names, stopped, strict=False)
    kept = [(x, y) for name, step in each for x, y in curve([name], metric).points if x == step]
    lines += [tables.series("the checkpoint that is kept", kept, names, style="published")] if kept else []
    found.append(tables.figure(f"{title} in the game", "steps of both players", title, lines))
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
    labels: of the cells that are shown, in this order: those that are measured, and those that were published.
    columns: measures, keys of TITLES.
    game: the cell whose curves are drawn; "" for none.
  """
  names = stages.run_names(budget)
  shown = {cell: runs for cell, runs in names.items() if cell in labels}
  cells = {cell: _cell(arrays) for cell, runs in shown.items() if (arrays := measured.arrays(folder, runs))}
  if not cells:
    return {"numbers": {"cells": {}}, "tables": [], "figures": [], "sentences": []}
  first = next(iter(cells.values()))
  rows = [_row(LABELS[name], first, columns, published, name, ()) for name in ANSWERS]
  known = {key.rpartition(" ")[0] for key in published}
  listed = [cell for cell in labels if cell in cells or cell in known]
  rows += [_row(labels[c], cells.get(c, {}), columns, published, c, names.get(c, ()) * (c in cells)) for c in listed]
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

"""Figure 2 of Kingma & Welling (2014): the bound against training samples, AEVB and wake-sleep."""

import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from dgm_jax.configs.aevb_mnist import warmup
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.sweeps import axes, states
from dgm_jax.training.workdir import metrics

CONFIG = "configs/aevb_mnist.py"
METHODS = {"aevb": "AEVB", "wake_sleep": "wake-sleep"}
RATES = (0.01, 0.02, 0.1)
_RATE = 0.02  # what most first iterations choose; the report names the lines for which they do not
_BATCH = 100
_FLOOR = {"frey_faces": -500.0}  # bounds below it are not drawn
_PER_DECADE = 12  # points of a line per decade
_HELD_OUT = ("valid/elbo", "test/elbo")


def _cells(
  panels: Sequence[tuple[str, int]], num_steps: int, first_steps: int, seeds: int
) -> dict[str, list[axes.Overrides]]:
  """{"aevb-mnist-3": its runs, "rates-aevb-mnist-3": the first iterations with each step size}."""
  cells = {}
  for data, nz in panels:
    for method in METHODS:
      own = {"arg.data": data, "arg.nz": nz, "arg.method": method}
      whole, first = ({"num_steps": n, "optim.warmup": warmup(n)} for n in (num_steps, first_steps))
      cells[f"{method}-{data}-{nz}"] = [{**own, **whole, "optim.lr": _RATE, "seed": s} for s in range(seeds)]
      cells[f"rates-{method}-{data}-{nz}"] = [{**own, **first, "optim.lr": rate, "seed": 0} for rate in RATES]
  return cells


_MNIST, _FACES = [("mnist", nz) for nz in (3, 5, 10, 20, 200)], [("frey_faces", nz) for nz in (2, 5, 10, 20)]
_CHEAP = {"evaluate.importance_sampling.num_samples": 20, "evaluate.importance_sampling.batch_size": 100}
RUNS = {
  "quick": Budget(
    "mnist5k (4,000 training, 500 test images), N_z = 3 and 20, two seeds, 1.5e5 training samples per line, dynamic "
    "binarisation",
    minutes=6,
    config=f"{CONFIG}:quick",
    common=_CHEAP | {"figures_every": 1500},
    cells=_cells([("mnist5k", 3), ("mnist5k", 20)], 1500, 300, 2),
  ),
  "short": Budget(
    "MNIST (60,000, 10,000), N_z = 3 and 20, one seed, 1e7 training samples per line, dynamic binarisation",
    minutes=50,
    caveat="The paper continues to 1e8 training samples; its curves up to 1e7 can be compared.",
    config=CONFIG,
    common=_CHEAP | {"figures_every": 50_000, "checkpoint_every": 50_000},
    cells=_cells([("mnist", 3), ("mnist", 20)], 100_000, 500, 1),
  ),
  "paper": Budget(
    "MNIST (60,000, 10,000) and Frey faces, three seeds, 1e8 training samples per line, dynamic binarisation",
    minutes=9 * 1440,
    full=True,
    config=CONFIG,
    common=_CHEAP | {"figures_every": 500_000, "checkpoint_every": 50_000},
    cells=_cells(_MNIST + _FACES, 1_000_000, 1000, 3),
  ),
  "test": Budget(
    "mnist5k, N_z = 3, 40 steps of a small network, two seeds: for tests",
    minutes=1,
    config=f"{CONFIG}:test",
    cells=_cells([("mnist5k", 3)], 40, 20, 2),
  ),
}


def _label(cell: str) -> str:
  """aevb-mnist-3 -> AEVB, mnist, N_z = 3."""
  method, data, nz = cell.split("-")
  return f"{METHODS[method]}, {data}, N_z = {nz}"


def log_thinned(points: Iterable[tuple[float, float]], per_decade: int = _PER_DECADE) -> list[tuple[float, float]]:
  """Of points (x, y), x > 0 and increasing, the last one in each of `per_decade` parts of a decade."""
  kept = {math.floor(per_decade * math.log10(x) + 1e-9): (x, y) for x, y in points}
  return list(kept.values())


def _curve(folder: pathlib.Path, names: list[str], part: str, floor: float) -> list[tuple[float, float]]:
  """(training samples, bound averaged over seeds), log-spaced; part is "train" or "held-out"."""
  rows = [row for name in names for row in metrics.read(states.folder(folder, name))]
  metric = "train/elbo" if part == "train" else next((k for row in rows for k in row if k in _HELD_OUT), "")
  points = measured.curve(folder, names, metric, most=10**9).points
  return log_thinned((_BATCH * step, y) for step, y in points if step > 0 and y > floor)


def _cell(folder: pathlib.Path, names: list[str]) -> dict[str, Any]:
  """Numbers of the finished runs of a line, {} if there are none."""
  runs = measured.read(folder, names)
  if not runs:
    return {}
  test = measured.mean([run.results["test/elbo"] for _, run in sorted(runs.items())])
  images = sum(run.values["elbo"] for run in runs.values()) / len(runs)
  last = [
    measured.curve(folder, [name], "train/elbo").points[-1][1] for name in names if states.is_finished(folder, name)
  ]
  about = next(iter(runs.values())).results
  return {
    "test": test.mean,
    "stderr_seeds": test.stderr,
    "stderr_images": float(images.std(ddof=1) / len(images) ** 0.5),
    "train": measured.mean(last).mean,
    "samples": _BATCH * about["step"],
    "data": about["data"],
    "runs": names,
  }


def _rates(folder: pathlib.Path, names: Sequence[str]) -> dict[str, float]:
  """{step size: training bound at the end of the first iterations}, for the finished runs."""
  done = [(rate, name) for rate, name in zip(RATES, names, strict=True) if states.is_finished(folder, name)]
  return {str(rate): measured.curve(folder, [name], "train/elbo").points[-1][1] for rate, name in done}


def _ahead(found: measured.Paired, cells: tuple[str, str]) -> dict[str, Any]:
  """The bound of the first minus that of the second, nats."""
  ahead = {
    "first": cells[0],
    "second": cells[1],
    "difference": -found.difference,
    "verdict": measured.words(found.verdict, "lower"),
  }
  return ahead | {"stderr_images": found.stderr_images, "stderr_seeds": found.stderr_seeds}


def _differences(folder: pathlib.Path, names: dict[str, list[str]]) -> list[dict[str, Any]]:
  """AEVB minus wake-sleep in each panel, and the largest N_z minus the smallest for AEVB."""
  runs = {cell: measured.read(folder, found) for cell, found in names.items()}
  pairs = [(cell, cell.replace("aevb", "wake_sleep")) for cell in names if cell.startswith("aevb")]
  for data in dict.fromkeys(cell.split("-")[1] for cell in names):
    of_data = [cell for cell in names if cell.startswith(f"aevb-{data}-") and runs[cell]]
    pairs += [(of_data[-1], of_data[0])] if len(of_data) > 1 else []
  found = [(measured.pair(runs[a], runs[b], "elbo"), (a, b)) for a, b in pairs]
  return [_ahead(pair, cells) for pair, cells in found if pair is not None]


def _lines(folder: pathlib.Path, names: dict[str, list[str]]) -> list[dict]:
  """A panel for each data set and N_z."""
  panels: dict[str, list[dict]] = {}
  for cell, runs in names.items():
    method, data, nz = cell.split("-")
    done = [name for name in runs if states.is_finished(folder, name)]
    for part in ("train", "held-out") if done else ():
      points = _curve(folder, done, part, _FLOOR.get(data, -300.0))
      if points:
        panels.setdefault(f"{data}, N_z = {nz}", []).append(tables.series(f"{METHODS[method]}, {part}", points, done))
  return [
    tables.figure(name, "# training samples evaluated", "average variational lower bound, nats", lines, log="x")
    for name, lines in panels.items()
  ]


def _rate_table(rates: dict[str, dict[str, float]]) -> dict:
  best = {cell: max(found, key=found.get) for cell, found in rates.items()}
  show = lambda found, rate: f"{found[str(rate)]:.4g}" if str(rate) in found else "none"
  rows = [
    [tables.cell(text) for text in (_label(cell), *(show(found, r) for r in RATES), best[cell])]
    for cell, found in rates.items()
  ]
  note = (
    f"Training bound at the end of the first iterations, nats; none where a run is not finished or diverged. The lines "
    f"above use {_RATE}."
  )
  return tables.table("Step sizes", ["", *map(str, RATES), "best"], rows, note)


def report(budget: Budget, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder: numbers, tables, figures, sentences."""
  names = stages.run_names(budget)
  lines = {cell: found for cell, found in names.items() if not cell.startswith("rates-")}
  cells = {cell: found for cell in lines if (found := _cell(folder, lines[cell]))}
  rates = {cell: found for cell in lines if (found := _rates(folder, names[f"rates-{cell}"]))}
  differences = _differences(folder, lines)
  signed = lambda value, error: tables.plus_minus(value, error, sign=True)
  rows = [
    [tables.cell(_label(cell)), tables.published("figure")]
    + [tables.cell(text, n["runs"]) for text in (f"{n['samples']:.0e}", signed(n["train"], None))]
    + [tables.cell(text, n["runs"]) for text in (signed(n["test"], n["stderr_seeds"]), f"± {n['stderr_images']:.2f}")]
    for cell, n in cells.items()
  ]
  columns = ["", "published", "training samples", "training bound", "test bound ± over seeds", "over images"]
  found = [tables.table("Bound at the end, nats", columns, rows, "The figure gives no numbers.")] if rows else []
  found += [difference_table(differences, _label)] if differences else []
  found += [_rate_table(rates)] if rates else []
  other = [_label(cell) for cell, r in rates.items() if len(r) == len(RATES) and max(r, key=r.get) != str(_RATE)]
  sentences = [
    f"AEVB above wake-sleep in {_label(d['first']).partition(', ')[2]}: {d['verdict']} "
    f"({signed(d['difference'], d['stderr_images'])})."
    for d in differences
    if d["second"].startswith("wake_sleep")
  ]
  sentences += [f"The first iterations would choose another step size for {', '.join(other)}."] if other else []
  numbers = {"figure": 2, "cells": cells, "differences": differences, "rates": rates}
  return {"numbers": numbers, "tables": found, "figures": _lines(folder, lines), "sentences": sentences}


def difference_table(differences: Sequence[dict[str, Any]], label: Any) -> dict:
  """Differences, paired by image, with their verdicts."""
  rows = []
  for d in differences:
    seeds = "" if d["stderr_seeds"] is None else f"± {d['stderr_seeds']:.2f}"
    value = tables.plus_minus(d["difference"], d["stderr_images"], sign=True)
    name = f"{label(d['first'])} − {label(d['second'])}"
    rows.append([tables.cell(text) for text in (name, value, seeds, d["verdict"])])
  columns = ["first − second", "difference ± over images", "over seeds", "first is above"]
  note = "Nats, paired by test image. Shown: above zero at 95 % by a z test over images and a t test over seeds."
  return tables.table("Paired differences", columns, rows, note)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  nz = lambda cell: _label(cell).rpartition(", ")[2]
  ahead = [d for d in numbers["differences"] if d["second"].startswith("wake_sleep")]
  return {
    "system": "test bound, AEVB and wake-sleep",
    "data": ", ".join(dict.fromkeys(n["data"] for n in numbers["cells"].values())),
    "published": "AEVB above wake-sleep in every panel, no numbers",
    "ours": "; ".join(
      f"{nz(d['first'])}: AEVB {tables.plus_minus(numbers['cells'][d['first']]['test'], None)}, "
      f"{tables.plus_minus(d['difference'], d['stderr_images'], sign=True)} ({d['verdict']})"
      for d in ahead
    ),
  }

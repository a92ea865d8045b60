"""Donahue, Kraehenbuehl & Darrell, "Adversarial Feature Learning" (ICLR 2017): BiGAN.

https://arxiv.org/abs/1605.09782
  python -m dgm_jax reproduce donahue2017 --table=1 --budget=quick

Table 1: accuracy of the nearest neighbour in the encoder's features, on MNIST as vectors, beside an untrained encoder.
"""

import functools
import pathlib
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.donahue2017 import neighbours

_PUBLISHED = {  # epochs: (last hidden layer, E(x)), from the authors' page of code
  0: (96.84, 91.50),
  25: (96.28, 95.41),
  200: (97.14, 95.92),
  400: (97.35, 92.10),
}
_TITLES = {"hidden": "last hidden layer", "code": "E(x)"}

PAPER = Paper(
  authors="Donahue, Kraehenbuehl & Darrell",
  title="Adversarial Feature Learning",
  venue="ICLR 2017",
  url="https://arxiv.org/abs/1605.09782",
  items={"table=1": "Nearest neighbours of MNIST digits in the features of a BiGAN's encoder"},
  published={
    "table=1": {
      f"{epochs} {name}": Value(value)
      for epochs, row in _PUBLISHED.items()
      for name, value in zip(neighbours.NAMES, row, strict=True)
    }
  },
  notes={
    "table=1": (
      "Published: the page of the authors' code, permutation-invariant MNIST: 10,000 validation digits, their nearest "
      "neighbour among 50,000 training digits, after 0, 25, 200 and 400 epochs. z ~ U(-1, 1)^50, three nets of two "
      "layers of 1,024 units, batch normalisation without gain and bias, Adam 2e-4 (0.5), batch 128, all three updated "
      "together, the rate constant for 200 epochs and then falling to a hundredth.",
      "An untrained encoder already has 96.84 % in its last hidden layer, so that the numbers of that layer prove "
      "nothing; those of E(x) do.",
      "Ours: ± standard error over seeds; a shorter run has the schedule of its own length.",
    ),
  },
)

_CONFIG = "configs/bigan_mnist.py"
_measure = functools.partial(measured.of_runs, measure=neighbours.measure)


def _cells(seeds: int, epochs: tuple[int, ...]) -> dict[str, list[dict[str, Any]]]:
  return {str(n): [{"arg.epochs": n, "seed": seed} for seed in range(seeds)] for n in epochs}


def _constant(epochs: int) -> dict[str, Any]:
  """The schedule of the published run, of which only the beginning is trained."""
  return {"optim.schedule": "constant", "eval_every": 390 * epochs, "checkpoint_every": 390 * epochs}


RUNS = {
  "table=1": {
    "quick": Budget(
      "MNIST, 50,000 training digits, 25 epochs at the constant rate, one seed",
      minutes=12,
      same_data=True,
      caveat="The published row after 25 epochs is the beginning of a longer run, as ours is.",
      config=_CONFIG,
      common=_constant(25),
      cells=_cells(1, (25,)),
      measure=_measure,
    ),
    "short": Budget(
      "MNIST, 50,000 training digits, 25 epochs at the constant rate, three seeds",
      minutes=36,
      same_data=True,
      caveat="The published row after 25 epochs is the beginning of a longer run, as ours is.",
      config=_CONFIG,
      common=_constant(25),
      cells=_cells(3, (25,)),
      measure=_measure,
    ),
    "paper": Budget(
      "MNIST, 50,000 training digits, 400 epochs, three seeds",
      minutes=9 * 60,
      full=True,
      config=_CONFIG,
      cells=_cells(3, (400,)),
      measure=_measure,
    ),
    "test": Budget(
      "mnist5k, 40 steps of small networks, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG}:test",
      cells=_cells(2, (25,)),
      measure=_measure,
    ),
  },
}


def _number(values: list[float]) -> dict[str, Any]:
  found = measured.mean(values)
  return {"mean": found.mean, "stderr": found.stderr, "by_seed": list(found.values)}


def _cell(arrays: list[dict[str, np.ndarray]]) -> dict[str, Any]:
  return {
    f"{kind} {name}": _number([float(a[kind][i]) for a in arrays])
    for kind in ("trained", "untrained")
    for i, name in enumerate(neighbours.NAMES)
  }


def _row(label: str, epochs: str, kind: str, found: dict[str, Any], runs: list[str]) -> list[dict]:
  row, published = [tables.cell(label)], PAPER.published["table=1"]
  for name in neighbours.NAMES:
    value, n = published.get(f"{epochs} {name}"), found[f"{kind} {name}"]
    row.append(tables.published("none" if value is None else f"{value.value:.2f}"))
    row.append(tables.cell(tables.plus_minus(n["mean"], n["stderr"]), runs))
  return row


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs that are finished and measured."""
  names = stages.run_names(RUNS[item][name])
  cells = {cell: _cell(arrays) for cell, runs in names.items() if (arrays := measured.arrays(folder, runs))}
  rows, sentences = [], []
  for cell, found in cells.items():
    rows.append(_row("untrained encoder", "0", "untrained", found, names[cell]))
    rows.append(_row(f"BiGAN, {cell} epochs", cell, "trained", found, names[cell]))
    gain = found["trained code"]["mean"] - found["untrained code"]["mean"]
    known = PAPER.published["table=1"].get(f"{cell} code")
    near = "" if known is None else f", {found['trained code']['mean'] - known.value:+.2f} from the published number"
    sentences.append(f"In E(x), {cell} epochs of training change the accuracy by {gain:+.2f} points{near}.")
  columns = ["", *(title for t in _TITLES.values() for title in (f"{t}, published", f"{t}, ours"))]
  made = [tables.table("Accuracy of the nearest neighbour, %", columns, rows)] if rows else []
  return {"numbers": {"cells": cells}, "tables": made, "figures": [], "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda n: tables.plus_minus(n["mean"], n["stderr"])
  ours = [
    f"{cell} epochs: E(x) {show(n['trained code'])}, untrained {show(n['untrained code'])}; hidden layer "
    f"{show(n['trained hidden'])}, untrained {show(n['untrained hidden'])}"
    for cell, n in numbers["cells"].items()
  ]
  return {
    "system": "BiGAN: accuracy of the nearest neighbour in the encoder's features, %",
    "data": "MNIST",
    "published": "25 epochs: E(x) 95.41, untrained 91.50; hidden layer 96.28, untrained 96.84",
    "ours": "; ".join(ours),
  }

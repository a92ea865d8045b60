"""Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders" (ICLR 2016), https://arxiv.org/abs/1509.00519.

  python -m experiments.reproduce burda2016 --table=1 --budget=quick

Table 1, its MNIST half: test NLL and active units of VAE and IWAE, k = 1, 5, 50.  With k = 1 both are the same model
trained by the same gradient, and are one cell.
"""

import pathlib
from typing import Any

import numpy as np

from dgm_jax.sweeps import axes, states
from experiments import measured, tables
from experiments.papers import Budget, Paper, Value

PAPER = Paper(
  authors="Burda, Grosse & Salakhutdinov",
  title="Importance Weighted Autoencoders",
  venue="ICLR 2016",
  url="https://arxiv.org/abs/1509.00519",
  items={"table=1": "Test NLL on MNIST, and active units (the MNIST half of the table)"},
  published={
    "table=1": {
      "vae-1": Value(86.76, "19"),
      "vae-5": Value(86.47, "20"),
      "vae-50": Value(86.35, "20"),
      "iwae-5": Value(85.54, "22"),
      "iwae-50": Value(84.78, "25"),
      "vae-1-2layers": Value(85.33, "16+5"),
      "vae-5-2layers": Value(85.01, "17+5"),
      "vae-50-2layers": Value(84.78, "17+5"),
      "iwae-5-2layers": Value(83.89, "21+5"),
      "iwae-50-2layers": Value(82.90, "26+7"),
    }
  },
  notes={
    "table=1": (
      "Published: 60,000 training and 10,000 test images, binarised anew at every use; 3,280 epochs of batches of 20 "
      "in eight stages of 3^i epochs; one run a cell; NLL by 5000 importance samples.",
      "VAE with k samples averages k estimates of the ELBO; IWAE takes the logarithm of the mean weight. IWAE with "
      "k = 1 is VAE with k = 1, published twice with the same numbers.",
      "Paper and released code differ (Adam's beta1, rates, 400 images held out); ours follows the paper. Li & Turner "
      "(2016) re-ran the released code and have 85.41 and 84.80 for IWAE, k = 5 and 50, with one layer.",
      "Active units are latent variables whose E[u|x] varies over the test images by more than 0.01; the released code "
      "takes the first 500 training images.",
    )
  },
)

_ONE_LAYER = {"vae-1": (1, "elbo"), "vae-5": (5, "elbo"), "vae-50": (50, "elbo")}
_ONE_LAYER |= {"iwae-5": (5, "iwae"), "iwae-50": (50, "iwae")}


def _cells(seeds: int, layers: tuple[int, ...] = (1,)) -> dict[str, list[axes.Overrides]]:
  """{cell: overrides of its runs}."""
  cells = {}
  for count in layers:
    own = {"arg.layers": count} if len(layers) > 1 else {}
    for name, (k, bound) in _ONE_LAYER.items():
      runs = [{"arg.k": k, "objective.bound": bound, **own, "seed": seed} for seed in range(seeds)]
      cells[name + ("-2layers" if count == 2 else "")] = runs
  return cells


_IWAE = "configs/iwae_mnist.py"
_QUICK = {"batch_size": 20, "num_steps": 7500, "figures_every": 7500}
_SHORT = {"num_steps": 12_000, "evaluate.likelihood.num_samples": 1000}
RUNS = {
  "table=1": {
    "quick": Budget(
      "mnist5k (4,000 training, 500 test images), one layer, three seeds, 37 epochs of batch 20, NLL by 5000 samples",
      minutes=12,
      config=f"{_IWAE}:quick",
      common=_QUICK,
      cells=_cells(3),
    ),
    "short": Budget(
      "MNIST (60,000, 10,000), one layer, three seeds, 20 epochs of batch 100, NLL by 1000 samples",
      minutes=100,
      config=f"{_IWAE}:quick,data=mnist",
      common=_SHORT,
      cells=_cells(3),
    ),
    "paper": Budget(
      "MNIST (60,000, 10,000), one and two layers, three seeds, 3,280 epochs of batch 20, NLL by 5000 samples",
      minutes=30 * 1440,
      full=True,
      config=_IWAE,
      cells=_cells(3, (1, 2)),
    ),
    "test": Budget(
      "mnist5k, 40 steps of a small network, two seeds, NLL by 20 samples: for tests",
      minutes=2,
      config=f"{_IWAE}:test",
      cells=_cells(2),
    ),
  }
}


def _label(cell: str) -> str:
  """vae-5-2layers -> VAE k = 5, 2 layers."""
  name, k, *more = cell.split("-")
  return f"{name.upper()} k = {k}" + (", 2 layers" if more else "")


def _pairs(cells: list[str]) -> list[tuple[str, str]]:
  """What the paper says is ordered: each has the lower NLL of the two."""
  ordered = [
    ("iwae-50", "iwae-5"),
    ("iwae-5", "vae-1"),
    ("iwae-50", "vae-1"),
    ("iwae-5", "vae-5"),
    ("iwae-50", "vae-50"),
  ]
  return [
    (a + more, b + more) for more in ("", "-2layers") for a, b in ordered if a + more in cells and b + more in cells
  ]


def _cell(folder: pathlib.Path, names: list[str]) -> dict[str, Any]:
  """Numbers of the finished runs of a cell, {} if there are none."""
  runs = measured.read(folder, names)
  if not runs:
    return {}
  results = {seed: run.results for seed, run in sorted(runs.items())}
  nll = measured.mean([r["test/nll"] for r in results.values()])
  images = np.mean([runs[seed].values["log_px"] for seed in results], 0)
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


def _data(runs: dict[str, dict]) -> str:
  """mnist5k (4,000 train, 500 test), as the runs say."""
  about = [run.results for found in runs.values() for run in found.values()]
  found = {f"{r['data']} ({r['split_sizes']['train']:,} train, {r['split_sizes']['test']:,} test)" for r in about}
  return ", ".join(sorted(found))


def _row(cell: str, found: dict[str, Any], full: bool) -> list[dict]:
  published = PAPER.published["table=1"][cell]
  row = [tables.cell(_label(cell)), tables.published(f"{published.value:.2f} ({published.more})", published.verified)]
  if not found:
    return [*row, tables.cell("not finished"), *[tables.cell("")] * 3]
  nll = tables.plus_minus(found["nll"], found["stderr_seeds"])
  difference = tables.difference(found["nll"] - published.value, found["stderr_seeds"], full and published.verified)
  units = ", ".join(found["active_units"].values())
  texts = (nll, f"± {found['stderr_images']:.2f}", units, difference)
  return row + [tables.cell(text, found["runs"]) for text in texts]


def _paired_table(pairs: dict[str, dict[str, Any]]) -> dict:
  words = {"lower": "lower: shown", "higher": "higher: the opposite is shown", "undecided": "cannot be told"}
  rows = []
  for name, p in pairs.items():
    by_seed = ", ".join(tables.plus_minus(d, None, sign=True) for d in p["by_seed"])
    difference = tables.plus_minus(p["difference"], p["stderr_images"], sign=True)
    seeds = "" if p["stderr_seeds"] is None else f"± {p['stderr_seeds']:.2f}"
    rows.append([tables.cell(text) for text in (name, difference, by_seed, seeds, words[p["verdict"]])])
  columns = ["first − second", "NLL difference ± over images", "by seed", "over seeds", "first is"]
  note = (
    "Each image's log p(x), averaged over seeds, before the difference is taken; all runs are evaluated with the same "
    "key, on the same binarised images. Shown: below zero at 95 % by the errors over images and, by Student's t, seeds."
  )
  return tables.table("Paired differences", columns, rows, note)


def _order(pairs: dict[str, dict[str, Any]]) -> list[str]:
  """Whether IWAE 50 < IWAE 5 < VAE, in a sentence for each number of layers."""
  found = []
  for more in ("", "-2layers"):
    chain = [f"{_label(a + more)} − {_label(b + more)}" for a, b in (("iwae-50", "iwae-5"), ("iwae-5", "vae-1"))]
    if not all(name in pairs for name in chain):
      continue
    order = " < ".join(_label(c + more) for c in ("iwae-50", "iwae-5", "vae-1"))
    numbers = "; ".join(
      f"{n}: {tables.plus_minus(pairs[n]['difference'], pairs[n]['stderr_images'], True)}" for n in chain
    )
    open_ones = [n for n in chain if pairs[n]["verdict"] == "undecided"]
    wrong = [n for n in chain if pairs[n]["verdict"] == "higher"]
    if wrong:
      found.append(
        f"The order of NLL {order} is not that of this budget: {', '.join(wrong)} is above zero ({numbers})."
      )
    elif open_ones:
      found.append(f"This budget cannot show the order of NLL {order}: {', '.join(open_ones)} may be zero ({numbers}).")
    else:
      found.append(f"The order of NLL {order} is shown ({numbers}).")
  return found


def _curves(folder: pathlib.Path, names: dict[str, list[str]]) -> list[dict]:
  """Learning curves, mean over seeds: held-out log p(x) where there is a validation split, else the ELBO trained on."""
  found = []
  for metric, what in (("valid/log_px", "validation log p(x), nats"), ("train/elbo", "training ELBO, nats")):
    series = []
    for cell, runs in names.items():
      done = [n for n in runs if (states.folder(folder, n) / "results.json").exists()]
      points = measured.curve(folder, done, metric)
      points = [p for p in points if p[0] >= points[-1][0] / 20]  # the first steps would set the scale
      if points:
        series.append(tables.series(_label(cell), points, done))
    if series:
      found.append(tables.figure(f"Learning curves: {what}", "step", what, series))
  return found


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """What the runs in a folder say: numbers, tables, figures, sentences."""
  budget = RUNS[item][name]
  names = {cell: [axes.run_name(o) for o in runs] for cell, runs in budget.cells.items()}
  cells = {cell: _cell(folder, runs) for cell, runs in names.items()}
  runs = {cell: measured.read(folder, names[cell]) for cell in names}
  pairs = {}
  for a, b in _pairs(list(names)):
    if (found := measured.pair(runs[a], runs[b])) is not None:
      pairs[f"{_label(a)} − {_label(b)}"] = found._asdict() | {"by_seed": list(found.by_seed)}
  columns = ["", "published NLL (active units)", "ours ± over seeds", "over images", "active units", "ours − published"]
  samples = {c["samples"] for c in cells.values() if c}
  note = f"Nats; NLL by {', '.join(map(str, sorted(samples)))} importance samples." if samples else "Nats."
  main = tables.table("Test NLL", columns, [_row(c, found, budget.full) for c, found in cells.items()], note)
  return {
    "numbers": {"data": _data(runs), "cells": {c: found for c, found in cells.items() if found}, "pairs": pairs},
    "tables": [main, *([_paired_table(pairs)] if pairs else [])],
    "figures": _curves(folder, names),
    "sentences": _order(pairs),
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  published = PAPER.published["table=1"]
  name = lambda cell: _label(cell).replace("k = ", "")
  return {
    "system": "VAE and IWAE, k = 1, 5, 50",
    "data": numbers["data"],
    "published": ", ".join(f"{name(c)} {published[c].value:.2f}" for c in numbers["cells"]),
    "ours": ", ".join(
      f"{name(c)} {tables.plus_minus(n['nll'], n['stderr_seeds'])}" for c, n in numbers["cells"].items()
    )
    + "; paired, "
    + ", ".join(
      f"{pair.replace('k = ', '')} {tables.plus_minus(p['difference'], p['stderr_images'], True)} ({p['verdict']})"
      for pair, p in numbers["pairs"].items()
    ),
  }

"""Test accuracy and cross-entropy of a convnet trained on imputed digits: table 1.

Digits are imputed by a MIWAE that was trained on them, with half of their pixels missing at random, or with parts of
the top half missing depending on the bottom half; see imputed_classifier.py.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.papers.mattei2019 import imputed_classifier
from dgm_jax.sweeps import axes

TITLE = "Test accuracy and cross-entropy of a convnet trained on MNIST with imputed pixels"
_ROWS = {
  "zero": "zero imputation",
  "single": "MIWAE, single imputation",
  "multiple": "MIWAE, multiple imputation",
  "complete": "complete images",
}
_value = functools.partial(Value, verified=False)
PUBLISHED = {  # accuracy; standard deviations in parentheses
  "mcar-zero": _value(0.9739, "(0.0018), 0.1003 (0.0092)"),
  "mcar-forest": _value(0.9805, "(0.0018), 0.0645 (0.0066)"),
  "mcar-single": _value(0.9847, "(0.0009), 0.0510 (0.0035)"),
  "mcar-multiple": _value(0.9870, "(0.0003), 0.0396 (0.0003)"),
  "mcar-complete": _value(0.9866, "(0.0007), 0.0464 (0.0026)"),
}
NOTES = (
  "Published: accuracy and cross-entropy on static MNIST; which pixels were missing was not read in the source and is "
  "assumed to be half of them at random. The classifier was not read either: ours has two convolutions of 5 x 5 with "
  "stride 2, of 32 and 64 channels, and a dense layer of 128, Adam with 1e-3, batch 100.",
  "Training images are imputed, test images are complete. Single: E[x_missing | x_observed], grey. Multiple: M draws "
  "by sampling importance resampling, of which one is used at random in each epoch. The four classifiers of a run "
  "start from the same parameters and see images in the same order.",
  "Half: each pixel with probability 1/2. Top: a quarter or all of the top half is missing, depending on the "
  "brightness of the bottom half (transform mar_top); that this is the paper's missing at random is unverified.",
  "Each seed is a MIWAE and a classifier; the missing pixels are the same for all. missForest was not run.",
)
_HIDE = {"mcar": "half", "mar_top": "top"}
_PAIRS = (("single", "zero"), ("multiple", "zero"), ("multiple", "single"), ("multiple", "complete"))


def _budget(what: str, minutes: float, config: str, seeds: int, sizes: Sequence[int], **options: Any) -> Budget:
  """A budget; `sizes`: K in training, draws M, importance samples per image, epochs of the classifier."""
  k, draws, samples, epochs = sizes
  cells: dict[str, list[axes.Overrides]] = {
    hide: [{"arg.k": k, "arg.hide": hide, "seed": seed} for seed in range(seeds)] for hide in _HIDE
  }
  classify = functools.partial(imputed_classifier.measure, num_draws=draws, num_samples=samples, epochs=epochs)
  measure = functools.partial(measured.of_runs, measure=classify)
  what = f"{what}, K = {k}; {draws} imputations by {samples:,} samples, {epochs} epochs of the classifier"
  return Budget(what, minutes, config=config, cells=cells, measure=measure, **options)


_CONFIG = "configs/miwae_mnist.py"
BUDGETS = {
  "quick": _budget("mnist5k, two seeds, 8 epochs of batch 32", 35, f"{_CONFIG}:quick", 2, (20, 10, 200, 20)),
  "short": _budget(
    "MNIST (60,000 training images), two seeds, 3 epochs of batch 32",
    180,
    _CONFIG,
    2,
    (20, 10, 100, 5),
    common={"num_epochs": 3, "optim.lr": 1e-3, "evaluate.importance_sampling.num_samples": 50},
  ),
  "paper": _budget(
    "MNIST (60,000 training images), five seeds, 500 epochs of batch 32",
    70 * 1440,
    _CONFIG,
    5,
    (50, 20, 1000, 50),
    full=True,
  ),
  "test": _budget("mnist5k, 40 steps of a small network, two seeds: for tests", 2, f"{_CONFIG}:test", 2, (3, 2, 5, 1)),
}


def _pair(runs: Sequence[dict[str, np.ndarray]], first: str, second: str) -> dict[str, Any]:
  """The difference of cross-entropies, paired by image."""
  of = lambda row: np.stack([run[f"{row}_cross_entropy"] for run in runs]).astype(np.float64)
  found = measured.difference(of(first), of(second))
  return found._asdict() | {"by_seed": list(found.by_seed)}


def _numbers(runs: Sequence[dict[str, np.ndarray]], row: str) -> dict[str, Any]:
  mean = lambda name: measured.mean([run[f"{row}_{name}"].mean() for run in runs])
  accuracy, entropy = mean("right"), mean("cross_entropy")
  found = {"accuracy": accuracy.mean, "accuracy_stderr": accuracy.stderr}
  return found | {"cross_entropy": entropy.mean, "cross_entropy_stderr": entropy.stderr}


def _published(cell: str) -> dict:
  value = PUBLISHED.get(cell)
  return tables.published("none") if value is None else tables.published(f"{value.value:.4f} {value.more}", False)


def _table(hide: str, numbers: dict[str, dict[str, Any]], names: Sequence[str]) -> dict:
  rows = []
  for row, n in numbers.items():
    texts = (tables.plus_minus(n[name], n[f"{name}_stderr"], digits=4) for name in ("accuracy", "cross_entropy"))
    known = _published(f"{hide}-{row}")
    rows.append([tables.cell(_ROWS[row]), known, *[tables.cell(text, names) for text in texts]])
  if f"{hide}-forest" in PUBLISHED:
    rows.insert(1, [tables.cell("missForest"), _published(f"{hide}-forest"), *[tables.cell("not run")] * 2])
  columns = ["trained on", "published accuracy, cross-entropy", "accuracy ± over seeds", "cross-entropy ± over seeds"]
  return tables.table(f"Classifier of test images, {_HIDE[hide]} missing", columns, rows)


def report(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Accuracies and cross-entropies of the measured runs, paired differences, conclusions."""
  cells, pairs, made, sentences = {}, {}, [], []
  for hide, names in stages.run_names(BUDGETS[name]).items():
    runs = measured.arrays(folder, names)
    if not runs:
      continue
    cells[hide] = {row: _numbers(runs, row) for row in _ROWS}
    made.append(_table(hide, cells[hide], names))
    for a, b in _PAIRS:
      found = _pair(runs, a, b)
      pairs[f"{_HIDE[hide]}: {_ROWS[a]} − {_ROWS[b]}"] = found
      size = tables.plus_minus(found["difference"], found["stderr_images"], sign=True, digits=4)
      words = measured.words(found["verdict"], "lower")
      claim = f"{_HIDE[hide]} missing, the cross-entropy of {_ROWS[a]} is lower than that of {_ROWS[b]}"
      sentences.append(f"With {claim}: {words} ({size} nats).")
  return {"numbers": {"cells": cells, "pairs": pairs}, "tables": made, "figures": [], "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda n: f"{n['accuracy']:.4f}, {n['cross_entropy']:.4f}"
  known = lambda row: f"{PUBLISHED[f'mcar-{row}'].value:.4f} {PUBLISHED[f'mcar-{row}'].more}"
  return {
    "system": "convnet on imputed digits: accuracy, cross-entropy",
    "data": "MNIST, " + ", ".join(_HIDE[h] for h in numbers["cells"]) + " missing",
    "published": "; ".join(f"{_ROWS[row]} {known(row)}" for row in _ROWS) + " (unverified)",
    "ours": "; ".join(
      f"{_HIDE[hide]}: " + ", ".join(f"{_ROWS[row]} {show(n)}" for row, n in rows.items())
      for hide, rows in numbers["cells"].items()
    ),
  }

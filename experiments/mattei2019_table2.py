"""Single imputation of UCI tables, half of whose entries are missing completely at random: table 2.

MIWAE is K = 20, the MVAE K = 1.  A seed is a mask: runs and other methods of one number have the same entries hidden.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.sweeps import axes
from experiments import error_tables, masked_tables, measured, stages
from experiments.papers import Budget, Value

TITLE = "Mean squared error of imputed entries of UCI tables, half of them missing completely at random"
NOTES = (
  "Published: five masks, standard deviations in parentheses where they were read; published missForest, PCA, kNN and "
  "mean are not these implementations, and what its PCA is was not read.",
  "Settings of the authors' notebook with the paper's tanh: two layers of 128, floor(D / 2) latent dimensions, "
  "Student-t for p(x|z) and q(z|x), a learned constant for what is missing, Adam with 1e-3, batch 64, 2,002 epochs, "
  "10,000 samples impute. Initialisation is orthogonal there, Glorot's here.",
  "Columns are standardised by all their entries before any is hidden; wines are without their quality.",
  "Each mask has a model of its own, whose seed is the mask's number: ± is over masks, and holds what initialisation "
  "and batches do.",
  masked_tables.NOTE,
)
_DATA = ("banknote", "breast", "concrete", "red", "white", "yeast")
_SAMPLES = {"miwae": 20, "mvae": 1}
_PUBLISHED = {
  "miwae": (0.446, 0.280, 0.501, 0.643, 0.735, 0.964),
  "mvae": (0.593, 0.318, 0.587, 0.686, 0.782, 0.997),
  "forest": (0.676, 0.291, 0.510, 0.697, 0.798, 1.41),
  "ppca": (0.682, 0.729, 0.938, 0.890, 0.865, 1.05),
  "knn": (0.744, 0.831, 0.962, 0.981, 0.929, 1.17),
  "mean": (1.02, 1.00, 1.01, 1.00, 1.00, 1.06),
}
_DEVIATIONS = dict(zip(_DATA, (0.038, 0.021, 0.040, 0.026, 0.033, 0.057), strict=True))  # of MIWAE
PUBLISHED = {
  f"{data}-{row}": Value(value, f"({_DEVIATIONS[data]:.3f})" if row == "miwae" else "", verified=False)
  for row, values in _PUBLISHED.items()
  for data, value in zip(_DATA, values, strict=True)
}
_CLAIMS = error_tables.Claims(
  error="MSE",
  over="masks",
  published=PUBLISHED,
  labels={"miwae": "MIWAE", "mvae": "MVAE"} | masked_tables.LABELS,
  pairs=(("miwae", "forest"), ("miwae", "mvae"), ("miwae", "ppca"), ("miwae", "mean")),
  digits=3,
)


def _cells(data: Sequence[str], masks: int) -> dict[str, list[axes.Overrides]]:
  """{white-miwae: overrides of its runs}."""
  return {
    f"{name}-{row}": [{"arg.data": name, "arg.k": k, "arg.mask": i, "seed": i} for i in range(masks)]
    for name in data
    for row, k in _SAMPLES.items()
  }


def _label(data: str, mask: int) -> str:
  return f"{data}-{mask}"


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]], methods: Sequence[str]) -> None:
  """The other methods' errors on each mask of each data set."""
  of: dict[str, list[str]] = {}
  for cell, runs in names.items():
    for mask, run in enumerate(runs):
      of.setdefault(_label(cell.partition("-")[0], mask), []).append(run)
  masked_tables.measure(folder, of, methods, (0,))


def _budget(what: str, minutes: float, config: str, data: Sequence[str], masks: int = 5, **options: Any) -> Budget:
  others = functools.partial(measure, methods=options.pop("methods", tuple(masked_tables.LABELS)))
  common = options.pop("common", {}) | {"evaluate.likelihood.num_samples": 100}  # of which the table has nothing
  return Budget(what, minutes, config=config, cells=_cells(data, masks), common=common, measure=others, **options)


_CONFIG = "configs/miwae_uci.py"
BUDGETS = {
  "quick": _budget(
    "six UCI tables, five masks, 5,000 updates of batch 64, 1,000 samples impute",
    40,
    f"{_CONFIG}:quick",
    _DATA,
    common={"eval_every": 5000},
  ),
  "short": _budget(
    "the four smaller UCI tables, five masks, 2,002 epochs of batch 64, 10,000 samples impute",
    75,
    _CONFIG,
    ("banknote", "breast", "concrete", "yeast"),
    full=True,
  ),
  "paper": _budget(
    "six UCI tables, five masks, 2,002 epochs of batch 64, 10,000 samples impute", 200, _CONFIG, _DATA, full=True
  ),
  "test": _budget(
    "mnist5k's grey levels for a table, 40 steps of a small network, two masks: for tests",
    2,
    f"{_CONFIG}:test",
    ("white",),
    2,
    methods=("mean",),
  ),
}


def report(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Errors of what is finished, and their differences mask by mask."""
  names = stages.run_names(BUDGETS[name])
  values: dict[str, dict] = {cell.partition("-")[0]: {} for cell in names}
  for cell, runs in names.items():
    data, _, row = cell.partition("-")
    found = measured.read(folder, runs)
    values[data][row] = {seed: run.results["test/imputation_mse"] for seed, run in found.items()}
    for mask in range(len(runs)):
      for method, mse in masked_tables.errors(folder, _label(data, mask), tuple(masked_tables.LABELS)).items():
        values[data].setdefault(method, {})[mask] = float(mse[0])
  return error_tables.report(_CLAIMS, values, names, ())  # nothing published is verified


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  rows = ("miwae", "mvae", "forest", "ppca", "mean")
  return error_tables.summary(_CLAIMS, numbers, "MIWAE, MSE of entries missing completely at random", rows)

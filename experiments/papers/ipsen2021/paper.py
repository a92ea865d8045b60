"""Ipsen, Mattei & Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random Data" (ICLR 2021).

  python -m dgm_jax reproduce ipsen2021 --table=1 --budget=quick --manual_dir=FOLDER
  python -m dgm_jax reproduce ipsen2021 --table=1 --budget=short --cells=white-miwae,white-known

Paper: https://arxiv.org/abs/2006.12871, table 1: root mean squared error of imputed entries of UCI tables in which, in
the first half of the columns, entries above the mean are missing.  Models differ in the logits l of p(m|x): MIWAE has
none, "agnostic" a linear map of x, "self-masking" l_d = -w_d (x_d - b_d), "known" also the sign of w_d; and in the
decoder, PPCA's or a deep one.  The low-rank joint model has p(m|z).  (FOLDER has the published UCI files; without it
they are downloaded.)
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.experiments.harness import measured, stages
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import error_tables, masked_tables
from dgm_jax.sweeps import axes

_DATA = ("banknote", "concrete", "red", "white", "yeast", "breast")
_LINEAR = {"arg.decoder": "linear"}
_TRAINED = {
  "miwae": ("MIWAE", {"arg.process": "ignorable"}),
  "known": ("not-MIWAE self-masking known", {"arg.process": "self_masking_known"}),
  "linear_known": ("not-MIWAE-PPCA self-masking known", {"arg.process": "self_masking_known"} | _LINEAR),
  "self": ("not-MIWAE self-masking", {"arg.process": "self_masking"}),
  "agnostic": ("not-MIWAE agnostic", {"arg.process": "linear"}),
  "low_rank": ("low-rank joint", {"arg.process": "low_rank_joint"}),
  "linear_self": ("not-MIWAE-PPCA self-masking", {"arg.process": "self_masking"} | _LINEAR),
  "linear_agnostic": ("not-MIWAE-PPCA agnostic", {"arg.process": "linear"} | _LINEAR),
}
# by row, data sets as in _DATA; standard errors where they are printed
_PUBLISHED = {
  "ppca": (1.39, 1.61, 1.61, 1.57, 1.67, 0.90),
  "linear_agnostic": ((1.25, 0.15), 1.47, 1.32, 1.27, (1.20, 0.05), 0.78),
  "linear_self": (0.57, 1.31, 1.13, 0.99, 0.78, 0.72),
  "linear_known": (0.57, 1.31, 1.13, 0.99, 0.77, 0.72),
  "miwae": (1.19, 1.66, 1.62, 1.55, 1.72, 1.20),
  "agnostic": ((0.80, 0.08), (2.63, 0.12), 1.30, 1.37, 1.43, 1.10),
  "self": ((1.88, 0.85), 1.26, 1.08, 1.04, 1.48, 0.74),
  "known": ((0.74, 0.05), 1.12, 1.07, 1.04, 1.38, 0.76),
  "low_rank": (0.79, 1.57, 1.42, 1.39, 1.19, 1.22),
  "forest": (1.28, 1.76, 1.64, 1.63, 1.66, 1.57),
  "mice": (1.41, 1.70, 1.68, 1.41, 1.72, 1.17),
  "mean": (1.73, 1.85, 1.83, 1.74, 1.69, 1.82),
}


def _value(number: float | tuple[float, float]) -> Value:
  """A mean over 5 runs; standard errors are printed where they are above 0.01."""
  if isinstance(number, tuple):
    return Value(number[0], f"± {number[1]:.2f}", stderr=number[1])
  return Value(number, stderr=0.01)


PAPER = Paper(
  authors="Ipsen, Mattei & Frellsen",
  title="not-MIWAE: Deep Generative Modelling with Missing not at Random Data",
  venue="ICLR 2021",
  url="https://arxiv.org/abs/2006.12871",
  items={"table=1": "RMSE of imputed entries of UCI tables, missing where they are above the mean"},
  published={
    "table=1": {
      f"{data}-{row}": _value(number)
      for row, numbers in _PUBLISHED.items()
      for data, number in zip(_DATA, numbers, strict=True)
    }
  },
  notes={
    "table=1": (
      "Published: mean over 5 runs, standard errors where they are above 0.01. Two layers of 128 tanh units, D - 1 "
      "latent dimensions, normal q and p, K = 20, Adam with 1e-3, 100,000 updates of batch 16, imputation with 10,000 "
      "importance samples; PPCA variants have a linear decoder and one learned variance.",
      "Columns are standardised with all entries before any are hidden, so that missing entries influence mean and "
      "scale, as in the paper.",
      "The hidden entries are a function of the data: no mask is drawn. Runs differ only in initialisation, batches "
      "and noise, so ± over seeds does not cover variation of the data.",
      "Ours imputes E[x_missing | x_observed, m], the weighted mean of the drawn x_missing; the authors' code uses the "
      "weighted mean of E[x|z].",
      masked_tables.NOTE,
    )
  },
)

CLAIMS = error_tables.Claims(
  error="RMSE",
  over="seeds",
  published=PAPER.published["table=1"],
  labels={row: _TRAINED[row][0] if row in _TRAINED else masked_tables.LABELS[row] for row in (*_PUBLISHED, "knn")},
  pairs=(
    ("known", "agnostic"),
    ("known", "miwae"),
    ("self", "miwae"),
    ("linear_known", "ppca"),
    ("known", "forest"),
    ("miwae", "mean"),
  ),
  within=0.1,
)


def _cells(data: Sequence[str], seeds: int, rows: Sequence[str] = tuple(_TRAINED)) -> dict[str, list[axes.Overrides]]:
  """{white-miwae: overrides of its runs}."""
  return {
    f"{name}-{row}": [{"arg.data": name, **_TRAINED[row][1], "seed": seed} for seed in range(seeds)]
    for name in data
    for row in rows
  }


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]], methods: Sequence[str], seeds: int) -> None:
  """Measures the other methods' errors on each data set of the budget."""
  data = dict.fromkeys(cell.partition("-")[0] for cell in names)
  of = {name: [run for cell, runs in names.items() if cell.startswith(f"{name}-") for run in runs] for name in data}
  masked_tables.measure(folder, of, methods, range(seeds))


def _budget(what: str, minutes: float, config: str, cells: dict, seeds: int, **options: Any) -> Budget:
  methods = options.pop("methods", tuple(masked_tables.LABELS))
  others = functools.partial(measure, methods=methods, seeds=seeds)
  return Budget(what, minutes, config=config, cells=cells, measure=others, **options)


_CONFIG = "configs/not_miwae_uci.py"
_NLL = {"evaluate.importance_sampling.num_samples": 100}  # not in the table
RUNS = {
  "table=1": {
    "quick": _budget(
      "white wine (4,898 rows), five seeds, 10,000 updates of batch 16, imputed with 1,000 samples",
      20,
      f"{_CONFIG}:quick",
      _cells(("white",), 5),
      5,
      common=_NLL,
      same_data=True,
    ),
    "short": _budget(
      "white wine (4,898 rows) alone, five seeds, 100,000 updates of batch 16, imputed with 10,000 samples",
      110,
      _CONFIG,
      _cells(("white",), 5),
      5,
      common=_NLL,
      full=True,
    ),
    "paper": _budget(
      "six UCI tables, five seeds, 100,000 updates of batch 16, imputed with 10,000 samples",
      8 * 60,
      _CONFIG,
      _cells(_DATA, 5),
      5,
      common=_NLL,
      full=True,
    ),
    "test": _budget(
      "mnist5k's grey levels as a table, 40 steps of a small network, two seeds: for tests",
      1,
      f"{_CONFIG}:test",
      _cells(("white",), 2, ("miwae", "known")),
      2,
      methods=("mean",),
    ),
  }
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  budget = RUNS[item][name]
  names = stages.run_names(budget)
  values: dict[str, dict] = {cell.partition("-")[0]: {} for cell in names}
  for cell, runs in names.items():
    data, _, row = cell.partition("-")
    found = measured.read(folder, runs)
    values[data][row] = {seed: run.results["test/imputation_rmse"] for seed, run in found.items()}
  for data in values:
    others = masked_tables.errors(folder, data, tuple(masked_tables.LABELS))
    values[data] |= {method: error_tables.by_seed(mse**0.5) for method, mse in others.items()}
  comparable = CLAIMS.labels if budget.full else () if name == "test" else masked_tables.LABELS
  return error_tables.report(CLAIMS, values, names, comparable)


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  rows = ("ppca", "linear_known", "miwae", "agnostic", "self", "known", "low_rank", "forest", "mean")
  return error_tables.summary(CLAIMS, numbers, "not-MIWAE, RMSE of entries missing above the mean", rows)

"""Larochelle & Murray, "The Neural Autoregressive Distribution Estimator" (AISTATS 2011).

https://proceedings.mlr.press/v15/larochelle11a.html
  python -m dgm_jax reproduce larochelle2011 --table=1 --manual_dir=FOLDER    # with mushrooms.npz, dna.npz, nips.npz
  python -m dgm_jax reproduce larochelle2011 --table=mnist --budget=short

Table 1: binary sets.  Table mnist: binarised MNIST, in the paper's text.
"""

import pathlib
from typing import Any

from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import exact_tables
from dgm_jax.sweeps import axes

_CONFIG = "configs/nade_mnist.py"
_ROWS = {"mushrooms": 2000, "dna": 1400, "nips": 400}  # of the training sets
_MIXTURE = {"mushrooms": -14.46, "dna": -98.19, "nips": -290.02}  # log-likelihoods of mixtures of Bernoullis
_ABOVE = {"mushrooms": (4.65, 0.04), "dna": (13.38, 0.57), "nips": (16.94, 1.11)}  # NADE's minus those, and its ±

PUBLISHED = {
  "table=1": {
    data: Value(round(-_MIXTURE[data] - above, 2), f"± {error:g}") for data, (above, error) in _ABOVE.items()
  },
  "table=mnist": {"nade": Value(88.86), "relu": Value(88.33)},
}
_LABELS = {"nade": "NADE, sigmoid", "relu": "NADE, ReLU"}
PAPER = Paper(
  authors="Larochelle & Murray",
  title="The Neural Autoregressive Distribution Estimator",
  venue="AISTATS 2011",
  url="https://proceedings.mlr.press/v15/larochelle11a.html",
  items={
    "table=1": "Test NLL of binary sets: mushrooms, dna, nips",
    "table=mnist": "Test NLL on static MNIST",
  },
  published=PUBLISHED,
  notes={
    "table=1": (
      "Published: log-likelihoods relative to a mixture of Bernoullis; here its own are added to them. One random "
      "order of the columns; over 12 orders the standard deviations are 0.045 (mushrooms), 0.150 (nips), 0.050 (dna).",
      "Published: 500 units, stochastic gradient with a decreasing rate, at most 500 passes, ends after 10 without a "
      "better validation set.",
      "Ours: the natural order, Adam; learning rate and weight decay are chosen on the validation set.",
    ),
    "table=mnist": (
      "Published: 500 sigmoid units, rate 5e-4, one order: 88.86 (84.07 on the training set). Uria, Murray & "
      "Larochelle (2014) report 88.33 with ReLU and batches, and 88.35 with sigmoid.",
      "Ours: the order by rows, Adam, batches of 100, the best checkpoint on the validation set.",
    ),
  },
)
CLAIMS = {item: exact_tables.Claims(of, lambda cell: _LABELS.get(cell, cell)) for item, of in PUBLISHED.items()}


def _sets(rates: tuple[float, ...], decays: tuple[float, ...], seeds: int = 1) -> dict[str, list[axes.Overrides]]:
  """Cells of table 1: runs that differ in learning rate and weight decay, for each seed."""

  def run(data, rate, decay, seed):
    epoch = dict.fromkeys(("log_every", "eval_every"), _ROWS[data] // 100)
    at_end = dict.fromkeys(("checkpoint_every", "figures_every"), _ROWS[data])
    options = {"arg.data": f"binary/{data}", "optim.lr": rate, "optim.weight_decay": decay}
    return options | epoch | at_end | {"seed": seed}

  return {
    data: [run(data, rate, decay, seed) for seed in range(seeds) for rate in rates for decay in decays]
    for data in _ROWS
  }


def _nets(seeds: int, **more: Any) -> dict[str, list[axes.Overrides]]:
  functions = {"nade": "sigmoid", "relu": "relu"}
  return {cell: [{"arg.f": f, **more, "seed": seed} for seed in range(seeds)] for cell, f in functions.items()}


def _budget(what: str, minutes: float, config: str, cells: dict, common: dict[str, Any], **options: Any) -> Budget:
  common = {"keep_best": "valid/log_px", "keep_checkpoints": 1} | common
  return Budget(what, minutes, config=config, cells=cells, common=common, measure=exact_tables.measure, **options)


_STATIC = "static MNIST (50,000, 10,000, 10,000)"
_STEPS = {"log_every": 500, "eval_every": 500, "checkpoint_every": 5000, "figures_every": 5000}
_ENDS = {"num_epochs": 1000, "early_stopping": 30}
RUNS = {
  "table=1": {
    "quick": _budget(
      "the published sets and splits, 500 units, one seed, until 30 epochs are not better on the validation set; one "
      "learning rate and two weight decays",
      10,
      _CONFIG,
      _sets((3e-3,), (0.01, 0.3)),
      _ENDS,
      same_data=True,
      caveat="Training and the settings are ours.",
    ),
    "short": _budget(
      "the published sets and splits, 500 units, three seeds, until 30 epochs are not better on the validation set; "
      "two learning rates and three weight decays",
      90,
      _CONFIG,
      _sets((1e-3, 3e-3), (0.01, 0.1, 0.3), 3),
      _ENDS,
      same_data=True,
    ),
  },
  "table=mnist": {
    "quick": _budget(
      "mnist5k binarised once (4,000 training images), 500 units, one seed, 4,000 steps",
      15,
      f"{_CONFIG}:quick",
      _nets(1),
      {"eval_every": 400, "checkpoint_every": 4000, "figures_every": 4000},
    ),
    "short": _budget(
      f"{_STATIC}, 500 units, one seed, at most 110 minutes of training each",
      240,
      _CONFIG,
      _nets(1),
      _STEPS | {"num_epochs": 500, "early_stopping": 30, "max_minutes": 110.0},
      same_data=True,
    ),
    "paper": _budget(
      f"{_STATIC}, 500 units, three seeds, until 30 epochs are not better on the validation set",
      2 * 1440,
      _CONFIG,
      _nets(3),
      _STEPS | {"num_epochs": 500, "early_stopping": 30},
      full=True,
    ),
    "test": _budget("mnist5k, 40 steps of a small net: for tests", 1, f"{_CONFIG}:test", _nets(2), {}),
  },
}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs in a folder."""
  found = exact_tables.report(CLAIMS[item], RUNS[item][name], folder)
  return found | {"numbers": {"item": item} | found["numbers"]}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  return exact_tables.summary(CLAIMS[numbers["item"]], numbers, "NADE, 500 units")

"""Training on MNIST by IWAE, its doubly reparameterised form and sticking the landing (Tucker et al., 2019)."""

import functools
import pathlib
from typing import Any

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.sweeps import axes, states

TITLE = "Training curves of IWAE, IWAE-DReG, IWAE-STL, RWS and RWS-DReG on MNIST"
NOTES = (
  "No numbers were read from the paper's curves (K = 64); its network, rate, number of steps and the figure's number "
  "are unverified. Ours is the one-layer model of Burda et al. (2016).",
  "For the generative network all methods use the gradient of IWAE with K samples. For the inference network IWAE and "
  "DReG estimate the gradient of the same bound, STL with a bias; RWS and RWS-DReG follow reweighted wake-sleep.",
  "Differences in log p(x) are per test image, averaged over seeds. Shown: above zero at 95 % by a z test over images "
  "and a t test over seeds.",
)
_NAMES = {"iwae": "IWAE", "dreg": "IWAE-DReG", "stl": "IWAE-STL", "rws": "RWS", "rws-dreg": "RWS-DReG"}
_GRADIENTS = {
  "iwae": ("iwae", "reparameterised"),
  "dreg": ("iwae", "dreg"),
  "stl": ("iwae", "stl"),
  "rws": ("rws", "reparameterised"),
  "rws-dreg": ("rws", "dreg"),
}
_CLAIMS = (("dreg", "iwae"), ("dreg", "stl"), ("rws-dreg", "rws"))  # the first has the higher log p(x)


def _cells(names: tuple[str, ...], seeds: int) -> dict[str, list[axes.Overrides]]:
  of = lambda name, seed: (
    dict(zip(("objective.bound", "objective.gradient"), _GRADIENTS[name], strict=True)) | {"seed": seed}
  )
  return {name: [of(name, seed) for seed in range(seeds)] for name in names}


_IWAE = "configs/iwae_mnist.py"
_LIKELIHOOD = {"evaluate.importance_sampling.num_samples": 1000}
BUDGETS = {
  "quick": Budget(
    "mnist5k (4,000 training, 500 test images), K = 16 instead of 64, IWAE, DReG and STL, three seeds, 25 epochs of "
    "batch 50, log p(x) by 1000 samples",
    minutes=5,
    config=f"{_IWAE}:quick,k=16",
    common={"batch_size": 50, "num_steps": 2000, "figures_every": 2000, **_LIKELIHOOD},
    cells=_cells(("iwae", "dreg", "stl"), 3),
  ),
  "short": Budget(
    "MNIST (60,000, 10,000), K = 64, three seeds, 6.7 epochs of batch 100, log p(x) by 1000 samples",
    minutes=120,
    config=f"{_IWAE}:quick,k=64,data=mnist",
    common={"num_steps": 4000, **_LIKELIHOOD},
    cells=_cells(tuple(_NAMES), 3),
  ),
  "paper": Budget(
    "MNIST (60,000, 10,000), K = 64, three seeds, 3,280 epochs of batch 20, log p(x) by 5000 samples",
    minutes=50 * 1440,
    caveat="The model, rates and length are those of Burda et al. (2016): the paper's own were not read in the source.",
    config=f"{_IWAE}:k=64",
    cells=_cells(tuple(_NAMES), 3),
  ),
  "test": Budget(
    "mnist5k, 40 steps of a small network, K = 4, two seeds, log p(x) by 20 samples: for tests",
    minutes=1,
    config=f"{_IWAE}:test,k=4",
    cells=_cells(("iwae", "dreg"), 2),
  ),
}


def _number(folder: pathlib.Path, names: list[str]) -> dict[str, Any] | None:
  runs = measured.read(folder, names)
  if not runs:
    return None
  by_seed = {str(seed): -run.results["test/nll"] for seed, run in sorted(runs.items())}
  found = measured.mean(list(by_seed.values()))
  return {"log_px": found.mean, "stderr_seeds": found.stderr, "by_seed": by_seed, "runs": names}


def _curve(folder: pathlib.Path, cell: str, names: list[str], metric: str) -> dict | None:
  done = [n for n in names if states.is_finished(folder, n)]
  points, band = measured.late_curve(folder, done, metric)
  return tables.series(_NAMES[cell], points, done, band=band) if points else None


def _figures(folder: pathlib.Path, names: dict[str, list[str]]) -> list[dict]:
  found = []
  for metric, what in (("train/log_px", "training bound"), ("valid/log_px", "validation bound")):
    lines = [_curve(folder, cell, runs, metric) for cell, runs in names.items()]
    if any(lines):
      found.append(tables.figure(f"{what.capitalize()}, nats", "step", what, [line for line in lines if line]))
  return found


def report(budget: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs."""
  names = stages.run_names(BUDGETS[budget])
  runs = {cell: measured.read(folder, n) for cell, n in names.items()}
  cells = {cell: found for cell, n in names.items() if (found := _number(folder, n))}
  rows = [
    [tables.cell(_NAMES[c]), tables.cell(tables.plus_minus(n["log_px"], n["stderr_seeds"]), n["runs"])]
    for c, n in cells.items()
  ]
  pairs, lines = {}, []
  for first, second in (pair for pair in _CLAIMS if set(pair) <= names.keys()):
    if (found := measured.pair(runs[second], runs[first])) is None:  # in NLL; log p(x) is first - second
      continue
    label = f"{_NAMES[first]} − {_NAMES[second]}"
    pairs[label] = found._asdict() | {"by_seed": list(found.by_seed)}
    lines.append(tables.paired_row(label, pairs[label], measured.named_words(found.verdict, "higher")))
  columns = ["first − second", "log p(x) difference ± over images", "by seed", "over seeds", "first is"]
  return {
    "numbers": {"cells": cells, "pairs": pairs, "config": BUDGETS[budget].config},
    "tables": [tables.table("Test log p(x), nats", ["", "ours ± over seeds"], rows)] * bool(rows)
    + [tables.table("Paired differences", columns, lines)] * bool(lines),
    "figures": _figures(folder, names),
    "sentences": [
      f"Claim that {n.replace(' − ', ' ends above ')}: {measured.named_words(p['verdict'], 'higher')}."
      for n, p in pairs.items()
    ],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  signed = functools.partial(tables.plus_minus, sign=True)
  pairs = ", ".join(f"{n} {signed(p['difference'], p['stderr_images'])}" for n, p in numbers["pairs"].items())
  k, data = numbers["config"].partition("k=")[2].partition(",")[::2]
  return {
    "system": f"log p(x) of IWAE, K = {k}, by gradient estimator",
    "data": "MNIST" if data else "mnist5k",
    "published": "no numbers: DReG above IWAE",
    "ours": ", ".join(
      f"{_NAMES[c]} {tables.plus_minus(n['log_px'], n['stderr_seeds'])}" for c, n in numbers["cells"].items()
    )
    + f"; paired {pairs}",
  }

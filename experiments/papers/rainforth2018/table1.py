"""Table 1 of Rainforth et al. (2018): VAE, IWAE, PIWAE, MIWAE and CIWAE on MNIST with 64 samples per step.

Three numbers for each: the bound with as many samples as in training (IWAE-64), log p(x) with 5000 samples, and their
difference, which is minus the KL divergence from the proposal of the 64 samples to the posterior.
"""

import functools
import math
import pathlib
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.sweeps import axes

TITLE = "IWAE-64, log p(x) and -KL of VAE, IWAE, PIWAE, MIWAE, CIWAE on MNIST"
NOTES = (
  "Published: MNIST, 3,280 epochs of Burda et al. (2016), 64 samples per step, ± the standard deviation over 4 runs.",
  "PIWAE(8,8) and MIWAE(8,8) have M = 8 bounds of K = 8 samples: MIWAE trains both networks by their mean, PIWAE the "
  "generative network by IWAE with all 64. CIWAE is (ELBO + IWAE) / 2. VAE averages 64 estimates of the ELBO.",
  "-KL is IWAE-64 minus log p(x): minus the divergence from the proposal of 64 samples to the posterior.",
  "Ours: ± is the standard error over seeds. Orders are those of the published numbers, decided at 95 % by a z test "
  "over images and a t test over seeds; all runs see the same binarised test images.",
)

_METRICS = {"bound": "IWAE-{t}", "log_px": "log p(x)", "minus_kl": "−KL"}
_NAMES = {"iwae": "IWAE", "piwae": "PIWAE", "miwae": "MIWAE", "ciwae": "CIWAE β = 0.5", "vae": "VAE"}
_TABLE = {  # mean, standard deviation over 4 runs
  "bound": ((-86.11, 0.10), (-85.74, 0.07), (-85.69, 0.04), (-86.08, 0.08), (-86.69, 0.08)),
  "log_px": ((-84.52, 0.02), (-84.46, 0.06), (-84.97, 0.10), (-85.24, 0.08), (-86.21, 0.19)),
  "minus_kl": ((-1.59, 0.10), (-1.28, 0.09), (-0.72, 0.11), (-0.84, 0.11), (-0.47, 0.20)),
}
PUBLISHED = {
  f"{metric}/{cell}": Value(mean, f"{sd:.2f}", stderr=sd / 2)
  for metric, row in _TABLE.items()
  for cell, (mean, sd) in zip(_NAMES, row, strict=True)
}
_ORDERS = {  # the first is the higher one
  "bound": (("piwae", "iwae"), ("miwae", "iwae"), ("iwae", "vae")),
  "log_px": (("piwae", "iwae"), ("iwae", "miwae"), ("miwae", "vae")),
  "minus_kl": (("vae", "miwae"), ("miwae", "piwae"), ("piwae", "iwae"), ("ciwae", "iwae")),
}


def _cells(side: int, seeds: int) -> dict[str, list[axes.Overrides]]:
  """side^2 samples per step; PIWAE and MIWAE have `side` bounds of `side` samples."""
  of = lambda bound, k, m=1: {"objective.bound": bound, "objective.num_samples": k, "objective.num_bounds": m}
  whole = side**2
  cells = {"iwae": of("iwae", whole), "piwae": of("piwae", side, side), "miwae": of("miwae", side, side)}
  cells |= {"ciwae": of("ciwae", whole), "vae": of("elbo", whole)}
  return {name: [overrides | {"seed": seed} for seed in range(seeds)] for name, overrides in cells.items()}


def _budget(what: str, side: int, seeds: int, **options: Any) -> Budget:
  """A budget that also measures the bound with as many samples as in training."""

  def measure(model: Any) -> dict[str, np.ndarray]:
    test = model.experiment.splits.test
    return {"bound": model.log_px(test, k=side**2, transform=True, batch_size=100)}

  measure_all = functools.partial(measured.of_runs, measure=measure)
  return Budget(what, cells=_cells(side, seeds), measure=measure_all, **options)


_IWAE = "configs/iwae_mnist.py"
_SIDES = {"quick": 4, "short": 8, "paper": 8, "test": 2}
BUDGETS = {
  "quick": _budget(
    "mnist5k (4,000 training, 500 test images), 16 samples per step instead of 64, PIWAE(4,4) and MIWAE(4,4), three "
    "seeds, 25 epochs of batch 50, log p(x) by 1000 samples",
    side=_SIDES["quick"],
    seeds=3,
    minutes=8,
    config=f"{_IWAE}:quick",
    common={
      "batch_size": 50,
      "num_steps": 2000,
      "figures_every": 2000,
      "evaluate.importance_sampling.num_samples": 1000,
    },
  ),
  "short": _budget(
    "MNIST (60,000, 10,000), 64 samples per step, three seeds, 6.7 epochs of batch 100, log p(x) by 1000 samples",
    side=_SIDES["short"],
    seeds=3,
    minutes=90,
    same_data=True,
    config=f"{_IWAE}:quick,data=mnist",
    common={"num_steps": 4000, "evaluate.importance_sampling.num_samples": 1000},
  ),
  "paper": _budget(
    "MNIST (60,000, 10,000), 64 samples per step, four seeds, 3,280 epochs of batch 20, log p(x) by 5000 samples",
    side=_SIDES["paper"],
    seeds=4,
    minutes=60 * 1440,
    full=True,
    config=_IWAE,
    common={"objective.eval_samples": 64},
  ),
  "test": _budget(
    "mnist5k, 40 steps of a small network, two seeds, 4 samples per step, log p(x) by 20: for tests",
    side=_SIDES["test"],
    seeds=2,
    minutes=2,
    config=f"{_IWAE}:test",
  ),
}


def _values(folder: pathlib.Path, names: list[str]) -> dict[int, dict[str, np.ndarray]]:
  """{seed: {metric: [N]}} of the runs that are finished and measured."""
  found = {}
  for name in names:
    for (seed, run), more in zip(measured.read(folder, [name]).items(), measured.arrays(folder, [name]), strict=False):
      bound = more["bound"].astype(np.float64)
      log_px = run.values["log_px"].astype(np.float64)
      found[seed] = {"bound": bound, "log_px": log_px, "minus_kl": bound - log_px}
  return found


def _number(values: dict[int, dict[str, np.ndarray]], metric: str) -> dict[str, Any]:
  by_seed = {str(seed): float(v[metric].mean()) for seed, v in values.items()}
  found = measured.mean(list(by_seed.values()))
  sd = None if found.stderr is None else found.stderr * math.sqrt(len(by_seed))
  return {"mean": found.mean, "stderr_seeds": found.stderr, "sd": sd, "by_seed": by_seed}


def _row(metric: str, label: str, cell: str, n: dict[str, Any] | None, names: list[str], full: bool) -> list[dict]:
  published = PUBLISHED[f"{metric}/{cell}"]
  row = [tables.cell(f"{label}, {_NAMES[cell]}")]
  row.append(tables.published(f"{tables.plus_minus(published.value, None)} ± {published.more}"))
  if n is None:
    return [*row, tables.cell("not finished"), *[tables.cell("")] * 2]
  ours = tables.plus_minus(n["mean"], n["stderr_seeds"])
  spread = "" if n["sd"] is None else f"{n['sd']:.2f}"
  difference = tables.difference(n["mean"] - published.value, n["stderr_seeds"], full)
  return row + [tables.cell(text, names) for text in (ours, spread, difference)]


def _pairs(values: dict[str, dict[int, dict[str, np.ndarray]]]) -> dict[str, dict[str, Any]]:
  """{metric/first/second: the paired difference}."""
  found = {}
  for metric, orders in _ORDERS.items():
    for first, second in orders:
      seeds = sorted(values[first].keys() & values[second].keys())
      if seeds:
        a, b = (np.stack([values[cell][s][metric] for s in seeds]) for cell in (first, second))
        pair = measured.difference(a, b)._asdict()
        found[f"{metric}/{first}/{second}"] = pair | {"by_seed": list(pair["by_seed"])}
  return found


def _pair_name(key: str, samples: int) -> str:
  metric, first, second = key.split("/")
  return f"{_METRICS[metric].format(t=samples)}: {_NAMES[first]} − {_NAMES[second]}"


def _sentence(pairs: dict[str, dict[str, Any]], samples: int) -> str:
  """How many of the published orders are shown, and which are not."""
  named = {
    v: [_pair_name(k, samples) for k, p in pairs.items() if p["verdict"] == v] for v in ("higher", "lower", "undecided")
  }
  text = f"Of {len(pairs)} published orders {len(named['higher'])} are shown"
  text += f"; the opposite is shown for {', '.join(named['lower'])}" if named["lower"] else ""
  return text + (f"; it cannot be told for {', '.join(named['undecided'])}." if named["undecided"] else ".")


def report(budget: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs."""
  planned, samples = BUDGETS[budget], _SIDES[budget] ** 2
  names = stages.run_names(planned)
  values = {cell: _values(folder, runs) for cell, runs in names.items()}
  numbers, rows = {}, []
  for metric, label in _METRICS.items():
    for cell in _NAMES:
      n = _number(values[cell], metric) if values[cell] else None
      numbers |= {f"{metric}/{cell}": n} if n else {}
      rows.append(_row(metric, label.format(t=samples), cell, n, names[cell], planned.full))
  pairs = _pairs(values)
  columns = ["", "published ± sd of 4 runs (64 samples)", "ours ± over seeds", "sd over seeds", "ours − published"]
  found = [tables.table("Test set, nats", columns, rows)]
  if pairs:
    columns = ["first − second", "difference ± over images", "by seed", "over seeds", "first is"]
    says = lambda p: measured.named_words(p["verdict"], "higher")
    lines = [tables.paired_row(_pair_name(key, samples), p, says(p)) for key, p in pairs.items()]
    found.append(tables.table("Paired differences, published order: above zero", columns, lines))
  return {
    "numbers": {"samples": samples, "cells": numbers, "pairs": pairs},
    "tables": found,
    "figures": [],
    "sentences": [_sentence(pairs, samples)] if pairs else [],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  samples, cells = numbers["samples"], numbers["cells"]
  of = lambda metric, show: ", ".join(
    f"{_NAMES[c]} {show(f'{metric}/{c}')}" for c in _NAMES if f"{metric}/{c}" in cells
  )
  verdicts = [p["verdict"] for p in numbers["pairs"].values()]
  return {
    "system": f"IWAE-{samples} and log p(x) of five objectives",
    "data": "mnist5k" if samples < 64 else "MNIST",
    "published": "log p(x): " + of("log_px", lambda key: tables.plus_minus(PUBLISHED[key].value, None)),
    "ours": "log p(x): "
    + of("log_px", lambda key: tables.plus_minus(cells[key]["mean"], cells[key]["stderr_seeds"]))
    + f"; of {len(verdicts)} published orders {verdicts.count('higher')} shown, {verdicts.count('lower')} opposite",
  }

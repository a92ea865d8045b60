"""Cremer, Li & Duvenaud, "Inference Suboptimality in Variational Autoencoders" (ICML 2018).

  python -m dgm_jax reproduce cremer2018 --table=1

Paper: https://arxiv.org/abs/1801.03558.  The table of inference gaps, for a diagonal normal (FFG) and a flow as q(z|x):

  approximation gap = log p(x) - L[q*],   amortisation gap = L[q*] - L[q],

where q* is the best member of q's family for each image, and log p(x) is the greater of the estimates by IWAE with 5000
samples and by annealed importance sampling.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper
from dgm_jax.sweeps import axes

PAPER = Paper(
  authors="Cremer, Li & Duvenaud",
  title="Inference Suboptimality in Variational Autoencoders",
  venue="ICML 2018",
  url="https://arxiv.org/abs/1801.03558",
  items={"table=1": "Inference gaps of a diagonal normal and of a flow"},
  published={"table=1": {}},
  notes={
    "table=1": (
      "The paper's numbers were not read in the source and are not shown, and the table's number is unverified. Its "
      "claims: the amortisation gap is the larger one, and a richer family of q has a smaller approximation gap.",
      "Settings of the authors' code: 50 latent units, two layers of 200 tanh units, batches of 100, the schedule of "
      "3,280 epochs of Burda et al. (2016), KL warmed up over 100 epochs, IWAE with 5000 samples, AIS with 100 chains "
      "of 10,000 temperatures. Its flow has auxiliary variables; ours is inverse autoregressive, with two layers.",
      "log p(x) is IWAE or AIS, whichever has the greater mean over the images of the row. Both are stochastic lower "
      "bounds, and so is the approximation gap.",
      "q* is found by gradient ascent for each image; for the flow all its parameters are optimised, starting from the "
      "trained ones. If the ascent stops short of the optimum, the rest counts as approximation gap. ± is the standard "
      "error over seeds; claims are decided at 95 % by a z test over images and a t test over seeds.",
    )
  },
)

_FAMILIES = {"ffg": ("FFG", "diagonal"), "flow": ("flow", "iaf")}


def _cells(data: tuple[str, ...], seeds: int) -> dict[str, list[axes.Overrides]]:
  """{ffg-mnist5k: overrides of its runs}."""
  return {
    f"{family}-{name}": [{"arg.q": q, "arg.data": name, "seed": seed} for seed in range(seeds)]
    for name in data
    for family, (_, q) in _FAMILIES.items()
  }


_VAE = "configs/flow_vae_mnist.py"
RUNS = {
  "table=1": {
    "quick": Budget(
      "mnist5k (4,000 training images) thresholded, three seeds, 75 epochs of batch 100; gaps of 100 test images, IWAE "
      "with 5000 samples, AIS with 4 chains of 200 temperatures, q* by 300 steps",
      minutes=8,
      config=f"{_VAE}:quick",
      common={"figures_every": 3000},
      cells=_cells(("mnist5k",), 3),
    ),
    "short": Budget(
      "statically binarised MNIST and thresholded Fashion-MNIST, three seeds, 12,000 steps of batch 100; gaps of 100 "
      "test images, IWAE with 1000 samples, AIS with 4 chains of 200 temperatures, q* by 300 steps",
      minutes=100,
      config=f"{_VAE}:quick",
      common={"num_steps": 12_000, "evaluate.importance_sampling.num_samples": 1000},
      cells=_cells(("binarized_mnist", "fashion_mnist"), 3),
    ),
    "paper": Budget(
      "statically binarised MNIST and thresholded Fashion-MNIST, three seeds, 3,280 epochs of batch 100; gaps of 100 "
      "test images, IWAE with 5000 samples, AIS with 100 chains of 10,000 temperatures",
      minutes=30 * 1440,
      caveat="The flow and the number of images are not the paper's.",
      config=_VAE,
      cells=_cells(("binarized_mnist", "fashion_mnist"), 3),
    ),
    "test": Budget(
      "mnist5k, 40 steps of a small network, two seeds, gaps of 4 images: for tests",
      minutes=2,
      config=f"{_VAE}:test",
      cells=_cells(("mnist5k",), 2),
    ),
  }
}


def gaps(run: compare.Run) -> dict[str, np.ndarray]:
  """The terms of a run's gaps for each image, [N] each: see the module's docstring."""
  values = {name: a.astype(np.float64) for name, a in run.values.items()}
  elbo, ais = values["gaps_elbo"], values["gaps_log_px"]
  iwae = values["log_px"][: len(ais)]
  log_px = max((iwae, ais), key=np.mean)
  ffg = values["gaps_elbo_local"]
  best = values.get("gaps_elbo_own", ffg)
  terms = {"iwae": iwae, "ais": ais, "log_px": log_px, "elbo_best": best, "elbo_ffg": ffg, "elbo": elbo}
  return terms | {"approximation": log_px - best, "amortisation": best - elbo, "inference": log_px - elbo}


_TERMS = {
  "iwae": "IWAE",
  "ais": "AIS",
  "log_px": "log p(x)",
  "elbo_best": "L[q*]",
  "elbo_ffg": "L[q*], FFG",
  "elbo": "L[q]",
  "approximation": "approximation gap",
  "amortisation": "amortisation gap",
  "inference": "both gaps",
}


def _label(cell: str) -> str:
  """flow-mnist5k -> flow, mnist5k."""
  family, _, data = cell.partition("-")
  return f"{_FAMILIES[family][0]}, {data}"


def _claims(cells: Mapping[str, dict[int, dict[str, np.ndarray]]]) -> dict[str, dict[str, Any]]:
  """{difference claimed to be above zero: its paired estimate}."""

  def differ(first: tuple[str, str], second: tuple[str, str]) -> dict[str, Any]:
    (a, term_a), (b, term_b) = first, second
    seeds = sorted(cells[a].keys() & cells[b].keys())
    found = measured.difference(
      np.stack([cells[a][s][term_a] for s in seeds]), np.stack([cells[b][s][term_b] for s in seeds])
    )
    return found._asdict() | {"by_seed": list(found.by_seed)}

  found = {}
  for cell in cells:
    found[f"{_label(cell)}: amortisation − approximation gap"] = differ((cell, "amortisation"), (cell, "approximation"))
  for flow in (c for c in cells if c.startswith("flow-")):
    data = flow.partition("-")[2]
    found[f"{_label(flow)}: L[q*] − L[q*] of FFG"] = differ((flow, "elbo_best"), (flow, "elbo_ffg"))
    if (ffg := f"ffg-{data}") in cells and cells[ffg].keys() & cells[flow].keys():
      found[f"{data}: approximation gap, FFG − flow"] = differ((ffg, "approximation"), (flow, "approximation"))
  return found


_WORDS = {"higher": "above zero: shown", "lower": "below zero: the opposite is shown", "undecided": "cannot be told"}


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the finished runs in a folder: numbers, tables, sentences."""
  names = stages.run_names(RUNS[item][name])
  runs = {cell: measured.read(folder, n) for cell, n in names.items()}
  cells = {cell: {seed: gaps(run) for seed, run in found.items()} for cell, found in runs.items() if found}
  numbers, rows = {}, []
  for cell, values in cells.items():
    by_term = {term: measured.mean([v[term].mean() for v in values.values()]) for term in _TERMS}
    numbers[cell] = {term: {"mean": m.mean, "stderr_seeds": m.stderr} for term, m in by_term.items()}
    numbers[cell]["images"] = len(next(iter(values.values()))["elbo"])
    texts = [tables.plus_minus(m.mean, m.stderr) for m in by_term.values()]
    rows.append([tables.cell(_label(cell)), *[tables.cell(text, names[cell]) for text in texts]])
  claims = _claims(cells)
  made = [tables.table("Inference gaps, nats", ["q, data", *_TERMS.values()], rows)] if rows else []
  if claims:
    columns = ["claim: above zero", "difference ± over images", "by seed", "over seeds", "it is"]
    lines = [tables.paired_row(n, p, _WORDS[p["verdict"]]) for n, p in claims.items()]
    made.append(tables.table("Paired differences", columns, lines))
  return {
    "numbers": {"cells": numbers, "claims": claims},
    "tables": made,
    "figures": [],
    "sentences": [f"{n}: {_WORDS[p['verdict']]}." for n, p in claims.items()],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table: system, data, published, ours."""
  show = lambda n: tables.plus_minus(n["mean"], n["stderr_seeds"])
  data = list(dict.fromkeys(cell.partition("-")[2] for cell in numbers["cells"]))
  images = next(iter(numbers["cells"].values()))["images"]
  verdicts = [p["verdict"] for p in numbers["claims"].values()]
  return {
    "system": "inference gaps, FFG and flow",
    "data": f"{', '.join(data)} ({images} test images)",
    "published": "no numbers: the amortisation gap is larger, and the approximation gap is smaller with a flow",
    "ours": "approximation, amortisation gap: "
    + "; ".join(
      f"{_label(c)} {show(n['approximation'])}, {show(n['amortisation'])}" for c, n in numbers["cells"].items()
    )
    + f"; of {len(verdicts)} claims {verdicts.count('higher')} shown, {verdicts.count('lower')} opposite",
  }

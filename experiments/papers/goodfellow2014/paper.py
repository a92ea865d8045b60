"""Goodfellow et al., "Generative Adversarial Nets" (NIPS 2014).

https://arxiv.org/abs/1406.2661
  python -m dgm_jax reproduce goodfellow2014 --table=1 --budget=quick
  python -m dgm_jax reproduce goodfellow2014 --table=samples --budget=quick

Table 1: log-likelihood of MNIST's test digits under a Parzen window of samples, during training, beside windows around
training digits and around k-means centres, which need no model.  Table "samples", which is not in the paper: two GANs,
a VAE and a diffusion model, whose samples are measured alike.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.papers.goodfellow2014 import alike, parzen

_LABELS = {"simultaneous": "GAN, both updated at once", "alternating": "GAN, updated in turns"}
_WITHOUT = {"digits": "training digits", "centres": "k-means centres"}

PAPER = Paper(
  authors="Goodfellow et al.",
  title="Generative Adversarial Nets",
  venue="NIPS 2014",
  url="https://arxiv.org/abs/1406.2661",
  items={
    "table=1": "Log-likelihood of test digits under a Parzen window of samples",
    "table=samples": "Samples of two GANs, a VAE and a diffusion model, measured alike (not in the paper)",
  },
  published={
    "table=1": {
      "simultaneous": Value(225.0, stderr=2.0),
      "digits": Value(243.0, verified=False),
      "centres": Value(313.0, verified=False),
    },
    "table=samples": {},
  },
  notes={
    "table=1": (
      "Published: 10,000 samples as centres, sigma of ten values between 0.1 and 1 chosen on 1,000 validation digits, "
      "10,000 test digits, grey levels in [0, 1], nats; ± standard error over test digits. The number of epochs is not "
      "published, and the authors' code updates both players at once from the same samples, where the paper's "
      "algorithm alternates. The rows of training digits and k-means centres are those of Theis et al. (2016).",
      "A list of training digits scores higher than the GAN: the number is no log-likelihood of the model, and says "
      "little of its samples.",
      "Ours: 50,000 training digits, validation digits 50,000 to 51,000; ± standard error over seeds; 10,000 training "
      "digits, the mean of four random choices (standard deviation 0.5; 241.2 with the first 10,000, 238.0 with the "
      "last), and 10,000 centres after ten passes of Lloyd's algorithm over 50,000 digits.",
    ),
    "table=samples": (
      "Ours alone: configs/samples_mnist.py, grey digits in [0, 1]; 10,000 samples against the 10,000 test digits, and "
      "as many training digits and held-out digits in place of samples: a model that beats these has memorised them, "
      "or a number cannot tell.",
      "None of the models was tuned for these numbers. The VAE's draws have the noise of p(x|z), its means have none: "
      "a density is no picture, and most numbers here are of pictures.",
    ),
  },
)


def _cells(seeds: int, orders: tuple[str, ...] = ("simultaneous",)) -> dict[str, list[dict[str, Any]]]:
  return {order: [{"arg.order": order, "seed": seed} for seed in range(seeds)] for order in orders}


_CONFIG, _SAMPLES = "configs/goodfellow_mnist.py", "configs/samples_mnist.py"
_measure = functools.partial(measured.of_runs, measure=parzen.measure)
_EPOCH = 500  # steps


def _budget(epochs: int, minutes: float, seeds: int, checkpoints: int, orders: tuple[str, ...]) -> Budget:
  steps = epochs * _EPOCH // checkpoints
  return Budget(
    f"MNIST, 50,000 training digits, {epochs} epochs, {seeds} seeds, scored at {checkpoints} checkpoints",
    minutes=minutes,
    same_data=True,
    caveat="The paper's number of epochs is not known.",
    config=f"{_CONFIG}:epochs={epochs}",
    common={"checkpoint_every": steps, "keep_checkpoints": checkpoints, "eval_every": steps},
    cells=_cells(seeds, orders),
    measure=_measure,
  )


def _alike(epochs: int, minutes: float, seeds: int) -> Budget:
  return Budget(
    f"MNIST, grey, 50,000 training digits, {epochs} epochs of each model, a fifth of them of DCGAN, "
    f"{seeds} seed{'s' if seeds > 1 else ''}",
    minutes=minutes,
    caveat="There are no published numbers to compare with.",
    config=f"{_SAMPLES}:epochs={epochs}",
    cells=_models(seeds, {"arg.epochs": epochs // 5}),
    measure=functools.partial(measured.of_runs, measure=alike.measure),
  )


def _models(seeds: int, of_dcgan: dict[str, Any] | None = None) -> dict[str, list[dict[str, Any]]]:
  own = {"dcgan": of_dcgan or {}}
  return {m: [{"arg.model": m, **own.get(m, {}), "seed": s} for s in range(seeds)] for m in alike.MODELS}


RUNS = {
  "table=samples": {
    "quick": _alike(25, 80, 1),
    "short": _alike(100, 8 * 60, 3),
    "test": Budget(
      "mnist5k, 40 steps of small networks, one seed: for tests",
      minutes=2,
      caveat="There are no published numbers to compare with.",
      config=f"{_SAMPLES}:test",
      cells=_models(1),
      measure=functools.partial(measured.of_runs, measure=alike.measure),
    ),
  },
  "table=1": {
    "quick": _budget(25, 40, 3, 5, ("simultaneous",)),
    "short": _budget(250, 8 * 60, 3, 10, ("simultaneous", "alternating")),
    "paper": _budget(1000, 15 * 60, 3, 20, ("simultaneous",)),
    "test": Budget(
      "mnist5k, 40 steps of small networks, two seeds: for tests",
      minutes=1,
      config=f"{_CONFIG}:test",
      common={"keep_checkpoints": 2},
      cells=_cells(2),
      measure=_measure,
    ),
  },
}


def _number(values: np.ndarray) -> dict[str, Any]:
  found = measured.mean(list(values[:, 0]))
  return {"mean": found.mean, "stderr": found.stderr, "by_seed": list(found.values), "sigma": float(values[0, 2])}


def _cell(arrays: list[dict[str, np.ndarray]]) -> dict[str, Any]:
  """{"curve": {step: number}, "last": number} of a cell's measured runs."""
  steps = sorted(set.intersection(*(set(a["steps"].tolist()) for a in arrays)))
  of = lambda step: np.stack([a["scores"][a["steps"].tolist().index(step)] for a in arrays])
  curve = {str(step): _number(of(step)) for step in steps}
  return {"curve": curve, "last": curve[str(steps[-1])], "steps": steps[-1]}


def _published(name: str) -> dict:
  value = PAPER.published["table=1"].get(name)
  if value is None:
    return tables.published("none")
  return tables.published(tables.plus_minus(value.value, value.stderr, digits=0), value.verified)


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The report of the runs that are finished and measured."""
  if item == "table=samples":
    return alike.report(RUNS[item][name], folder)
  names = stages.run_names(RUNS[item][name])
  found = {cell: arrays for cell, runs in names.items() if (arrays := measured.arrays(folder, runs))}
  cells, rows, lines = {cell: _cell(arrays) for cell, arrays in found.items()}, [], []
  without: Mapping[str, Any] = {}
  for arrays in found.values():
    for each in arrays:
      without = without or {key: list(map(float, each[key])) for key in _WITHOUT if key in each}
  for cell, number in cells.items():
    last = number["last"]
    ours = tables.plus_minus(last["mean"], last["stderr"], digits=1)
    texts = (f"{number['steps'] / _EPOCH:g}", ours, f"{last['sigma']:.3f}")
    rows.append([tables.cell(_LABELS[cell]), _published(cell), *(tables.cell(t, names[cell]) for t in texts)])
    points = [(int(step) / _EPOCH, value["mean"]) for step, value in number["curve"].items()]
    lines.append(tables.series(_LABELS[cell], points, names[cell]))
  for key, (mean, error, sigma) in without.items():
    texts = ("", tables.plus_minus(mean, error, digits=1), f"{sigma:.3f}")
    rows.append([tables.cell(_WITHOUT[key]), _published(key), *(tables.cell(t) for t in texts)])
  columns = ["windows around", "published", "epochs", "ours", "sigma"]
  note = "Nats. GANs: ± standard error over seeds; published, and rows without a model: over test digits."
  made = [tables.table("Parzen windows of 10,000 centres", columns, rows, note)] if rows else []
  drawn = [tables.figure("Parzen window during training", "epochs", "nats", lines)] if lines else []
  sentences = []
  if without and cells:
    best = max(number["last"]["mean"] for number in cells.values())
    higher = "higher" if without["digits"][0] > best else "no higher"
    sentences.append(f"A list of 10,000 training digits scores {higher} than the samples of the best GAN.")
  return {"numbers": {"cells": cells, "without": without}, "tables": made, "figures": drawn, "sentences": sentences}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  if numbers.get("item") == "table=samples":
    return alike.summary(numbers)
  show = lambda n: tables.plus_minus(n["last"]["mean"], n["last"]["stderr"], digits=1)
  ours = [f"{_LABELS[c]}, {n['steps'] / _EPOCH:g} epochs: {show(n)}" for c, n in numbers["cells"].items()]
  ours += [f"{_WITHOUT[key]} {values[0]:.1f}" for key, values in numbers["without"].items()]
  return {
    "system": "GAN of 2014: Parzen window of 10,000 samples, nats",
    "data": "MNIST",
    "published": "225 ± 2; training digits 243, k-means centres 313 (unverified)",
    "ours": "; ".join(ours),
  }

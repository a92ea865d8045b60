"""Held-out log-likelihood by epoch, for MIWAE and MVAE trained on half the pixels, IWAE and VAE on all: figure 1."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import files
from dgm_jax.evaluate import compare
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget
from dgm_jax.sweeps import axes, states
from dgm_jax.training.workdir import legacy_configs

TITLE = "Held-out log-likelihood by epoch: MIWAE and MVAE on half the pixels, IWAE and VAE on all, MNIST"
PUBLISHED: dict = {}
NOTES = (
  "The paper's figure has no numbers that could be read; that its MIWAE has K = 50, and its claims, are unverified. "
  "Claims: MIWAE on half the pixels is close to IWAE on all, and above MVAE.",
  "Pixels are missing completely at random, each with probability 1/2, the same ones in every epoch. Held-out and test "
  "images are complete; p(x) is that of all their pixels. Images are binarised once, not by Larochelle's draw.",
  "The encoders of MIWAE and MVAE see no complete image in training, so for complete images their importance samples "
  "are worse and the bound on log p(x) is less tight.",
  "Curves: held-out images with 50 importance samples. Numbers: test images with more samples.",
)
_HIDE = {"miwae": "mcar", "mvae": "mcar", "iwae": "nothing", "vae": "nothing"}
_LABELS = {"miwae": "MIWAE, half", "mvae": "MVAE, half", "iwae": "IWAE, all", "vae": "VAE, all"}
_PAIRS = (("miwae", "mvae"), ("iwae", "miwae"), ("miwae", "vae"))  # the first has the lower NLL


def _cells(seeds: int, k: int = 50) -> dict[str, list[axes.Overrides]]:
  of = lambda cell: {"arg.k": k if cell in ("miwae", "iwae") else 1, "arg.hide": _HIDE[cell]}
  return {cell: [of(cell) | {"seed": seed} for seed in range(seeds)] for cell in _HIDE}


_CONFIG, _CAVEAT = "configs/miwae_mnist.py", "There are no published numbers to compare with."
BUDGETS = {
  "quick": Budget(
    "mnist5k (4,000 training images), K = 20, two seeds, 8 epochs of batch 32, NLL by 1000 samples",
    minutes=70,
    caveat=_CAVEAT,
    config=f"{_CONFIG}:quick",
    cells=_cells(2, 20),
  ),
  "short": Budget(
    "MNIST (59,000 training images), K = 20, two seeds, 3 epochs of batch 32, NLL by 500 samples",
    minutes=150,
    caveat=_CAVEAT,
    config=_CONFIG,
    common={
      "data.valid_size": 1000,
      "num_epochs": 3,
      "optim.lr": 1e-3,
      "evaluate.importance_sampling.num_samples": 500,
    },
    cells=_cells(2, 20),
  ),
  "paper": Budget(
    "MNIST (50,000 training images), K = 50, three seeds, 500 epochs of batch 32, NLL by 5000 samples",
    minutes=40 * 1440,
    full=True,
    config=_CONFIG,
    common={"data.valid_size": 10_000},
    cells=_cells(3),
  ),
  "test": Budget(
    "mnist5k, 40 steps of a small network, two seeds: for tests",
    minutes=3,
    caveat=_CAVEAT,
    config=f"{_CONFIG}:test",
    cells=_cells(2),
  ),
}


def _nll(runs: Mapping[int, compare.Run], seeds: Sequence[int]) -> np.ndarray:
  """NLL of each test image, [S, N]."""
  return -np.stack([runs[seed].values["log_px"] for seed in seeds]).astype(np.float64)


def _cell(runs: Mapping[int, compare.Run]) -> dict[str, Any]:
  """Test NLL of a cell's finished runs."""
  values = _nll(runs, sorted(runs))
  nll, images = measured.mean(values.mean(1)), values.mean(0)
  error = float(images.std(ddof=1) / len(images) ** 0.5)
  return {"nll": nll.mean, "stderr_seeds": nll.stderr, "stderr_images": error, "by_seed": list(nll.values)}


def _pair(first: Mapping[int, compare.Run], second: Mapping[int, compare.Run]) -> dict[str, Any] | None:
  """The paired difference of test NLL; the runs' transforms differ only in what they hide of training images."""
  seeds = sorted(first.keys() & second.keys())
  if not seeds:
    return None
  found = measured.difference(_nll(first, seeds), _nll(second, seeds))
  return found._asdict() | {"by_seed": list(found.by_seed)}


def _line(folder: pathlib.Path, cell: str, runs: Sequence[str]) -> dict | None:
  done = [run for run in runs if states.is_finished(folder, run)]
  curve = measured.late_curve(folder, done, "valid/log_px")
  if not curve.points:
    return None
  path = states.folder(folder, done[0])
  epoch = (
    files.read_json(path / "results.json")["split_sizes"]["train"] // legacy_configs.read_config(path)["batch_size"]
  )
  points, band = curve.over(epoch)
  return tables.series(_LABELS[cell], points, done, band=band)


def _tables(
  cells: Mapping[str, dict], pairs: Mapping[str, dict], names: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
  show = lambda n: (tables.plus_minus(n["nll"], n["stderr_seeds"]), f"± {n['stderr_images']:.2f}")
  rows = [
    [tables.cell(_LABELS[c]), tables.published("figure"), *[tables.cell(text, names[c]) for text in show(n)]]
    for c, n in cells.items()
  ]
  columns = ["trained on", "published", "ours ± over seeds", "over images"]
  made = [tables.table("Test NLL", columns, rows, "Nats.")] if rows else []
  if pairs:
    columns = ["first − second", "NLL difference ± over images", "by seed", "over seeds", "first is"]
    lines = [tables.paired_row(n, p, measured.named_words(p["verdict"], "lower")) for n, p in pairs.items()]
    made.append(tables.table("Paired differences", columns, lines))
  return made


def report(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Test NLL of the finished runs, paired differences, curves."""
  names = stages.run_names(BUDGETS[name])
  runs = {cell: found for cell, n in names.items() if (found := measured.read(folder, n))}
  cells = {cell: _cell(found) for cell, found in runs.items()}
  pairs, sentences = {}, []
  for a, b in _PAIRS:
    if a in runs and b in runs and (found := _pair(runs[a], runs[b])) is not None:
      pairs[f"{_LABELS[a]} − {_LABELS[b]}"] = found
      size = tables.plus_minus(found["difference"], found["stderr_images"], sign=True)
      words = measured.words(found["verdict"], "lower")
      sentences.append(f"The NLL of {_LABELS[a]} is lower than that of {_LABELS[b]}: {words} ({size} nats).")
  lines = [line for cell, n in names.items() if (line := _line(folder, cell, n)) is not None]
  drawn = []
  if lines:
    drawn.append(tables.figure("Held-out log-likelihood", "epochs", "log p(x), nats", lines) | {"file": "curves.png"})
  data = dict.fromkeys(run.results["data"] for found in runs.values() for run in found.values())
  return {
    "numbers": {"data": ", ".join(data), "cells": cells, "pairs": pairs},
    "tables": _tables(cells, pairs, names),
    "figures": drawn,
    "sentences": sentences,
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  show = lambda c, n: f"{_LABELS[c]} {tables.plus_minus(n['nll'], n['stderr_seeds'])}"
  gap = lambda p: tables.plus_minus(p["difference"], p["stderr_images"], sign=True)
  pairs = [f"{name} {gap(p)}" for name, p in numbers["pairs"].items()]
  return {
    "system": "MIWAE and MVAE on half the pixels, IWAE and VAE on all",
    "data": numbers["data"],
    "published": "figure",
    "ours": "; ".join([", ".join(show(c, n) for c, n in numbers["cells"].items()), *pairs]),
  }

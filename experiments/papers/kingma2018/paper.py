"""Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions" (NeurIPS 2018).

https://arxiv.org/abs/1807.03039
  python -m dgm_jax prepare-data cifar10/small --manual_dir=FOLDER
  python -m dgm_jax reproduce kingma2018 --table=cifar
  python -m dgm_jax reproduce kingma2018 --table=cifar --budget=short

Table cifar: bits per dimension of Glow and RealNVP on 4,000 images of CIFAR-10, beside densities in closed form.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.api import loading
from dgm_jax.core import files
from dgm_jax.experiments.harness import measured, stages, tables
from dgm_jax.experiments.harness.paper import Budget, Paper, Value
from dgm_jax.experiments.shared import closed_form_images
from dgm_jax.sweeps import states

_CONFIG, _ITEM, _CLOSED = "configs/glow_cifar10.py", "table=cifar", "closed_forms"
_LABELS = {"glow": "Glow", "glow-additive": "Glow, additive couplings", "realnvp": "RealNVP"}
_CELLS = {
  "glow": {"arg.net": "glow"},
  "glow-additive": {"arg.net": "glow", "arg.transform": "additive"},
  "realnvp": {"arg.net": "realnvp"},
}
_NUMBERS = ("bits_per_dim", "log_px_stderr", "invertibility")

PAPER = Paper(
  authors="Kingma & Dhariwal",
  title="Glow: Generative Flow with Invertible 1x1 Convolutions",
  venue="NeurIPS 2018",
  url="https://arxiv.org/abs/1807.03039",
  items={_ITEM: "Bits per dimension of CIFAR-10"},
  published={_ITEM: {"glow": Value(3.35), "realnvp": Value(3.49)}},
  notes={
    _ITEM: (
      "Published: 3 levels of 32 steps with 512 channels on all 50,000 training images; RealNVP (Dinh et al., 2017) "
      "with 8 residual blocks of 64 channels.",
      "Ours: the first 4,000 training and 1,000 test images and small networks, except for the paper's budget; the "
      "numbers are comparable with one another, not with the published ones.",
      "Bits are bounds by one draw of the noise of dequantisation. The densities in closed form are of the dequantised "
      "images; the ridge and the dimension of probabilistic PCA are those best on a tenth of the training images.",
    )
  },
)


def measure(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> None:
  """The results of each finished run, and once the densities in closed form of their data."""
  for name in [name for runs in names.values() for name in runs]:
    path, place = measured.file(folder, name), states.folder(folder, name)
    if not states.is_finished(folder, name) or path.exists():
      continue
    print(f"  measuring {name}", flush=True)
    path.parent.mkdir(exist_ok=True)
    run = loading.of_run(place)
    parts, closed = run.experiment.splits, measured.file(folder, _CLOSED)
    if not closed.exists():
      train, test = (np.asarray(part["x"]) for part in (parts.train, parts.test))
      files.save_arrays(closed, **closed_form_images.log_likelihoods(train, test, 0))
    found = {n: np.asarray(run.results[f"test/{n}"]) for n in _NUMBERS if f"test/{n}" in run.results}
    files.save_arrays(path, **found, entries=parts.test["x"][0].size)


def _budget(what: str, minutes: float, config: str, **options: Any) -> Budget:
  cells = {cell: [{**overrides, "seed": 0}] for cell, overrides in _CELLS.items()}
  return Budget(what, minutes, config=config, cells=cells, measure=measure, **options)


RUNS = {
  _ITEM: {
    "quick": _budget("4,000 images, 3 levels of 2 steps, 32 channels, 200 steps", 20, f"{_CONFIG}:quick"),
    "short": _budget("4,000 images, 3 levels of 8 steps, 128 channels, 100 epochs", 480, _CONFIG),
    "paper": _budget("50,000 images, the sizes of the paper, 1,800 epochs", 200_000, f"{_CONFIG}:paper", full=True),
    "test": _budget("40 steps of small networks on mnist5k: for tests", 1, f"{_CONFIG}:test"),
  }
}


def _cells(folder: pathlib.Path, names: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
  """Bits per dimension of the runs that are measured, and of the densities in closed form."""
  found: dict[str, dict[str, Any]] = {}
  for cell, runs in names.items():
    if arrays := measured.arrays(folder, runs):
      of = {name: float(value) for name, value in arrays[0].items()}
      error = of.pop("log_px_stderr", 0.0) / (of.pop("entries") * np.log(2))
      found[cell] = {"mean": of.pop("bits_per_dim"), "stderr_images": error, **of, "runs": list(runs)}
  if closed := measured.arrays(folder, [_CLOSED]):
    for name in closed_form_images.LABELS:
      bits = closed[0][name]
      found[name] = {
        "mean": float(bits.mean()),
        "stderr_images": float(bits.std(ddof=1) / len(bits) ** 0.5),
        "runs": [],
      }
    found["ppca"]["dimensions"] = int(closed[0]["chosen_ppca"])
  return found


def _label(cell: str, found: Mapping[str, Any]) -> str:
  dimensions = f", {found['dimensions']} dimensions" if "dimensions" in found else ""
  return (_LABELS | closed_form_images.LABELS)[cell] + dimensions


def report(item: str, name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Bits per dimension of flows, published and ours, and of simpler densities."""
  planned = RUNS[item][name]
  names, published = stages.run_names(planned), PAPER.published[item]
  cells, rows = _cells(folder, names), []
  for cell in [*(c for c in closed_form_images.LABELS if c in cells), *names]:
    found = cells.get(cell, {})
    texts = ["not finished", "", ""]
    if found:
      inverse = f"{found['invertibility']:.1g}" if "invertibility" in found else ""
      texts = [f"{found['mean']:.3f}", f"± {found['stderr_images']:.3f}", inverse]
    value = f"{published[cell].value:g}" if cell in published else ""
    shown = (tables.cell(text, found.get("runs", ())) for text in texts)
    rows.append([tables.cell(_label(cell, found)), tables.published(value), *shown])
  columns = ["", "published", "ours", "over images", "invertibility"]
  note = "Bits per dimension; invertibility: the worst error of an inverse, and of log p in single precision."
  return {
    "numbers": {"cells": cells},
    "tables": [tables.table("Bits per dimension", columns, rows, note)],
    "figures": [],
    "sentences": [],
  }


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  ours = [f"{_label(cell, found)} {found['mean']:.2f}" for cell, found in numbers["cells"].items()]
  return {
    "system": "Glow and RealNVP",
    "data": "CIFAR-10, 4,000 images",
    "published": "Glow 3.35, RealNVP 3.49 (50,000 images)",
    "ours": "bits per dimension: " + ", ".join(ours),
  }

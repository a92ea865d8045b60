"""Densities of colour photographs in closed form, beside the networks of table 5: see shared/closed_form_images.py."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax import data
from dgm_jax.experiments.harness import computed, measured, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.experiments.shared.closed_form_images import DIMENSIONS, LABELS, RIDGES, log_likelihoods

TITLE = "Bits per dimension of 4,000 colour photographs in closed form: beside the networks of table 5"
NOTES = (
  "Published, on 50,000 training and 10,000 test images: a uniform distribution 8.00, a multivariate Gaussian 4.70.",
  "Ours: cifar10/small, the first 4,000 training and 1,000 test images, comparable with none of these. A covariance of "
  "3,072 entries from 4,000 images overfits; the row with a ridge adds a multiple of the identity to it.",
  "In closed form; the ridge and the dimension of probabilistic PCA are those best on 400 of the training images. The "
  "noise of dequantisation is drawn anew for each seed, ± is over these draws; log P(x) is a bound.",
)
PUBLISHED = {"uniform": Value(8.00), "gaussian": Value(4.70)}


def _compute(seeds: int, folder: pathlib.Path) -> None:
  splits = data.load("cifar10/small")
  train, test = splits.train["x"], splits.test["x"]
  made = {f"seed-{s}": functools.partial(log_likelihoods, train, test, s) for s in range(seeds)}
  config = {"model": "densities in closed form", "data": "cifar10/small", "seeds": seeds}
  config |= {"ridges": list(RIDGES), "dimensions": list(DIMENSIONS)}
  computed.write(folder, config, 0, 0, made, "log-likelihoods")


def _how(cell: str, found: list[Mapping[str, np.ndarray]]) -> str:
  """What was chosen for a row, in words."""
  words = {"ridge": "{:g}", "ppca": "{:g} dimensions"}.get(cell)
  each = [words.format(float(a[f"chosen_{cell}"])) for a in found] if words else []
  return ", ".join(dict.fromkeys(each))


def report(seeds: int, folder: pathlib.Path) -> dict[str, Any]:
  """The numbers of the finished draws of the noise."""
  found = [a for s in range(seeds) if (a := computed.read(folder, f"seed-{s}")) is not None]
  cells, lines = {}, []
  for cell in LABELS if found else ():
    bits = measured.mean([float(a[cell].mean()) for a in found])
    error = float(np.mean([a[cell].std(ddof=1) for a in found]) / len(found[0][cell]) ** 0.5)
    cells[cell] = {"bits_per_dim": bits.mean, "stderr_seeds": bits.stderr, "stderr_images": error, "kind": "bound"}
    cells[cell]["chosen"] = _how(cell, found)
    value = PUBLISHED.get(cell)
    texts = (tables.plus_minus(bits.mean, bits.stderr, digits=3), f"± {error:.3f}", cells[cell]["chosen"])
    beside = tables.published("none" if value is None else f"{value.value:.2f}")
    lines.append([tables.cell(LABELS[cell]), beside, *[tables.cell(text, ["computed"]) for text in texts]])
  columns = ["", "published, 50,000 images", "ours ± over draws of the noise", "over images", "chosen in validation"]
  note = "Bits per dimension of dequantised integers, bounds."
  made = [tables.table("Test bits per dimension", columns, lines, note)]
  return {"numbers": {"cells": cells}, "tables": made if lines else [], "figures": [], "sentences": []}


def summary(numbers: Mapping[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  cells = numbers["cells"]
  return {
    "system": "densities in closed form, bits per dimension",
    "data": "cifar10/small (4,000 train, 1,000 test)",
    "published": ", ".join(f"{LABELS[c]} {PUBLISHED[c].value:.2f} (50,000 images)" for c in cells if c in PUBLISHED),
    "ours": ", ".join(
      f"{LABELS[c]} {tables.plus_minus(n['bits_per_dim'], n['stderr_seeds'], digits=3)}" for c, n in cells.items()
    ),
  }


SEEDS = {"quick": 1, "short": 5, "test": 1}
BUDGETS = {
  name: Budget(
    f"cifar10/small (4,000 training, 1,000 test images), {seeds} draw{'s' * (seeds > 1)} of the noise",
    3 * seeds,
    compute=functools.partial(_compute, seeds),
  )
  for name, seeds in SEEDS.items()
}

"""The rows that check the protocol: normals in closed form, of logits of dequantised MNIST, with and without the class.

  x' = logit(a + (1 - 2 a) (x + u) / 256),  a = 1e-6,  u ~ U(0, 1)

The normals have mean and covariance of the 50,000 training digits, of all of them or of each class; the number with
the class is that of the density log 1/10 sum_y p(x'|y), not of p(x'|y) of the true y.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from dgm_jax import data
from dgm_jax.experiments.harness import comparisons, computed, measured, tables
from dgm_jax.experiments.harness.paper import Budget, Value

TITLE = "Test log-likelihood of normals on logits of MNIST: checks the protocol"
NOTES = (
  "In closed form, no settings: the rows check data, split, dequantisation, logits and the formula with the class.",
  "The published noise was drawn once. Ours is drawn five times, training and test digits with noise of their own.",
  "The difference is judged by the error over draws of the noise and over the test digits together.",
  "With the class: log 1/10 sum_y p(x|y), the density of x; log p(x|y) of the true y is about -1346.",
)
_ROUNDED = 0.05  # the error that one decimal leaves
PUBLISHED = {"gaussian": Value(1366.9, stderr=_ROUNDED), "gaussian-class": Value(1344.7, stderr=_ROUNDED)}
_LABELS = {"gaussian": "a normal", "gaussian-class": "a normal of each class"}
_ALPHA, _CLASSES, _VALID = 1e-6, 10, 10_000


def logits(x: np.ndarray, rng: np.random.Generator, alpha: float = _ALPHA) -> np.ndarray:
  """x' above, float64 [N, D], of grey levels x [N, ...]."""
  share = alpha + (1 - 2 * alpha) * (x.reshape(len(x), -1) + rng.random((len(x), x[0].size))) / 256
  return np.log(share) - np.log1p(-share)


def log_normal(x: np.ndarray, train: np.ndarray) -> np.ndarray:
  """log N(x; mean, covariance of train), [N], by the Cholesky factor of the covariance (divided by N)."""
  mean = train.mean(0)
  factor = np.linalg.cholesky(np.cov(train.T, bias=True))
  white = solve_triangular(factor, (x - mean).T, lower=True)
  return -0.5 * np.square(white).sum(0) - np.log(np.diag(factor)).sum() - 0.5 * len(mean) * math.log(2 * math.pi)


def log_likelihoods(train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
  """{"gaussian", "gaussian-class", "true-class": log p of the test digits [N]} with the noise of a seed."""
  rng = np.random.default_rng(seed)
  x, held_out = logits(train["x"], rng), logits(test["x"], rng)
  classes = np.arange(_CLASSES)
  given = np.stack([log_normal(held_out, x[train["y"] == y]) for y in classes])
  return {
    "gaussian": log_normal(held_out, x),
    "gaussian-class": logsumexp(given, 0) - math.log(_CLASSES),
    "true-class": given[test["y"], np.arange(len(held_out))],
  }


def _compute(seeds: int, folder: pathlib.Path) -> None:
  splits = data.load("mnist", valid_size=_VALID)
  made = {f"seed-{s}": lambda s=s: log_likelihoods(splits.train, splits.test, s) for s in range(seeds)}
  config = {"model": "normals of logits", "data": "mnist", "alpha": _ALPHA, "valid_size": _VALID, "seeds": seeds}
  computed.write(folder, config, 0, 0, made, "log-likelihoods")


def report(seeds: int, folder: pathlib.Path) -> dict[str, Any]:
  """The numbers of the finished draws of the noise."""
  found = [a for s in range(seeds) if (a := computed.read(folder, f"seed-{s}")) is not None]
  cells, lines = {}, []
  for cell, value in PUBLISHED.items() if found else ():
    nll = measured.mean([-float(a[cell].mean()) for a in found])
    error = float(np.mean([a[cell].std(ddof=1) for a in found]) / len(found[0][cell]) ** 0.5)
    cells[cell] = {"nll": nll.mean, "stderr_seeds": nll.stderr, "stderr_images": error, "kind": "bound"}
    difference = tables.difference(nll.mean - value.value, math.hypot(nll.stderr or 0.0, error), True)
    ours = tables.plus_minus(nll.mean, nll.stderr)
    texts = (ours, f"± {error:.2f}", difference)
    shown = [tables.cell(text, ["computed"]) for text in texts]
    lines.append([tables.cell(_LABELS[cell]), tables.published(f"{value.value:g}"), *shown])
  columns = ["", "published NLL", "ours ± over draws of the noise", "over digits", "ours − published"]
  note = "Nats of the logits; log p of the integers is this plus the Jacobian of the transforms, a bound."
  true = [float(-a["true-class"].mean()) for a in found]
  said = [f"log p(x given the true y) would give NLL {np.mean(true):.1f}, which is no density of x."] if true else []
  made = [tables.table("Test NLL of normals", columns, lines, note)] if lines else []
  return {"numbers": {"cells": cells}, "tables": made, "figures": [], "sentences": said}


def ours(numbers: Mapping[str, Any]) -> dict[str, comparisons.Ours]:
  """Our numbers by cell, with the joint error over draws of the noise and test digits."""
  joint = lambda cell: math.hypot(cell["stderr_seeds"] or 0.0, cell["stderr_images"])
  return {name: comparisons.Ours(cell["nll"], joint(cell), in_nats=True) for name, cell in numbers["cells"].items()}


def summary(numbers: dict[str, Any]) -> dict[str, str]:
  """A row of README's table."""
  cells = numbers["cells"]
  return {
    "system": "a normal in closed form, without and with the class: the protocol",
    "data": "MNIST, logits (50,000, 10,000, 10,000)",
    "published": "/".join(f"{PUBLISHED[cell].value:g}" for cell in cells),
    "ours": "/".join(tables.plus_minus(c["nll"], c["stderr_seeds"]) for c in cells.values()),
  }


SEEDS = {"quick": 5, "test": 1}
BUDGETS = {
  name: Budget(
    f"MNIST, 50,000 training digits, {seeds} draw{'s' * (seeds > 1)} of the noise",
    1,
    full=True,
    same_data=True,
    compute=lambda folder, seeds=seeds: _compute(seeds, folder),
  )
  for name, seeds in SEEDS.items()
}

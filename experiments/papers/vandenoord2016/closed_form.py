"""Densities of colour photographs in closed form, in bits per dimension: what a network has to be better than.

log P(x) of integers x in 0 .. 255 is bounded by that of y = (x + u) / 256, u ~ U(0, 1), with density p(y):

  bits per dimension = (-log p(y) + D log 256) / (D log 2)

The uniform density has 8.  A normal and probabilistic PCA are the models gaussian_mixture, with one component, and
factor_analysis at the maximum of their likelihood, in double precision.  Where something is to be chosen, the last
tenth of the training images chooses it, and all of them then fit the parameters.
"""

import functools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax import data
from dgm_jax.experiments.harness import computed, measured, tables
from dgm_jax.experiments.harness.paper import Budget, Value
from dgm_jax.models.linear import exact_inference, factor_analysis
from dgm_jax.models.mixtures import gaussian_mixture

TITLE = "Bits per dimension of 4,000 colour photographs in closed form: beside the networks of table 5"
NOTES = (
  "Published, on 50,000 training and 10,000 test images: a uniform distribution 8.00, a multivariate Gaussian 4.70.",
  "Ours: cifar10/small, the first 4,000 training and 1,000 test images, comparable with none of these. A covariance of "
  "3,072 entries from 4,000 images overfits; the row with a ridge adds a multiple of the identity to it.",
  "In closed form; the ridge and the dimension of probabilistic PCA are those best on 400 of the training images. The "
  "noise of dequantisation is drawn anew for each seed, ± is over these draws; log P(x) is a bound.",
)
PUBLISHED = {"uniform": Value(8.00), "gaussian": Value(4.70)}
_LABELS = {
  "uniform": "uniform",
  "gaussian": "a normal",
  "ridge": "a normal, with a ridge",
  "ppca": "probabilistic PCA",
}
_LEVELS = 256
_RIDGES = tuple(10.0**e for e in range(-6, -1))  # added to the variances of y
_DIMENSIONS = (50, 100, 200, 400, 800, 1600)


def dequantised(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """y, float64 [N, D], of integers x [N, ...]."""
  return (x.reshape(len(x), -1) + rng.random((len(x), x[0].size))) / _LEVELS


def bits_per_dim(log_py: np.ndarray, dim: int) -> np.ndarray:
  """Bits per dimension [N] of x from log p(y) [N]."""
  return math.log2(_LEVELS) - log_py / (dim * math.log(2))


def _log_prob(model: Any, params: Mapping[str, Any], y: np.ndarray) -> np.ndarray:
  return np.asarray(model.apply({"params": dict(params)}, {"x": y}, method="log_prob"))


def normals(train: np.ndarray, test: np.ndarray, ridges: Sequence[float]) -> list[np.ndarray]:
  """log p(y) [N] of normals with the mean of the training rows and their covariance + ridge I, for each ridge."""
  mean, covariance = train.mean(0), np.cov(train.T, bias=True)
  model = gaussian_mixture.Model(train.shape[1:], num_components=1)

  def of(ridge):
    root = np.linalg.cholesky(covariance + ridge * np.eye(len(mean)))
    return _log_prob(model, {"means": mean[None], "roots": root[None], "log_weights": np.zeros(1)}, test)

  return [of(ridge) for ridge in ridges]


def ppca(train: np.ndarray, test: np.ndarray, latent_dim: int) -> np.ndarray:
  """log p(y) [N] of probabilistic PCA with L dimensions, at its maximum likelihood."""
  dim = train.shape[1]
  start = {"loadings": np.zeros((dim, latent_dim)), "loc": train.mean(0), "log_variance": np.zeros(())}
  params = exact_inference.closed_form(start, exact_inference.moments(start, train, np.ones(len(train))))
  return _log_prob(factor_analysis.Model((dim,), latent_dim=latent_dim, isotropic=True), params, test)


def scores(
  train: np.ndarray, test: np.ndarray, ridges: Sequence[float], dimensions: Sequence[int]
) -> tuple[list[float], list[float]]:
  """Mean log p(y) of normals with each ridge, and of PPCA with each number of dimensions, by one decomposition."""
  values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
  squares = np.square((test - train.mean(0)) @ vectors).mean(0)
  of = lambda variances: -0.5 * float((squares / variances + np.log(2 * math.pi * variances)).sum())
  rest = [len(values) - latent_dim for latent_dim in dimensions]  # the smallest, which PPCA replaces by their mean
  flat = [np.append(np.full(r, values[:r].mean()), values[r:]) for r in rest]
  return [of(values + ridge) for ridge in ridges], [of(variances) for variances in flat]


def log_likelihoods(
  train: np.ndarray, test: np.ndarray, seed: int, dimensions: Sequence[int] = _DIMENSIONS
) -> dict[str, Any]:
  """{row: bits per dimension of the test images [N]}, and what was chosen, with the noise of a seed."""
  rng = np.random.default_rng(seed)
  y, held_out = dequantised(train, rng), dequantised(test, rng)
  last = len(y) - len(y) // 10
  of_ridges, of_dimensions = scores(y[:last], y[last:], _RIDGES, dimensions)
  ridge, latent_dim = _RIDGES[np.argmax(of_ridges)], dimensions[np.argmax(of_dimensions)]
  with jax.enable_x64(True):
    normal, ridged = normals(y, held_out, (0.0, ridge))
    log_py = {"uniform": np.zeros(len(held_out)), "gaussian": normal, "ridge": ridged}
    log_py["ppca"] = ppca(y, held_out, latent_dim)
  found = {row: bits_per_dim(log_py[row], y.shape[1]) for row in _LABELS}
  return found | {"chosen_ridge": np.array(ridge), "chosen_ppca": np.array(latent_dim)}


def _compute(seeds: int, folder: pathlib.Path) -> None:
  splits = data.load("cifar10/small")
  train, test = splits.train["x"], splits.test["x"]
  made = {f"seed-{s}": functools.partial(log_likelihoods, train, test, s) for s in range(seeds)}
  config = {"model": "densities in closed form", "data": "cifar10/small", "seeds": seeds}
  config |= {"ridges": list(_RIDGES), "dimensions": list(_DIMENSIONS)}
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
  for cell in _LABELS if found else ():
    bits = measured.mean([float(a[cell].mean()) for a in found])
    error = float(np.mean([a[cell].std(ddof=1) for a in found]) / len(found[0][cell]) ** 0.5)
    cells[cell] = {"bits_per_dim": bits.mean, "stderr_seeds": bits.stderr, "stderr_images": error, "kind": "bound"}
    cells[cell]["chosen"] = _how(cell, found)
    value = PUBLISHED.get(cell)
    texts = (tables.plus_minus(bits.mean, bits.stderr, digits=3), f"± {error:.3f}", cells[cell]["chosen"])
    beside = tables.published("none" if value is None else f"{value.value:.2f}")
    lines.append([tables.cell(_LABELS[cell]), beside, *[tables.cell(text, ["computed"]) for text in texts]])
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
    "published": ", ".join(f"{_LABELS[c]} {PUBLISHED[c].value:.2f} (50,000 images)" for c in cells if c in PUBLISHED),
    "ours": ", ".join(
      f"{_LABELS[c]} {tables.plus_minus(n['bits_per_dim'], n['stderr_seeds'], digits=3)}" for c, n in cells.items()
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

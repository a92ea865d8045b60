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
from collections.abc import Callable, Mapping, Sequence
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


def ppca(train: np.ndarray, test: np.ndarray, latent_dims: Sequence[int]) -> list[np.ndarray]:
  """log p(y) [N] of probabilistic PCA at its maximum likelihood, for each number L of dimensions.

  One decomposition serves all L: the loadings of L = D - 1 have the eigenvalues |w_l|^2 + s^2 of the covariance.
  """
  dim = train.shape[1]
  start = {"loadings": np.zeros((dim, dim - 1)), "loc": train.mean(0), "log_variance": np.zeros(())}
  whole = exact_inference.closed_form(start, exact_inference.moments(start, train, np.ones(len(train))))
  noise, squares = np.exp(whole["log_variance"]), np.square(whole["loadings"]).sum(0)
  values = np.append(squares, 0.0) + noise

  def of(latent_dim):
    variance = values[latent_dim:].mean()
    scale = np.sqrt((values[:latent_dim] - variance) / squares[:latent_dim])
    params = {"loadings": whole["loadings"][:, :latent_dim] * scale, "log_variance": np.log(variance)}
    model = factor_analysis.Model((dim,), latent_dim=latent_dim, isotropic=True)
    return _log_prob(model, params | {"loc": whole["loc"]}, test)

  return [of(latent_dim) for latent_dim in latent_dims]


def _chosen(fit: Callable, train: np.ndarray, test: np.ndarray, choices: Sequence) -> tuple[np.ndarray, float]:
  """(log p(y) [N] of the test rows, the choice that is best for the last tenth of the training rows)."""
  held_out = len(train) // 10
  scores = [log_py.mean() for log_py in fit(train[:-held_out], train[-held_out:], choices)]
  best = choices[int(np.argmax(scores))]
  return fit(train, test, (best,))[0], best


def log_likelihoods(
  train: np.ndarray, test: np.ndarray, seed: int, dimensions: Sequence[int] = _DIMENSIONS
) -> dict[str, Any]:
  """{row: bits per dimension of the test images [N]}, and what was chosen, with the noise of a seed."""
  rng = np.random.default_rng(seed)
  y, held_out = dequantised(train, rng), dequantised(test, rng)
  dim = y.shape[1]
  with jax.enable_x64(True):
    ridged, ridge = _chosen(normals, y, held_out, _RIDGES)
    of_ppca, latent_dim = _chosen(ppca, y, held_out, dimensions)
    log_py = {"uniform": np.zeros(len(held_out)), "ridge": ridged, "ppca": of_ppca}
    if len(y) > dim:  # else the covariance has no inverse
      (log_py["gaussian"],) = normals(y, held_out, (0.0,))
  found = {row: bits_per_dim(log_py[row], dim) for row in _LABELS if row in log_py}
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
  for cell in (c for c in _LABELS if found and c in found[0]):
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


SEEDS = {"quick": 3, "test": 1}
BUDGETS = {
  name: Budget(
    f"cifar10/small (4,000 training, 1,000 test images), {seeds} draw{'s' * (seeds > 1)} of the noise",
    10,
    compute=functools.partial(_compute, seeds),
  )
  for name, seeds in SEEDS.items()
}

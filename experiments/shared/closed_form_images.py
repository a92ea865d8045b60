"""Densities of images in closed form, in bits per dimension: what a network has to be better than.

log P(x) of integers x in 0 .. 255 is bounded by that of y = (x + u) / 256, u ~ U(0, 1), with density p(y):

  bits per dimension = (-log p(y) + D log 256) / (D log 2)

The uniform density has 8.  A normal and probabilistic PCA are the models gaussian_mixture, with one component, and
factor_analysis at the maximum of their likelihood, in double precision.  Where something is to be chosen, the last
tenth of the training images chooses it, and all of them then fit the parameters.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax.models.linear import exact_inference, factor_analysis
from dgm_jax.models.mixtures import gaussian_mixture

LABELS = {
  "uniform": "uniform",
  "gaussian": "a normal",
  "ridge": "a normal, with a ridge",
  "ppca": "probabilistic PCA",
}
_LEVELS = 256
RIDGES = tuple(10.0**e for e in range(-6, -1))  # added to the variances of y
DIMENSIONS = (50, 100, 200, 400, 800, 1600)


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
  train: np.ndarray, test: np.ndarray, seed: int, dimensions: Sequence[int] = DIMENSIONS
) -> dict[str, Any]:
  """{row: bits per dimension of the test images [N]}, and what was chosen, with the noise of a seed."""
  rng = np.random.default_rng(seed)
  y, held_out = dequantised(train, rng), dequantised(test, rng)
  last = len(y) - len(y) // 10
  dimensions = [latent_dim for latent_dim in dimensions if latent_dim < min(last, y.shape[1])]
  of_ridges, of_dimensions = scores(y[:last], y[last:], RIDGES, dimensions)
  ridge, latent_dim = RIDGES[np.argmax(of_ridges)], dimensions[np.argmax(of_dimensions)]
  with jax.enable_x64(True):
    normal, ridged = normals(y, held_out, (0.0, ridge))
    log_py = {"uniform": np.zeros(len(held_out)), "gaussian": normal, "ridge": ridged}
    log_py["ppca"] = ppca(y, held_out, latent_dim)
  found = {row: bits_per_dim(log_py[row], y.shape[1]) for row in LABELS}
  return found | {"chosen_ridge": np.array(ridge), "chosen_ppca": np.array(latent_dim)}

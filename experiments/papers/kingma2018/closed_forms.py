"""Normal densities of dequantised images in closed form: independent entries, and probabilistic PCA."""

import math

import numpy as np

_COMPONENTS = (8, 16, 32, 64, 128, 256, 512)  # of which the best on held-out images is taken
_HELD_OUT = 10  # one in so many training images


def dequantised(x: np.ndarray, seed: int) -> np.ndarray:
  """(x + u) / 256, u uniform, of uint8 images, float64 [N, D]."""
  u = np.random.default_rng(seed).random((len(x), x[0].size), np.float32)
  return (x.reshape(len(x), -1) + u).astype(np.float64) / 256


def bits(log_p: np.ndarray, dim: int) -> tuple[float, float]:
  """(bits per dimension of the integers, standard error) from log p of (x + u) / 256, a bound."""
  each = 8 - log_p / (dim * math.log(2))
  return float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)


def independent(train: np.ndarray, test: np.ndarray) -> np.ndarray:
  """log p [N] of independent normals with the moments of each entry."""
  mean, var = train.mean(0), train.var(0)
  return -0.5 * (np.log(2 * math.pi * var) + (test - mean) ** 2 / var).sum(1)


class PPCA:
  """The maximum-likelihood fits of probabilistic PCA for every number of components (Tipping & Bishop, 1999).

  Args:
    train: [N, D].
  """

  def __init__(self, train: np.ndarray):
    self._mean = train.mean(0)
    centred = train - self._mean
    self._values, vectors = np.linalg.eigh(centred.T @ centred / len(train))
    self._values, self._vectors = self._values[::-1], vectors[:, ::-1]

  def log_p(self, x: np.ndarray, components: int) -> np.ndarray:
    """log N(x; mean, W W' + s^2 I) with W of L = `components` columns, s^2 the mean of the D - L least eigenvalues."""
    dim, centred = len(self._values), x - self._mean
    noise, kept = self._values[components:].mean(), self._values[:components]
    z = centred @ self._vectors[:, :components]
    rest = (centred**2).sum(1) - (z**2).sum(1)
    log_det = np.log(kept).sum() + (dim - components) * math.log(noise)
    return -0.5 * (dim * math.log(2 * math.pi) + log_det + (z**2 / kept).sum(1) + rest / noise)


def bits_of(train_x: np.ndarray, test_x: np.ndarray) -> dict[str, np.ndarray]:
  """{"independent": (bits, error), "ppca": ..., "components": L}, L chosen on a tenth of the training images."""
  train, test = dequantised(train_x, 0), dequantised(test_x, 1)
  dim, rows = train.shape[1], np.arange(len(train))
  held_out = rows % _HELD_OUT == 0
  choices = [c for c in _COMPONENTS if c < min(dim, (~held_out).sum())]
  fitted = PPCA(train[~held_out])
  best = max(choices, key=lambda c: fitted.log_p(train[held_out], c).mean())
  found = {"independent": bits(independent(train, test), dim), "ppca": bits(PPCA(train).log_p(test, best), dim)}
  return {name: np.asarray(value) for name, value in found.items()} | {"components": np.asarray(best)}

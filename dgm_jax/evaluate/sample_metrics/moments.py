"""Means and covariances of features, in float64, a block of rows at a time."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from dgm_jax.core import errors, threads

ROWS = 4096  # of one block


class Moments(NamedTuple):
  """Mean [F] and covariance [F, F] (divisor n - 1), float64, of n features."""

  mean: np.ndarray
  covariance: np.ndarray
  size: int


def moments(features: np.ndarray) -> Moments:
  """The moments of features [N, F] of any float type.

  Raises:
    UserError: fewer than two.
  """
  n = len(features)
  errors.require(n >= 2, f"A Frechet distance needs at least 2 samples; there are {n}.")
  mean = np.mean(features, axis=0, dtype=np.float64)
  total = np.zeros((len(mean), len(mean)), order="F")
  with threads.one(len(mean)):
    for start in range(0, n, ROWS):
      part = np.asarray(features[start : start + ROWS], np.float64) - mean
      total = scipy.linalg.blas.dsyrk(1.0, part.T, beta=1.0, c=total, overwrite_c=1)  # the upper triangle
  return Moments(mean, full(total) / (n - 1), n)


def full(upper: np.ndarray) -> np.ndarray:
  """The symmetric matrix with this upper triangle."""
  return np.triu(upper) + np.triu(upper, 1).T


class Divided(NamedTuple):
  """Moments of a set and of its disjoint parts, which may be none."""

  whole: Moments
  parts: tuple[Moments, ...] = ()


def divided(features: np.ndarray, parts: int) -> Divided:
  """The moments of features [N, F] in random order and, for parts >= 2, of so many parts of them.

  Those of the whole are put together from those of the parts.
  """
  if parts < 2:
    return Divided(moments(features))
  found = tuple(moments(part) for part in np.array_split(features, parts))
  n = sum(p.size for p in found)
  mean = sum(p.size * p.mean for p in found) / n
  moved = np.stack([p.size**0.5 * (p.mean - mean) for p in found])
  total = moved.T @ moved
  for p in found:
    total += (p.size - 1) * p.covariance
  return Divided(Moments(mean, total / (n - 1), n), found)

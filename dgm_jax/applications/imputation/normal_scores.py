"""Monotone maps of columns to the normal distribution, with their log-Jacobians."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

_KNOTS = 200


class Scores(NamedTuple):
  """A piecewise linear, strictly increasing map z = f(x), f' > 0 everywhere, with straight tails.

  Attributes:
    x, z: the knots [K], increasing.
    low, high: the slopes of the tails.
  """

  x: np.ndarray
  z: np.ndarray
  low: float
  high: float

  def forward(self, x: np.ndarray) -> np.ndarray:
    """z of x, any shape; NaN stays NaN."""
    z = np.interp(x, self.x, self.z)
    z = np.where(x < self.x[0], self.z[0] + self.low * (x - self.x[0]), z)
    return np.where(x > self.x[-1], self.z[-1] + self.high * (x - self.x[-1]), z)

  def inverse(self, z: np.ndarray) -> np.ndarray:
    """x of z."""
    x = np.interp(z, self.z, self.x)
    x = np.where(z < self.z[0], self.x[0] + (z - self.z[0]) / self.low, x)
    return np.where(z > self.z[-1], self.x[-1] + (z - self.z[-1]) / self.high, x)

  def log_slope(self, x: np.ndarray) -> np.ndarray:
    """log f'(x): p(x) = p(z) f'(x)."""
    slopes = np.concatenate([[self.low], np.diff(self.z) / np.diff(self.x), [self.high]])
    return np.log(slopes)[np.searchsorted(self.x, x, side="right")]


def fit(x: np.ndarray) -> Scores:
  """The map that sends the observed values x [N] to about N(0, 1): a value goes to the quantile of its middle rank.

  Knots are at most 200 distinct values, evenly spaced by rank; the tails have the slope of standardisation, 1 / std.
  """
  values, counts = np.unique(x, return_counts=True)
  slope = 1 / (x.std() or 1.0)
  if len(values) == 1:
    return Scores(np.array([values[0], values[0] + 1 / slope]), np.array([0.0, 1.0]), slope, slope)
  z = ndtri((np.cumsum(counts) - counts / 2) / len(x))
  if len(values) > _KNOTS:
    kept = np.unique(np.searchsorted(np.cumsum(counts), np.linspace(0, len(x), _KNOTS, endpoint=False), side="right"))
    kept = np.union1d(kept, [0, len(values) - 1])
    values, z = values[kept], z[kept]
  return Scores(values, z, slope, slope)

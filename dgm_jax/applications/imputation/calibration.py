"""Intervals that hold their level, and calibrated probabilities, from entries that were hidden from the fit."""

import numpy as np
import scipy.optimize

_LEAST = 20  # scores of a column; with fewer, those of all columns together are used
_NARROWEST = 1e-3  # of a half-width, in standard deviations of a column


def scores(truth: np.ndarray, centre: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """By how much an interval around `centre` has to be stretched to reach the truth, [n]."""
  below, above = np.maximum(centre - low, _NARROWEST), np.maximum(high - centre, _NARROWEST)
  return np.maximum((centre - truth) / below, (truth - centre) / above)


def quantile(values: np.ndarray, level: float) -> float:
  """The ceil((n + 1) level)-th smallest of n scores: split conformal prediction (Vovk et al., 2005; Lei et al., 2018).

  A further score that is exchangeable with these is at most this with probability `level` or more.  It is the largest
  score where n is too small for the level.
  """
  rank = int(np.ceil((len(values) + 1) * level - 1e-9))
  return float(np.sort(values)[min(rank, len(values)) - 1])


def factors(by_column: list[np.ndarray], level: float) -> np.ndarray:
  """The factor of each column's half-widths, [D], from its scores; 1 if no column has any."""
  pool = np.concatenate([np.zeros(0), *by_column])
  common = quantile(pool, level) if len(pool) else 1.0
  return np.array([quantile(s, level) if len(s) >= _LEAST else common for s in by_column])


def stretched(
  centre: np.ndarray, low: np.ndarray, high: np.ndarray, factor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """(low, high) with half-widths multiplied by `factor`."""
  return (
    centre - factor * np.maximum(centre - low, _NARROWEST),
    centre + factor * np.maximum(high - centre, _NARROWEST),
  )


def sharpened(p: np.ndarray, temperature: float) -> np.ndarray:
  """p^(1 / T), normalised, for probabilities [..., C]."""
  log_p = np.log(np.maximum(p, 1e-12)) / temperature
  q = np.exp(log_p - log_p.max(-1, keepdims=True))
  return q / q.sum(-1, keepdims=True)


def temperature(parts: list[tuple[np.ndarray, np.ndarray]]) -> float:
  """T with the lowest log loss of sharpened probabilities (Guo et al., 2017), in [0.2, 5]; 1 without entries.

  Args:
    parts: (probabilities [n, C], classes [n]) of each column.
  """
  if not sum(len(c) for _, c in parts):
    return 1.0

  def log_loss(log_t):
    picked = [np.log(sharpened(p, np.exp(log_t))[np.arange(len(c)), c]) for p, c in parts if len(c)]
    return -np.concatenate(picked).mean()

  return float(np.exp(scipy.optimize.minimize_scalar(log_loss, bounds=(np.log(0.2), np.log(5)), method="bounded").x))

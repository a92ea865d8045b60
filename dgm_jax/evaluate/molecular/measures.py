"""Measures of sets of molecules, as MOSES defines them (Polykovskiy et al., 2020), with standard errors."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

_BLOCK = 2**26  # similarities in memory at once


class Estimate(NamedTuple):
  """A number and its standard error over the molecules."""

  value: float
  stderr: float


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
  """The mean of [N]."""
  a = np.asarray(values, np.float64)
  return Estimate(float(a.mean()), float(a.std(ddof=1) / math.sqrt(len(a))) if len(a) > 1 else math.nan)


def unique(smiles: Sequence[str], k: int) -> Estimate:
  """The share of different ones among the first k canonical SMILES; the error is that of a share of k."""
  some = smiles[:k]
  p = len(set(some)) / len(some)
  return Estimate(p, math.sqrt(p * (1 - p) / len(some)))


def novel(smiles: Sequence[str], train: set[str]) -> Estimate:
  """The share of the different canonical SMILES that are not in the training set."""
  return mean([s not in train for s in sorted(set(smiles))])


def _similarities(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Tanimoto: |a and b| / |a or b|, [N, M] of fingerprints [N, F] and [M, F]; 0 of two empty ones."""
  both = a @ b.T
  either = a.sum(1)[:, None] + b.sum(1) - both
  return both / np.maximum(either, 1)


def _by_rows(a: np.ndarray, b: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
  """`of` the similarities of a block of rows of a to all of b, [rows, M] -> [rows]; together [N]."""
  rows = max(1, _BLOCK // len(b))
  return np.concatenate([of(_similarities(a[i : i + rows], b)) for i in range(0, len(a), rows)])


def internal_diversity(prints: np.ndarray, p: int = 1) -> Estimate:
  """1 - mean_i (mean_j T_ij^p)^(1/p) of fingerprints [N, F], each with all, itself included.

  The error is twice that of the mean over i, because each molecule is in the pairs of the others, too (p = 1).
  """
  rows = _by_rows(prints, prints, lambda t: np.mean(t.astype(np.float64) ** p, 1) ** (1 / p))
  found = mean(rows)
  return Estimate(1 - found.value, 2 * found.stderr)


def nearest(prints: np.ndarray, reference: np.ndarray) -> Estimate:
  """The mean similarity to the most similar molecule of the reference (SNN)."""
  return mean(_by_rows(prints, reference, lambda t: t.max(1)))


def _cosine(a: Mapping[str, int], b: Mapping[str, int]) -> float:
  dot = sum(n * b.get(key, 0) for key, n in a.items())
  norms = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
  return dot / norms if norms else math.nan


def cosine(found: Sequence[Sequence[str]], reference: Sequence[Sequence[str]], resamples: int = 20) -> Estimate:
  """The cosine of the counts of parts (fragments, scaffolds), a list for each molecule; the error by the bootstrap."""
  of = Counter(part for parts in reference for part in parts)
  count = lambda rows: _cosine(Counter(part for i in rows for part in found[i]), of)
  g = np.random.default_rng(0)
  again = [count(g.integers(0, len(found), len(found)).tolist()) for _ in range(resamples)]
  return Estimate(count(range(len(found))), float(np.std(again, ddof=1)))


def wasserstein(values: np.ndarray, reference: np.ndarray, resamples: int = 20) -> Estimate:
  """The distance of two samples of a number, [N] and [M], in its units; the error by the bootstrap of the first."""
  g = np.random.default_rng(0)
  of = lambda a: float(scipy.stats.wasserstein_distance(a, reference))
  again = [of(g.choice(values, len(values))) for _ in range(resamples)]
  return Estimate(of(values), float(np.std(again, ddof=1)))

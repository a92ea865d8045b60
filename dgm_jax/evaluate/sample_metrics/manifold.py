"""Precision, recall, density and coverage by balls of nearest neighbours."""

from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import distances


class Manifold(NamedTuple):
  """Shares; density may exceed 1."""

  precision: float
  recall: float
  density: float
  coverage: float


def expected_coverage(n: int, m: int, k: int) -> float:
  """The mean coverage of n real examples by m samples of the same law: about 1 - 2^-k for n = m."""
  within = np.arange(k, dtype=np.float64)
  return float(1 - np.prod((n - 1 - within) / (n + m - 1 - within)))


def manifold(samples: np.ndarray, real: np.ndarray, k: int = 5) -> Manifold:
  """By the balls around each point that reach to its k-th nearest neighbour of the same set, itself excluded.

  precision: the share of samples in a ball of a real example; recall: of real examples in a ball of a sample
  (Kynkaanniemi et al., 2019).  density: the mean number of real balls that a sample is in, over k; coverage: the share
  of real balls with a sample (Naeem et al., 2020).  Balls are open: their surface does not count.

  Args:
    samples, real: [M, F], [N, F], of any float type.
    k: the neighbour.

  Raises:
    UserError: no more than k samples or real examples.
  """
  least = min(len(samples), len(real))
  errors.require(
    1 <= k < least,
    f"neighbours = {k}; it must be 1 to {least - 1}: there are {len(samples)} samples and {len(real)} real examples.",
  )
  x, y = distances.centred(samples, real)
  edge = distances.tolerance(x, y)
  of_samples, of_real = distances.kth(x, k) - edge, distances.kth(y, k) - edge
  recalled, closest, inside = np.zeros(len(y), bool), np.full(len(y), np.inf), np.zeros(len(x))
  for rows, squares in distances.blocks(x, y):
    np.minimum(closest, squares.min(0), out=closest)
    inside[rows] = (squares < of_real).sum(1)
    recalled |= (squares < of_samples[rows, None]).any(0)
  return Manifold(
    float((inside > 0).mean()), float(recalled.mean()), float(inside.mean() / k), float((closest < of_real).mean())
  )

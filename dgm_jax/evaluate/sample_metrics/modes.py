"""Which modes of known data have samples, and how evenly."""

from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import distances

_REACH = 3.0  # standard deviations


class Modes(NamedTuple):
  """Modes with a sample, of how many; the share of samples at a mode; KL(their shares || those of the data)."""

  covered: int
  total: int
  share: float
  reverse_kl: float


def _reverse_kl(counts: np.ndarray, target: np.ndarray) -> float:
  """KL(q || p) of the shares q of the counts; log of the number of modes where no sample is at any, its greatest value.

  p must be positive.
  """
  p = target / target.sum()
  if not counts.sum():
    return float(np.log(len(p)))
  q = counts / counts.sum()
  seen = q > 0
  return float(np.sum(q[seen] * np.log(q[seen] / p[seen])))


def of_points(samples: np.ndarray, modes: np.ndarray, scales: np.ndarray) -> Modes:
  """The modes with a sample within 3 standard deviations, as for the ring and the grid of Lin et al. (2018).

  Args:
    samples: [N, D].
    modes: [C, D].
    scales: the standard deviation of a mode along each axis, [D].
  """
  errors.require(len(samples) >= 1, "Modes are counted of one sample or more.")
  distance, mode = distances.nearest(np.asarray(samples, np.float64) / scales, np.asarray(modes, np.float64) / scales)
  at = distance < _REACH
  counts = np.bincount(mode[at], minlength=len(modes))
  return Modes(int((counts > 0).sum()), len(modes), float(at.mean()), _reverse_kl(counts, np.ones(len(modes))))


def of_classes(classes: np.ndarray, target: np.ndarray) -> Modes:
  """The classes that a classifier finds among samples; `share` is that of samples of a class of the data.

  Args:
    classes: [N], of the samples.
    target: how often each class is among the data, [C]; classes without any, and samples of them, are left out.
  """
  counts = np.bincount(classes, minlength=len(target)).astype(np.float64)
  kept = target > 0
  share = counts[kept].sum() / max(counts.sum(), 1)
  return Modes(int((counts[kept] > 0).sum()), int(kept.sum()), float(share), _reverse_kl(counts[kept], target[kept]))

"""Whether samples are closer to the training set than held-out examples are."""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import distances

_ROUNDS = 20  # of k-means
_QUANTILE = 0.01


class Memorisation(NamedTuple):
  """See `memorisation`.

  Attributes:
    z: Mann-Whitney z over the cells; N(0, 1) without memorisation, negative where samples are too near.
    least_z: the least of the cells' own z; of C cells without memorisation it is below -3 with probability 0.0013 C.
    mean_z: the mean of the cells' own z, weighted by their held-out examples (C_T of Meehan et al., 2020).
    cells: the number of cells with enough samples and held-out examples.
    near: the share of samples nearer to a training example than the 1 % quantile of held-out examples; 0.01 without.
    near_stderr: of that share.
    radius: that quantile.
    pairs: [P, 2], the closest pairs: indices of a sample and of its nearest training example.
    distances: of the pairs, [P].
  """

  z: float
  least_z: float
  mean_z: float
  cells: int
  near: float
  near_stderr: float
  radius: float
  pairs: np.ndarray
  distances: np.ndarray


def _cells(training: distances.Points, count: int, seed: int) -> distances.Points:
  """Centres [C, F] of k-means of the training set, from training examples drawn by this seed."""
  centres = training.rows(np.random.RandomState(seed).permutation(len(training))[:count])
  for _ in range(_ROUNDS if count > 1 else 0):
    _, cell = distances.nearest(training, distances.of(centres))
    totals = np.zeros_like(centres)
    for part in training.parts():
      np.add.at(totals, cell[part], training.rows(part))
    sizes = np.bincount(cell, minlength=len(centres))[:, None]
    centres = np.where(sizes > 0, totals / np.maximum(sizes, 1), centres)
  return distances.of(centres)


def mann_whitney(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
  """(U - E U, Var U) of the number U of pairs in which the first is larger, under equal laws; ties count half."""
  n, m = len(first), len(second)
  ranks = rankdata(np.concatenate([first, second]))
  _, ties = np.unique(ranks, return_counts=True)
  total = n + m
  correction = float((ties**3 - ties).sum()) / (total * (total - 1))
  return float(ranks[:n].sum() - n * (n + 1) / 2 - n * m / 2), n * m / 12 * (total + 1 - correction)


def radius(held_out: np.ndarray, training: np.ndarray) -> float:
  """The distance to the training set that 1 % of the held-out examples stay below."""
  y, t = distances.centred(held_out, training)
  return float(np.quantile(distances.nearest(y, t)[0], _QUANTILE))


def memorisation(
  samples: np.ndarray, held_out: np.ndarray, training: np.ndarray, cells: int = 1, seed: int = 0, num_pairs: int = 10
) -> Memorisation:
  """Distances of samples and of held-out examples to their nearest training example, compared (Meehan et al., 2020).

  In each cell of the space, a Voronoi cell of k-means of the training set, the ranks of the two sets of distances are
  compared.  z sums over cells,

    z = sum_c (U_c - E U_c) / sqrt(sum_c Var U_c),   U_c the pairs in which the sample is farther,

  so that a model that copies in one cell and is too wide in another may have any z: `least_z` and `near` see it.

  Args:
    samples, held_out, training: [M, F], [N, F], [T, F].
    cells: number of cells; those with fewer than 5 samples or held-out examples are left out.
    seed: of k-means.
    num_pairs: P.

  Raises:
    UserError: no held-out examples, or no cell has enough.
  """
  errors.require(
    len(held_out) >= 5 and len(samples) >= 5,
    f"Memorisation compares 5 or more samples and held-out examples; there are {len(samples)} and {len(held_out)}.",
  )
  errors.require(
    1 <= cells <= len(training), f"cells = {cells}; it must be 1 to {len(training)}, the training examples."
  )
  x, y, t = distances.centred(samples, held_out, training)
  (of_x, nearest), (of_y, _) = distances.nearest(x, t), distances.nearest(y, t)
  centres = _cells(t, cells, seed)
  (_, cell_x), (_, cell_y) = distances.nearest(x, centres), distances.nearest(y, centres)
  rows = []
  for c in range(cells):
    a, b = of_x[cell_x == c], of_y[cell_y == c]
    if min(len(a), len(b)) >= 5:
      rows.append((*mann_whitney(a, b), len(b)))
  errors.require(bool(rows), f"cells = {cells}: no cell has 5 samples and 5 held-out examples; take fewer cells.")
  excess, variance, sizes = np.array(rows).T
  deviation = np.sqrt(np.maximum(variance, 1e-300))
  limit = float(np.quantile(of_y, _QUANTILE))
  near = float((of_x < limit).mean())
  # of the share, and of the quantile of a finite held-out set
  error = (near * (1 - near) / len(x) + _QUANTILE * (1 - _QUANTILE) / len(y)) ** 0.5
  closest = np.argsort(of_x, kind="stable")[:num_pairs]
  return Memorisation(
    float(excess.sum() / max(variance.sum(), 1e-300) ** 0.5),
    float((excess / deviation).min()),
    float(np.average(excess / deviation, weights=sizes)),
    len(rows),
    near,
    error,
    limit,
    np.stack([closest, nearest[closest]], 1),
    of_x[closest],
  )


class Support(NamedTuple):
  """The number of equally probable samples that would coincide as often.

  Attributes:
    size: 1 / sum p^2; None where no two samples coincide.
    stderr: its standard error; None likewise.
    at_least: a lower bound with 95 % confidence.
    pairs: how many pairs coincide.
  """

  size: float | None
  stderr: float | None
  at_least: float
  pairs: int


def support(samples: np.ndarray, radius: float) -> Support:
  """The birthday test (Arora & Zhang, 2018): M samples of S equally probable ones have M (M - 1) / (2 S) equal pairs.

  Args:
    samples: [M, F].
    radius: two samples nearer than this coincide; 0: those that are equal, up to rounding.

  Raises:
    UserError: fewer than two samples.
  """
  n = len(samples)
  errors.require(n >= 2, f"The birthday test needs 2 or more samples; there are {n}.")
  [x] = distances.centred(samples)
  limit = max(radius**2, distances.tolerance(x))
  of_each = np.zeros(n)
  for rows, squares in distances.blocks(x, x, same=True):
    of_each[rows] = (squares <= limit).sum(1)
  count, total = int(of_each.sum()) // 2, n * (n - 1) / 2
  # mean + 1.645 sd of a Poisson count, 3 for a count of 0: those that could have been expected
  most = count + 1.645 * count**0.5 + 3 if count else 3.0
  if not count:
    return Support(None, None, total / most, 0)
  share = of_each / (n - 1)
  # of a U-statistic: pairs by chance, and sample by sample
  variance = count / total**2 + 4 * max(share.var() - share.mean() / (n - 1), 0.0) / n
  size = total / count
  return Support(size, size**2 * variance**0.5, total / most, count)

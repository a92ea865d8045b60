"""The kernel distance of two sets of features: MMD^2 with a cubic kernel (Binkowski et al., 2018)."""

from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import distances


class Kernel(NamedTuple):
  """The unbiased estimate of MMD^2 and its standard error."""

  value: float
  stderr: float


class _Sums(NamedTuple):
  """Sums of k(x_i, y_j): over j for each i [N], over i for each j [M], and of k^2 over all pairs."""

  rows: np.ndarray
  columns: np.ndarray
  squares: float


def _sums(x: np.ndarray, y: np.ndarray, same: bool) -> _Sums:
  """Of k(x, y) = (x'y / F + 1)^3, a block of rows at a time; without the pairs i = i where y is x."""
  rows, columns, squares = np.empty(len(x)), np.zeros(len(y)), 0.0
  for part, _, base in distances.products(x, y):
    base /= x.shape[1]
    base += 1
    k = base * base
    k *= base
    if same:
      index = np.arange(len(k))
      k[index, part.start + index] = 0.0
    rows[part] = k.sum(1)
    columns += k.sum(0)
    squares += float(np.einsum("nm,nm->", k, k))
  return _Sums(rows, columns, squares)


def _degenerate(squares: float, rows: np.ndarray, columns: np.ndarray) -> float:
  """Mean square of the doubly centred kernel, from its mean square and its means over rows and columns."""
  mean = rows.mean()
  return max(squares - float(np.mean(rows**2)) - float(np.mean(columns**2)) + mean**2, 0.0)


def kernel(samples: np.ndarray, real: np.ndarray) -> Kernel:
  """MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), the full unbiased U-statistic, with its standard error.

  It may be negative: its mean is 0 where both laws are equal, and the standard error says how far from 0 it then is.
  The variance is that of both terms of Hoeffding's decomposition,

    4 z_x / N + 4 z_y / M + 2 t_xx / N^2 + 2 t_yy / M^2 + 4 t_xy / (N M),

  z_x the variance of E k(x, x') - E k(x, y) over x, t the mean squares of the doubly centred kernels; what t adds to
  the spread of means over finite sets is subtracted from z.

  Args:
    samples, real: [N, F], [M, F].

  Raises:
    UserError: fewer than two of either.
  """
  n, m = len(samples), len(real)
  errors.require(min(n, m) >= 2, f"A kernel distance needs at least 2 samples and 2 real examples; it has {n} and {m}.")
  xx, yy, xy = _sums(samples, samples, True), _sums(real, real, True), _sums(samples, real, False)
  of_x, of_y = xx.rows / (n - 1), yy.rows / (m - 1)
  across_x, across_y = xy.rows / m, xy.columns / n
  value = of_x.mean() + of_y.mean() - 2 * across_x.mean()
  t_xx = _degenerate(xx.squares / (n * (n - 1)), of_x, of_x)
  t_yy = _degenerate(yy.squares / (m * (m - 1)), of_y, of_y)
  t_xy = _degenerate(xy.squares / (n * m), across_x, across_y)
  z_x = max(np.var(of_x - across_x, ddof=1) - t_xx / n - t_xy / m, 0.0)
  z_y = max(np.var(of_y - across_y, ddof=1) - t_yy / m - t_xy / n, 0.0)
  variance = 4 * z_x / n + 4 * z_y / m + 2 * t_xx / n**2 + 2 * t_yy / m**2 + 4 * t_xy / (n * m)
  return Kernel(float(value), float(variance**0.5))

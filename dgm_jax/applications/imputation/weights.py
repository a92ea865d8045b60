"""Weights of several methods' predictions, from their errors on entries that were hidden from all of them.

A prediction of an entry is a vector: [1] for a number, in standard deviations of its column, [C] for the probabilities
of C classes; the truth is the number, or a one-hot vector.  For column d with hidden entries i and methods k,

  w_d = argmin_w  sum_i |sum_k w_k (p_ik - t_i)|^2 + n_0 mean_j |sum_k w_k (p_jk - t_j)|^2,   w >= 0, sum_k w_k = 1,

j over the hidden entries of all columns of the kind: stacking (Wolpert, 1992; Breiman, 1996) whose weights are drawn
to those of the whole table where a column has few hidden entries.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize

POOLED = 50.0  # n_0
_CONSTRAINT = 1e4


class Evidence(NamedTuple):
  """Errors of K methods on the n hidden entries of one column.

  Attributes:
    errors: p - t, [n, K, C].
    rows: indices of the rows, [n].
    numeric: whether the column holds numbers.
  """

  errors: np.ndarray
  rows: np.ndarray
  numeric: bool

  @property
  def gram(self) -> np.ndarray:
    """sum_i e_i e_i', [K, K]."""
    flat = np.moveaxis(self.errors, 1, 0).reshape(self.errors.shape[1], -1)
    return flat @ flat.T


def on_simplex(gram: np.ndarray) -> np.ndarray:
  """argmin w' G w over w >= 0, sum w = 1, [K], for a positive semi-definite G [K, K]; 1 / K if G is 0."""
  size = len(gram)
  scale = np.trace(gram) / size
  if not scale > 0:
    return np.full(size, 1 / size)
  values, vectors = np.linalg.eigh(gram / scale)
  root = np.sqrt(np.maximum(values, 1e-10))[:, None] * vectors.T
  rows = np.concatenate([root, np.full((1, size), _CONSTRAINT)])
  w, _ = scipy.optimize.nnls(rows, np.concatenate([np.zeros(size), [_CONSTRAINT]]))
  return w / w.sum()


def fit(columns: list[Evidence | None], num_methods: int, fallback: int) -> np.ndarray:
  """Weights [D, K]; a column of which nothing can be said (None) takes method number `fallback` alone."""
  weights = np.eye(num_methods)[np.full(len(columns), fallback)]
  for numeric in (True, False):
    at = [d for d, e in enumerate(columns) if e is not None and e.numeric == numeric]
    total = sum(len(columns[d].rows) for d in at)
    if not total:
      continue
    grams = [columns[d].gram for d in at]
    typical = sum(grams) / total
    for d, gram in zip(at, grams, strict=True):
      weights[d] = on_simplex(gram + POOLED * typical)
  return weights


def gate(residuals: np.ndarray, moves: np.ndarray) -> float:
  """g in [0, 1] that minimises |residuals - g moves|^2: the share of a correction that the evidence supports."""
  squares = float(np.sum(moves * moves))
  return float(np.clip(np.sum(residuals * moves) / squares, 0.0, 1.0)) if squares > 0 else 0.0

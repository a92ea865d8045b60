"""Kernel hot deck: missing entries from the rows that agree with the observed ones, where such rows exist.

Rows of real tables recur, wholly or nearly.  p(x) is taken to be a mixture of a broad density and of narrow kernels
around the N rows of the table, each with weight 1/2 N:

  p(x) = p_0(x) / 2 + 1 / (2 N) sum_j prod_d k(x_d; x_jd),

k = N(x_jd, width^2) of a normal score, or 1 - e at class x_jd and e / (C - 1) elsewhere; where x_jd is missing, k is
the column's marginal.  p_0 is a normal density of the scores times the classes' frequencies.  Hence, by Bayes' rule,
the weight w_ij of row j for row i given the observed entries of i, and

  share_id = sum_j w_ij,   mean_id = sum_j w_ij x_jd / share_id,   over the rows j in which d is observed.

The share is near 1 where some row agrees far better than chance would have it, and near 0 elsewhere: there the mean
must come from another method.  (Nadaraya, 1964; Watson, 1964; on hot decks Andridge & Little, 2010.)
"""

from typing import NamedTuple

import numpy as np

WIDTHS = (0.02, 0.05, 0.1, 0.2)
_SLIP = 0.01  # e
_BLOCK, _DONORS, _ROUNDS, _FITTED = 256, 20_000, 10, 2000
_LOG_2PI = np.log(2 * np.pi)


class Deck(NamedTuple):
  """The rows to take entries from.

  Attributes:
    z: normal scores of numbers [N, D], 0 where missing.
    known: 1 where z is observed, [N, D].
    one_hot: classes [N, F], rows of zeros where missing.
    values: what is averaged, [N, G], with 0 where missing.
    of_values: 1 where it is observed, [N, G].
    covariance: of p_0, [D, D].
    frequency: of the classes, [F].
    num_classes: the number of classes of each feature's column, [F].
  """

  z: np.ndarray
  known: np.ndarray
  one_hot: np.ndarray
  values: np.ndarray
  of_values: np.ndarray
  covariance: np.ndarray
  frequency: np.ndarray
  num_classes: np.ndarray


def _precisions(covariance: np.ndarray, known: np.ndarray) -> np.ndarray:
  """The inverse of each row's observed block, 0 elsewhere, [B, D, D]."""
  pairs = known[:, :, None] * known[:, None]
  filled = np.where(pairs > 0, covariance, 0) + np.eye(known.shape[1]) * (1 - known)[:, :, None]
  return np.linalg.inv(filled) * pairs


def covariance(z: np.ndarray, known: np.ndarray) -> np.ndarray:
  """The covariance of N(0, S) by EM on the observed entries of z [N, D] (Dempster, Laird & Rubin, 1977), [D, D]."""
  dim = z.shape[1]
  s = np.eye(dim)
  for _ in range(_ROUNDS):
    total = 0.1 * np.eye(dim)
    for start in range(0, len(z), _BLOCK):
      a, m = z[start : start + _BLOCK], known[start : start + _BLOCK]
      inverse = _precisions(s, m)
      mean = np.einsum("bd,bde->be", a, inverse) @ s
      total += mean.T @ mean + (s - s @ inverse @ s).sum(0)
    s = total / len(z)
  return s


def make(
  z: np.ndarray, one_hot: np.ndarray, of_class: np.ndarray, values: np.ndarray, num_classes: np.ndarray, seed: int
) -> Deck:
  """The deck of rows: z [N, D] and values [N, G], NaN where missing; one_hot [N, F], observed where of_class [N, F].

  At most 20,000 rows, chosen at random, are kept.
  """
  chosen = np.random.default_rng(seed).permutation(len(z))[:_DONORS]
  z, one_hot, of_class, values = z[chosen], one_hot[chosen], of_class[chosen], values[chosen]
  known, of_values = (~np.isnan(z)).astype(float), (~np.isnan(values)).astype(float)
  z, values = np.nan_to_num(z), np.nan_to_num(values)
  hot = np.where(of_class, one_hot, 0.0)
  frequency = (hot.sum(0) + 1) / (of_class.sum(0) + num_classes) if len(num_classes) else np.zeros(0)
  return Deck(z, known, hot, values, of_values, covariance(z[:_FITTED], known[:_FITTED]), frequency, num_classes)


def _log_broad(deck: Deck, z: np.ndarray, known: np.ndarray, hot: np.ndarray) -> np.ndarray:
  """log p_0 of the observed entries, [B]."""
  inverse = _precisions(deck.covariance, known)
  determinant = np.linalg.slogdet(inverse + np.eye(known.shape[1]) * (1 - known)[:, :, None])[1]
  squares = np.einsum("bd,bde,be->b", z, inverse, z)
  return 0.5 * (determinant - squares - known.sum(1) * _LOG_2PI) + hot @ np.log(deck.frequency)


def _log_kernels(deck: Deck, z: np.ndarray, known: np.ndarray, hot: np.ndarray, width: float) -> np.ndarray:
  """log prod_d k of the observed entries of each row, for each row of the deck, [B, N]."""
  squares = (known * z * z) @ deck.known.T + known @ (deck.known * deck.z * deck.z).T - 2 * (known * z) @ deck.z.T
  shared = known @ deck.known.T
  log_k = -0.5 * np.maximum(squares, 0) / width**2 - shared * (np.log(width) + 0.5 * _LOG_2PI)
  log_k += (known * (-0.5 * z * z - 0.5 * _LOG_2PI)) @ (1 - deck.known).T
  if not len(deck.num_classes):
    return log_k
  # a class that agrees: log(1 - e); one that differs: log e / (C - 1); one that the deck's row lacks: its frequency
  agree = (hot * np.log1p(-_SLIP)) @ deck.one_hot.T
  share = 1 / deck.num_classes  # a row's features of a column sum to 1 / C each over its C features
  of_i, of_j = _per_feature(hot, deck.num_classes), _per_feature(deck.one_hot, deck.num_classes)
  differ = (of_i * share * np.log(_SLIP / np.maximum(deck.num_classes - 1, 1))) @ of_j.T
  same = (hot * np.log(_SLIP / np.maximum(deck.num_classes - 1, 1))) @ deck.one_hot.T
  absent = (hot * np.log(deck.frequency)) @ (1 - of_j).T
  return log_k + agree + differ - same + absent


def _per_feature(hot: np.ndarray, num_classes: np.ndarray) -> np.ndarray:
  """1 at all features of the columns that are observed, [B, F], from one-hot rows."""
  out, start = np.empty_like(hot), 0
  while start < len(num_classes):
    width = int(num_classes[start])
    out[:, start : start + width] = hot[:, start : start + width].sum(1, keepdims=True)
    start += width
  return out


def look_up(
  deck: Deck, z: np.ndarray, one_hot: np.ndarray, of_class: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
  """(mean [B, G], share [B, G]) for rows given as in `make`.

  A row of the deck says nothing of its own missing entries, so that the rows of the deck can be looked up, too.
  """
  means, shares = [], []
  for start in range(0, len(z), _BLOCK):
    at = slice(start, start + _BLOCK)
    known = (~np.isnan(z[at])).astype(float)
    a, hot = np.nan_to_num(z[at]), np.where(of_class[at], one_hot[at], 0.0)
    log_w = (
      _log_kernels(deck, a, known, hot, width) - np.log(max(len(deck.z), 1)) - _log_broad(deck, a, known, hot)[:, None]
    )
    w = np.exp(np.minimum(log_w, 60.0))
    observed = w @ deck.of_values
    means.append((w @ deck.values) / np.maximum(observed, 1e-300))
    shares.append(observed / (1 + observed))
  return np.concatenate(means), np.concatenate(shares)

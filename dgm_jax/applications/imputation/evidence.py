"""What hidden entries say: errors of each method by column, how far to believe rows that agree, and calibration."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dgm_jax.applications.imputation import calibration, conditional_nets, hot_deck, normal_scores, weights
from dgm_jax.applications.imputation.spread import Spread

LEVEL = 0.9
_FOLDS = 5


class Said(NamedTuple):
  """Predictions of all methods for n rows.

  Attributes:
    features: of each method, [K, n, F].
    nets: what the networks say, with the quantiles of numbers; None without networks.
  """

  features: np.ndarray
  nets: conditional_nets.Said | None


class Agreeing(NamedTuple):
  """The rows of a table that others may agree with, see hot_deck.py.

  Attributes:
    spread: the layout of the table.
    scores: the map of each column of numbers to normal scores; None for classes.
    deck: the rows.
    width: of the kernels.
    gates: the share of the correction that the evidence supports, for numbers and for classes.
    sparse: columns that are left alone.
  """

  spread: Spread
  scores: tuple[normal_scores.Scores | None, ...]
  deck: hot_deck.Deck
  width: float = hot_deck.WIDTHS[0]
  gates: tuple[float, float] = (1.0, 1.0)
  sparse: tuple[int, ...] = ()

  def move(self, x: np.ndarray, stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, F] moved towards the rows that agree with x [n, D], the weight of these rows [n, F])."""
    mean, share = hot_deck.look_up(self.deck, *_inputs(self.spread, self.scores, x)[:3], self.width)
    share = share * np.where(numeric(self.spread), *self.gates)
    share[:, self.spread.repeat(np.isin(np.arange(x.shape[1]), self.sparse)[None])[0]] = 0
    return stacked + share * (mean - stacked), share


def numeric(spread: Spread) -> np.ndarray:
  """Whether a feature is a number, [F]."""
  return np.repeat([c.numeric for c in spread.columns], spread.widths)


def first(spread: Spread) -> list[int]:
  """The first feature of each column, [D]."""
  return [at.start for _, at, _ in spread.parts()]


def normal_maps(spread: Spread, seen: np.ndarray) -> tuple[normal_scores.Scores | None, ...]:
  """The map of each column of numbers of seen [N, D] to normal scores."""
  return tuple(
    normal_scores.fit(seen[~np.isnan(seen[:, d]), d]) if of_numbers else None for d, _, of_numbers in spread.parts()
  )


def _inputs(
  spread: Spread, scores: Sequence[normal_scores.Scores | None], x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """(normal scores [n, D'], one-hot classes [n, F'], where these are observed, classes of each feature's column)."""
  z = [scores[d].forward(x[:, d]) for d, _, of_numbers in spread.parts() if of_numbers]
  classes = np.repeat(spread.num_classes, spread.widths)
  hot = spread.encode(x)[:, classes > 0]
  z = np.stack(z, 1) if z else np.zeros((len(x), 0))
  return z, np.nan_to_num(hot), ~np.isnan(hot), classes[classes > 0]


def agreeing(spread: Spread, scores: Sequence[normal_scores.Scores | None], x: np.ndarray, seed: int) -> Agreeing:
  """The rows of x [N, D] as a deck, with neither width nor gates fitted."""
  z, hot, of_class, classes = _inputs(spread, scores, x)
  return Agreeing(spread, tuple(scores), hot_deck.make(z, hot, of_class, spread.encode(x), classes, seed))


def fit_gates(rows: Agreeing, seen: np.ndarray, truth: np.ndarray, hidden: np.ndarray, stacked: np.ndarray) -> Agreeing:
  """The width and gates with the lowest squared error on hidden entries; seen, truth, hidden [n, D], stacked [n, F]."""
  spread, of_numbers = rows.spread, numeric(rows.spread)
  residual, where = np.nan_to_num(spread.encode(truth) - stacked), spread.repeat(hidden)
  best, lowest = rows, np.inf
  for width in hot_deck.WIDTHS:
    moves = rows._replace(width=width).move(seen, stacked)[0] - stacked
    gates, error = [], 0.0
    for kind in (True, False):
      at = where & (of_numbers == kind)
      gates.append(weights.gate(residual[at], moves[at]))
      error += float(np.square(residual[at] - gates[-1] * moves[at]).sum())
    if error < lowest:
      best, lowest = rows._replace(width=width, gates=tuple(gates)), error
  return best


def by_column(
  spread: Spread, features: np.ndarray, truth: np.ndarray, hidden: np.ndarray, sparse: Sequence[int]
) -> list[weights.Evidence | None]:
  """The errors of predictions [K, n, F] on the hidden entries of truth [n, D]; None for the sparse columns."""
  target, out = spread.encode(truth), []
  for d, at, of_numbers in spread.parts():
    rows = np.flatnonzero(hidden[:, d])
    error = np.moveaxis(features[:, rows, at] - target[rows, at], 0, 1)
    out.append(None if d in sparse else weights.Evidence(error, rows, of_numbers))
  return out


def stacked(spread: Spread, features: np.ndarray, of_columns: np.ndarray) -> np.ndarray:
  """sum_k w_dk p_k, [n, F], of features [K, n, F] and weights [D, K]."""
  return np.einsum("knf,fk->nf", features, np.repeat(of_columns, spread.widths, 0))


def around(spread: Spread, said: Said, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Intervals of numbers [n, D] before calibration: the networks' quantiles, moved to `centre`; else +- 1."""
  if said.nets is None:
    return centre - 1, centre + 1
  mean = said.nets.features[:, first(spread)]
  return centre - (mean - said.nets.low), centre + (said.nets.high - mean)


def out_of_fold(
  spread: Spread, said: Said, evidence: Sequence[weights.Evidence | None], num_rows: int, fallback: int
) -> np.ndarray:
  """The combination [n, F] in which a row's weights come from the other folds of the rows."""
  fold, out = np.arange(num_rows) % _FOLDS, np.empty(said.features.shape[1:])

  def without(e, f):
    keep = fold[e.rows] != f
    return e._replace(errors=e.errors[keep], rows=e.rows[keep])

  for f in range(_FOLDS):
    kept = [None if e is None else without(e, f) for e in evidence]
    of_columns = weights.fit(kept, len(said.features), fallback)
    out[fold == f] = stacked(spread, said.features[:, fold == f], of_columns)
  return out


def calibrate(
  spread: Spread, said: Said, features: np.ndarray, truth: np.ndarray, hidden: np.ndarray
) -> tuple[np.ndarray, float]:
  """(factors of half-widths [D], temperature of classes) of predictions [n, F], from hidden entries of truth [n, D]."""
  target = spread.encode(truth)
  centre = features[:, first(spread)]
  low, high = around(spread, said, centre)
  scores, classes = [], []
  for d, at, of_numbers in spread.parts():
    rows = hidden[:, d]
    if of_numbers:
      scores.append(calibration.scores(target[rows, at.start], centre[rows, d], low[rows, d], high[rows, d]))
    else:
      scores.append(np.zeros(0))
      classes.append((features[rows, at], truth[rows, d].astype(int)))
  return calibration.factors(scores, LEVEL), calibration.temperature(classes)

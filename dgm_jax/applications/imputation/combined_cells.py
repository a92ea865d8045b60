"""Imputed cells of a combination of methods."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation import conditional_draws
from dgm_jax.applications.imputation.cells import Imputed
from dgm_jax.applications.imputation.combined import Combined, combine
from dgm_jax.core import errors

_BLOCK = 8192
_DEVIATIONS = 2 * 1.6449  # of a normal distribution, in its central 90 % interval


def check_draws(num_draws: int, methods: Sequence[str]) -> None:
  """Raises UserError if draws are asked of methods without networks."""
  errors.require(not num_draws or "orderless" in methods, "Draws need networks: the methods auto, orderless and miwae.")


def impute(
  model: Combined,
  x: np.ndarray,
  *,
  where: np.ndarray | None = None,
  num_draws: int = 0,
  seed: int = 0,
  progress: Callable[[int], Any] = lambda rows: None,
) -> Imputed:
  """Imputes the missing entries of x [N, D], as cells.impute does; a row's result depends on that row alone.

  The deviation of a number is that of a normal distribution with its 90 % interval; `ess` is empty.  Draws come from
  the networks, numbers shifted so that their mean is the combined one, classes changed as seldom as their combined
  probabilities allow.

  Raises:
    UserError: draws are asked of a combination without networks.
  """
  where = np.isnan(x) if where is None else where
  check_draws(num_draws, model.methods)
  row, column = np.nonzero(where)
  rows = np.unique(row)
  values, probability, low, high = (np.empty((len(rows), x.shape[1])) for _ in range(4))
  drawn = np.empty((num_draws, len(row)))
  for start in range(0, len(rows), _BLOCK):
    at = slice(start, start + _BLOCK)
    found, said = combine(model, x[rows[at]])
    values[at], probability[at] = model.spread.cells(found.features)
    low[at], high[at] = found.low, found.high
    if num_draws:
      cells = (row >= rows[at][0]) & (row <= rows[at][-1])
      moved = conditional_draws.moved(model.nets, x[rows[at]], said.nets.features, found.features, num_draws, seed)
      drawn[:, cells] = moved[:, where[rows[at]]]
    progress(len(rows[at]))
  return _in_units(model.spread.columns, row, column, rows, values, probability, low, high, drawn, where)


def _in_units(columns, row, column, rows, values, probability, low, high, drawn, where) -> Imputed:
  pick = lambda a: a[where[rows]]
  of_numbers = np.array([c.numeric for c in columns])[column]
  scale = np.array([c.scale for c in columns])[column]
  only = lambda a: np.where(of_numbers, a, np.nan)
  deviation = only((pick(high) - pick(low)) / _DEVIATIONS * scale)
  x, low, high = (tables.restore(columns, pick(a), column) for a in (values, low, high))
  drawn = np.array([tables.restore(columns, d, column) for d in drawn]).reshape(len(drawn), len(row))
  p = np.where(of_numbers, np.nan, pick(probability))
  return Imputed(row, column, x, deviation, p, only(low), only(high), drawn, np.zeros(0))

"""Imputes the missing cells of a table by a fitted MIWAE."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation import fit, intervals
from dgm_jax.applications.imputation.fitted import Fitted, blocks
from dgm_jax.core import rng
from dgm_jax.distributions.likelihoods import families
from dgm_jax.inference import imputation

_CHUNK = 100  # importance samples at once
_LEVEL, _DRAWS = 0.9, 39  # of intervals, and the number of draws whose order statistics they are


class Imputed(NamedTuple):
  """Imputed values of the missing cells of a table and their uncertainty, [C] each, in the order of numpy.nonzero.

  Attributes:
    row, column: indices of the cells.
    x: for numbers E[x | x_observed], rounded for integers; for classes the index of the most probable class.
    deviation: for numbers the standard deviation; NaN for classes.
    probability: for classes the probability of the imputed class; NaN for numbers.
    low, high: for numbers the limits of the 90 % interval; NaN for classes.
    draws: M multiple imputations, [M, C].
    ess: effective number of importance samples for each row that has a missing cell.
  """

  row: np.ndarray
  column: np.ndarray
  x: np.ndarray
  deviation: np.ndarray
  probability: np.ndarray
  low: np.ndarray
  high: np.ndarray
  draws: np.ndarray
  ess: np.ndarray


class _Block(NamedTuple):
  """The fields of Imputed for a block of rows, in standardised units, [B, D]."""

  x: Any
  deviation: Any
  probability: Any
  low: Any
  high: Any
  draws: Any
  ess: Any


@functools.lru_cache(maxsize=32)
def _imputer(spec: fit.Spec, num_samples: int, num_draws: int) -> Callable:
  """(variables, key, batch) -> _Block: an equal mixture of the R models; draw m comes from model m mod R."""
  model, groups = fit.model(spec), families.make("mixed", columns=spec.columns).groups
  chunk = min(_CHUNK, num_samples)

  @jax.jit
  def impute(variables, key, batch):
    x = batch["x"]
    index = rng.content_index(x, batch["mask"])

    def by_model(args):
      variables, key = args
      keys = rng.row_keys(key, index)
      return imputation.both(model.bind(variables), keys, batch, num_draws, num_samples, chunk)

    keys = jax.random.split(key, len(jax.tree.leaves(variables)[0]))
    single, multiple = jax.lax.map(by_model, (variables, keys))
    draws = jnp.swapaxes(multiple.x, 0, 1).reshape(-1, *x.shape)
    features = jnp.mean(single.features, 0)
    mean, probability = _by_column(groups, features, x.shape[1])
    low, high = intervals.interval(draws, _LEVEL)
    deviation = jnp.sqrt(jnp.mean(single.variance, 0) + jnp.var(single.x, 0))
    return _Block(mean, deviation, probability, low, high, draws, jnp.mean(single.ess, 0))

  return impute


def _by_column(groups: Sequence, features: jax.Array, dim: int) -> tuple[jax.Array, jax.Array]:
  """(mean or most probable class's index, probability of that class), [B, D] each, from expected features [B, F]."""
  x = probability = jnp.full((len(features), dim), jnp.nan)
  start = 0
  for family, members in groups:
    width = family.num_features(len(members))
    part, members, start = features[:, start : start + width], jnp.array(members), start + width
    if family.num_classes is not None:
      by_class = part.reshape(len(part), len(members), -1)
      x = x.at[:, members].set(jnp.argmax(by_class, -1))
      probability = probability.at[:, members].set(jnp.max(by_class, -1))
    elif family.support == (0.0, 1.0):  # binary
      x = x.at[:, members].set(jnp.round(part))
      probability = probability.at[:, members].set(jnp.maximum(part, 1 - part))
    else:
      x = x.at[:, members].set(part)
  return x, probability


def impute(
  fitted: Fitted,
  x: np.ndarray,
  *,
  where: np.ndarray | None = None,
  num_draws: int = 0,
  num_samples: int = 1000,
  seed: int = 0,
  hidden: np.ndarray | None = None,
  progress: Callable[[int], Any] = lambda rows: None,
) -> Imputed:
  """Imputes the missing entries of x [N, D], NaN where missing.

  A row's noise is a function of its observed entries and the seed; it does not depend on the other rows.

  Args:
    fitted: the model.
    x: as in fitted.fit.
    where: bool [N, D], which of the missing entries to impute; None for all.
    num_draws: M, the number of multiple imputations.
    num_samples: K, the number of importance samples per row.
    seed: of the noise.
    hidden: bool [N, D], entries that were hidden on purpose: to a mechanism p(m|x) they are observed.
    progress: called with the number of rows of each finished block.
  """
  where = np.isnan(x) if where is None else where
  row, column = np.nonzero(where)
  num_models = len(jax.tree.leaves(fitted.fit.variables)[0])
  program = _imputer(fitted.spec, num_samples, -(-max(num_draws, _DRAWS) // num_models))
  key = rng.stream(jax.random.key(seed), "impute")
  z, parts, ess, done = tables.standardise(fitted.columns, x), [], [], 0
  draws = np.empty((num_draws, len(row)))  # for a large table, memory suffices for only one copy
  for rows, block in blocks(z, np.unique(row)):
    values, mask = block
    batch = {"x": values, "mask": mask}
    if fitted.spec.mechanism != "ignorable":
      batch["indicator"] = mask.copy()
      if hidden is not None:
        batch["indicator"][: len(rows)] = np.maximum(mask[: len(rows)], hidden[rows])
    found = jax.device_get(program(fitted.fit.variables, key, batch))
    some = draws[:, done : (done := done + np.count_nonzero(where[rows]))]
    some[:] = found.draws[:num_draws, : len(rows)][:, where[rows]]  # further draws are used only for the intervals
    parts.append(tuple(a[: len(rows)][where[rows]] for a in found[:5]))
    ess.append(found.ess[: len(rows)])
    progress(len(rows))
  cells = map(np.concatenate, zip(*(parts or [(np.zeros(0, np.float32),) * 5]), strict=True))
  return _restored(fitted.columns, row, column, *cells, draws, np.concatenate([np.zeros(0, np.float32), *ess]))


def _restored(columns, row, column, x, deviation, probability, low, high, draws, ess) -> Imputed:
  """Converts standardised values to the table's units; overwrites draws [M, C]."""
  numeric, scale = np.array([c.numeric for c in columns])[column], np.array([c.scale for c in columns])[column]
  x, low, high = (tables.restore(columns, a, column) for a in (x, low, high))
  for drawn in draws:
    drawn[:] = tables.restore(columns, drawn, column)
  only = lambda a: np.where(numeric, a, np.nan)
  return Imputed(row, column, x, only(deviation * scale), probability, only(low), only(high), draws, ess)

"""The networks of orderless.py as an imputer of a table: means, probabilities, quantiles, draws and densities."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.applications.imputation import normal_scores, orderless
from dgm_jax.applications.imputation.fit import Limits, pad, padded
from dgm_jax.applications.imputation.spread import Spread, sizes
from dgm_jax.models.autoregressive import conditionals
from dgm_jax.models.autoregressive.conditionals import Entries

_BLOCK = 512
_BISECTIONS = 40
_WIDEST = 12.0  # of a normal score


class Nets(NamedTuple):
  """Fitted networks and how a table becomes their input.

  Attributes:
    spec: of the programs.
    spread: the layout of the table.
    scores: the map of each column to normal scores; None for classes.
    fit: parameters and a record of the fit.
  """

  spec: orderless.Spec
  spread: Spread
  scores: tuple[normal_scores.Scores | None, ...]
  fit: orderless.Fit

  @property
  def numbers(self) -> list[int]:
    """The columns of numbers."""
    return [d for d, _, numeric in self.spread.parts() if numeric]

  @property
  def classified(self) -> list[int]:
    """The columns of classes."""
    return [d for d, _, numeric in self.spread.parts() if not numeric]

  @property
  def classes(self) -> jax.Array:
    """The number of classes of each padded column of classes."""
    counts = [self.spread.num_classes[d] for d in self.classified]
    return jnp.asarray(counts + [2] * (self.spec.num_classified - len(counts)), jnp.int32)

  def entries(self, x: np.ndarray, known: np.ndarray) -> Entries:
    """Rows x [B, D] as input of the network, known where `known` is true."""
    spec, n = self.spec, len(x)
    z, y, of_z = (np.zeros((n, spec.num_numbers), np.float32) for _ in range(3))
    c, of_c = np.zeros((n, spec.num_classified), np.int32), np.zeros((n, spec.num_classified), np.float32)
    for i, d in enumerate(self.numbers):
      column, seen = self.spread.columns[d], ~np.isnan(x[:, d])
      z[seen, i] = self.scores[d].forward(x[seen, d])
      y[seen, i] = (x[seen, d] - column.loc) / column.scale
      of_z[:, i] = known[:, d] & seen
    for i, d in enumerate(self.classified):
      seen = ~np.isnan(x[:, d])
      c[seen, i], of_c[:, i] = x[seen, d], known[:, d] & seen
    return Entries(z, y, c, of_z, of_c)


class Said(NamedTuple):
  """What the networks say of a block of rows.

  Attributes:
    features: means and probabilities, [B, F].
    low, high: the 5 % and 95 % quantiles of numbers, in standard deviations of the column, [B, D]; NaN for classes.
  """

  features: np.ndarray
  low: np.ndarray
  high: np.ndarray


def fit(
  seen: np.ndarray,
  hidden: np.ndarray,
  x: np.ndarray,
  spread: Spread,
  *,
  num_models: int,
  limits: Limits,
  seed: int,
  width: int = 256,
  progress: Callable[[int, float | None], Any] = lambda steps, error: None,
) -> Nets:
  """Networks fitted to `seen` [N, D], NaN where missing; `hidden` entries of x decide when the fit ends."""
  scores = tuple(
    normal_scores.fit(seen[~np.isnan(seen[:, d]), d]) if numeric else None for d, _, numeric in spread.parts()
  )
  spec = orderless.Spec(*sizes(spread.columns), hidden=width, batch_size=min(256, padded(len(x))))
  nets = Nets(spec, spread, scores, orderless.Fit(None, None, 0, None, ""))
  rows = jax.tree.map(pad, nets.entries(seen, ~np.isnan(seen)))
  where, scored = hidden.any(1), None
  if where.any():
    truth = nets.entries(x[where], ~np.isnan(seen[where]))
    targets = nets.entries(x[where], hidden[where])
    scored = jax.tree.map(pad, truth), pad(targets.of_z), pad(targets.of_c)
  found = orderless.fit(spec, rows, nets.classes, len(x), scored, seed, num_models, limits, progress)
  return nets._replace(fit=found)


def more(nets: Nets, x: np.ndarray, seed: int) -> Nets:
  """The networks after further steps on all observed entries of x [N, D], those that were hidden among them."""
  rows = jax.tree.map(pad, nets.entries(x, ~np.isnan(x)))
  return nets._replace(fit=orderless.more(nets.spec, nets.fit, rows, nets.classes, len(x), seed))


def blocks(nets: Nets, x: np.ndarray) -> Iterator[tuple[slice, Entries]]:
  """Blocks of rows as input; the last is padded, so that few shapes compile."""
  size = min(_BLOCK, padded(len(x)))
  for start in range(0, len(x), size):
    rows = x[start : start + size]
    block = np.full((size, x.shape[1]), np.nan)
    block[: len(rows)] = rows
    yield slice(start, start + len(rows)), nets.entries(block, ~np.isnan(block))


@functools.lru_cache(maxsize=32)
def _quantiles(spec: orderless.Spec) -> Callable:
  """(params, rows, classes) -> (Predicted, 5 % and 95 % quantiles of z [2, B, D]), by bisection."""
  predict = orderless.programs(spec).predict

  def both(params, rows, classes):
    p = predict(params, rows, classes)
    levels = jnp.array([0.05, 0.95])[:, None, None]

    def halve(_, bounds):
      low, high = bounds
      middle = (low + high) / 2
      cdf = jnp.sum(jnp.exp(p.log_share) * jax.scipy.special.ndtr((middle[..., None] - p.loc) / p.scale), -1)
      return jnp.where(cdf < levels, middle, low), jnp.where(cdf < levels, high, middle)

    start = jnp.full((2, *p.mean.shape), _WIDEST)
    return p, jax.lax.fori_loop(0, _BISECTIONS, halve, (-start, start))[0]

  return jax.jit(both)


def say(nets: Nets, x: np.ndarray) -> Said:
  """What the networks say of rows x [N, D], NaN where missing, given their observed entries."""
  program, dim = _quantiles(nets.spec), x.shape[1]
  features = np.zeros((len(x), sum(nets.spread.widths)))
  low, high = np.full((2, len(x), dim), np.nan)
  at = {d: where for d, where, _ in nets.spread.parts()}
  for rows, block in blocks(nets, x):
    n = rows.stop - rows.start
    p, quantiles = jax.device_get(program(nets.fit.params, block, nets.classes))
    for i, d in enumerate(nets.numbers):
      column = nets.spread.columns[d]
      features[rows, at[d].start] = p.mean[:n, i]
      for out, z in zip((low, high), quantiles, strict=True):
        out[rows, d] = (nets.scores[d].inverse(z[:n, i]) - column.loc) / column.scale
    for i, d in enumerate(nets.classified):
      features[rows, at[d]] = np.exp(p.log_p[:n, i, : nets.spread.num_classes[d]])
  return Said(features, low, high)


def log_prob_entries(nets: Nets, x: np.ndarray, hidden: np.ndarray) -> np.ndarray:
  """log p(x_d | the entries of its row that are observed and not hidden) of hidden entries, [N, D]; 0 elsewhere.

  In the table's units: the density of a number is that of its normal score times the slope of the map.
  """
  out, seen = np.zeros(x.shape), np.where(hidden, np.nan, x)
  predict = orderless.programs(nets.spec).predict
  for rows, block in blocks(nets, seen):
    n, here = rows.stop - rows.start, x[rows]
    p = predict(nets.fit.params, block, nets.classes)
    truth = nets.entries(
      np.pad(here, ((0, len(block.z) - n), (0, 0)), constant_values=np.nan), np.ones((len(block.z), x.shape[1]), bool)
    )
    log_z, log_c = conditionals.log_normals(p, truth.z), conditionals.log_classes(p, truth.c)
    for i, d in enumerate(nets.numbers):
      values = np.where(hidden[rows, d], here[:, d], nets.scores[d].x[0])
      out[rows, d] = np.where(hidden[rows, d], log_z[:n, i] + nets.scores[d].log_slope(values), 0)
    for i, d in enumerate(nets.classified):
      out[rows, d] = np.where(hidden[rows, d], log_c[:n, i], 0)
  return out

"""A MIWAE of a table, fitted to its observed entries."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation import fit as training
from dgm_jax.core import errors, rng
from dgm_jax.core.progress import progress_bar
from dgm_jax.inference import imputation

_BLOCK = 128  # rows at once
_CHUNK = 100  # importance samples at once
_SCORED_ROWS = 2000  # maximum number of rows with hidden entries
_LEAST = 10  # entries are hidden only in columns with at least this many observed entries


class Fitted(NamedTuple):
  """A fitted model and the columns it models.

  Attributes:
    spec: settings of the model.
    columns: the D modelled columns with their means, scales and ranges.
    fit: parameters of R models and a record of their fit.
  """

  spec: training.Spec
  columns: tuple[tables.Column, ...]
  fit: training.Fit


def steps_for(n: int) -> int:
  """Default maximum number of training steps for n rows: 1,000 epochs of batch 128, between 2,000 and 10,000 steps.

  It is a multiple of the steps of one call of the program, which is then compiled once.
  """
  return -(-min(10_000, max(2000, 1000 * n // 128)) // training.STEPS) * training.STEPS


def held_out_rate(x: np.ndarray) -> float:
  """The share of observed entries to hide: 5 %, and up to 10 % for small tables."""
  return min(0.1, max(0.05, 200 / max(1, (~np.isnan(x)).sum())))


def hide(x: np.ndarray, rate: float, seed: int) -> np.ndarray:
  """Selects observed entries of x [N, D] (NaN where missing) to hide, each with probability `rate`; bool [N, D].

  They lie in at most 2,000 rows, so that scoring is fast, and only in columns with at least 10 observed entries.
  """
  generator = np.random.default_rng(seed)
  observed = ~np.isnan(x)
  rows = np.zeros(len(x), bool)
  rows[generator.permutation(len(x))[:_SCORED_ROWS]] = True
  chosen = generator.random(x.shape) < rate
  return observed & chosen & rows[:, None] & (observed.sum(0) >= _LEAST)


def fit(
  x: np.ndarray,
  columns: Sequence[tables.Column],
  *,
  latent_dim: int = 10,
  hidden: Sequence[int] = (128, 128),
  num_samples: int = 20,
  limits: training.Limits,
  held_out: float = 0.05,
  num_models: int = 1,
  bootstrap: bool = True,
  mechanism: str = "ignorable",
  hide_inputs: float = 0.0,
  seed: int = 0,
  progress: Callable[[int, float | None], Any] = lambda steps, score: None,
) -> Fitted:
  """Fits a model to the observed entries of x [N, D], NaN where missing.

  Args:
    x: numbers in the table's units, classes as their indices.
    columns: the columns of x.
    latent_dim, hidden, num_samples: see fit.Spec.
    limits: see fit.Limits.
    held_out: share of observed entries that are hidden from training to decide when it ends.
    num_models: the number of models, trained as lanes of one program.
    bootstrap: whether several models are each trained on a bootstrap sample of the rows, and not on all of them.
    mechanism, hide_inputs: see fit.Spec.
    seed: of everything random.
    progress: see fit.fit.

  Raises:
    UserError: there is no column to learn from.
  """
  errors.require(len(columns) > 0, "No column has two different observed values: there is nothing to learn from.")
  scored = hide(x, held_out, seed)
  columns = tables.scaled(columns, np.where(scored, np.nan, x))
  observed = ~np.isnan(x)
  indicator = None if mechanism == "ignorable" else observed.astype(np.float32)
  z = np.where(observed, tables.standardise(columns, x), 0)
  rows = training.Rows(z, (observed & ~scored).astype(np.float32), indicator)
  n = len(x)
  generator = np.random.default_rng([seed, 1])
  same = num_models == 1 or not bootstrap
  chosen = [np.arange(n)] * num_models if same else [generator.integers(0, n, n) for _ in range(num_models)]
  likelihood = tuple(c.likelihood for c in columns)
  spec = training.Spec(likelihood, latent_dim, tuple(hidden), num_samples, min(128, training.padded(n)))
  spec = spec._replace(mechanism=mechanism, hide=hide_inputs)
  chosen = np.stack(chosen).astype(np.int32)
  return Fitted(spec, columns, training.fit(spec, rows, scored.astype(np.float32), chosen, seed, limits, progress))


@contextlib.contextmanager
def fit_bar(max_steps: int, disable: bool = False) -> Iterator[Callable[[int, float | None], None]]:
  """A progress bar of a fit, to be used as its `progress`: rate, time left, and the score of the held-out entries."""
  with progress_bar(max_steps, description="fit", disable=disable) as bar:

    def progress(steps: int, score: float | None) -> None:
      bar.set_postfix({} if score is None else {"held out": f"{score:.3f}"}, refresh=False)
      bar.update(min(steps, max_steps) - bar.n)

    yield progress


def blocks(x: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
  """(row indices, (values, mask) [B, D]) of standardised x, NaN where missing; padded, so that few shapes compile."""
  size = min(_BLOCK, training.padded(len(rows)))
  for start in range(0, len(rows), size):
    block = rows[start : start + size]
    values = np.full((size, x.shape[1]), np.nan, np.float32)
    values[: len(block)] = x[block]
    yield block, (np.nan_to_num(values), (~np.isnan(values)).astype(np.float32))


@functools.lru_cache(maxsize=32)
def _density(spec: training.Spec, num_samples: int) -> Callable:
  """(variables of a lane, key, x, mask) -> log p(x_observed) of standardised entries, [B]."""
  model = training.model(spec)

  @jax.jit
  def log_prob(variables, key, x, mask):
    keys = rng.row_keys(key, rng.content_index(x, mask))
    batch = {"x": x, "mask": mask}
    return imputation.log_prob(model.bind(variables), keys, batch, num_samples, min(_CHUNK, num_samples))

  return log_prob


def log_prob(fitted: Fitted, x: np.ndarray, num_samples: int = 1000, seed: int = 0) -> np.ndarray:
  """log p(x_observed) of each row of x [N, D], NaN where missing, in the table's units: a stochastic lower bound.

  Returns nats, [N].  If there are several models, the first one is used.
  """
  program, key = _density(fitted.spec, num_samples), rng.stream(jax.random.key(seed), "log_prob")
  variables = jax.tree.map(lambda a: a[0], fitted.fit.variables)
  z, scale = tables.standardise(fitted.columns, x), np.array([c.scale for c in fitted.columns])
  parts = [program(variables, key, *block)[: len(rows)] for rows, block in blocks(z, np.arange(len(x)))]
  return np.concatenate(parts) - (~np.isnan(x)) @ np.log(scale)


@functools.lru_cache(maxsize=32)
def _generator(spec: training.Spec) -> Callable:
  model = training.model(spec)
  return jax.jit(lambda variables, key, n: model.bind(variables).generate(key, n), static_argnums=2)


def generate(fitted: Fitted, n: int, seed: int = 0) -> np.ndarray:
  """n draws from p(x) of the first model, [n, D], in the table's units."""
  variables = jax.tree.map(lambda a: a[0], fitted.fit.variables)
  drawn = _generator(fitted.spec)(variables, rng.stream(jax.random.key(seed), "generate"), training.padded(n))[:n]
  return tables.restore(fitted.columns, np.asarray(drawn), np.arange(len(fitted.columns)))

"""Fits a MIWAE to a table with missing entries: the IWAE bound on log p(x_observed) (Mattei & Frellsen, 2019).

Several models, one per bootstrap sample of the rows, are trained as lanes of one program.  Some observed entries are
hidden from training and scored by log p(x_hidden | x_seen): when this score stops improving, the learning rate is
lowered, and after the lowest rate the fit ends.  The parameters with the highest score are returned.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from dgm_jax.core import errors, rng
from dgm_jax.inference import imputation
from dgm_jax.models.vae import vae
from dgm_jax.principles.latent import latent
from dgm_jax.training import optimisers

STEPS = 200  # per call of the program, but for the last
_UNSCORED = 600  # training steps if no entry is hidden, so that there is no score
_BLOCK = 128  # rows whose hidden entries are scored at once
_SCORE_SAMPLES = 50
_PATIENCE = 5  # calls without a better score before the rate is lowered
_RATES = (1.0, 0.3, 0.1)


class Spec(NamedTuple):
  """The settings that determine a model and its programs.

  Attributes:
    columns: the likelihood of each column, as `columns` of the likelihood 'mixed'.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder has them in reverse order.
    num_samples: K of the bound.
    batch_size: rows per step.
    lr: initial learning rate of Adam.
  """

  columns: tuple[str, ...]
  latent_dim: int = 10
  hidden: tuple[int, ...] = (128, 128)
  num_samples: int = 20
  batch_size: int = 128
  lr: float = 1e-3


class Rows(NamedTuple):
  """A table as input of the programs: entries [N, D], numbers standardised, classes as their indices.

  Attributes:
    x: values; those where mask is 0 have no influence.
    mask: 1 where an entry is observed.
  """

  x: jax.Array
  mask: jax.Array


class Limits(NamedTuple):
  """Limits that end a fit even if its score is still improving.

  Attributes:
    max_steps: maximum number of training steps.
    minutes: maximum training time; None for no limit.
  """

  max_steps: int
  minutes: float | None = None


class Fit(NamedTuple):
  """Fitted parameters and a record of the fit.

  Attributes:
    variables: of the model, leaves [R, ...], one entry per lane.
    steps: number of training steps taken.
    score: log p(x_hidden | x_seen), nats per hidden entry, averaged over lanes; None if no entry was hidden.
    reason: a clause that says why the fit ended.
  """

  variables: Any
  steps: int
  score: float | None
  reason: str


@functools.lru_cache(maxsize=32)
def model(spec: Spec) -> vae.Model:
  """The model p(z) prod_d p(x_d | z), in which each column has its own likelihood."""
  options = FrozenDict(columns=spec.columns)
  return vae.Model(
    data_shape=(len(spec.columns),),
    latent_dim=spec.latent_dim,
    hidden=spec.hidden,
    likelihood="mixed",
    likelihood_args=options,
  )


class _Programs(NamedTuple):
  start: Callable  # keys [R] -> states
  train: Callable  # (states, keys, rows, chosen [R, N], n, steps = STEPS) -> states; compiled for each number of steps
  score: Callable  # (states, key, rows, hidden) -> [R], nats per hidden entry
  keep: Callable  # (where [R], new, old) -> states: new where `where` holds, else old


@functools.lru_cache(maxsize=32)
def _programs(spec: Spec) -> _Programs:
  """The programs; each is compiled once per shape of its arguments."""
  miwae = model(spec)
  tx = optimisers.make(num_steps=1, lr=spec.lr, schedule="constant")
  system = latent.make(miwae, tx, bound="iwae", num_samples=spec.num_samples)

  def start(key):
    two = jnp.zeros((2, len(spec.columns)))
    return system.init(key, {"x": two, "mask": two}, {"optim.lr": jnp.float32(spec.lr)})

  def train(length, state, key, rows, chosen, n):
    def step(state, _):
      key_rows, key_step = jax.random.split(jax.random.fold_in(key, state.step))
      index = chosen[jax.random.randint(key_rows, (spec.batch_size,), 0, n)]
      return system.train_step(state, key_step, {"x": rows.x[index], "mask": rows.mask[index]})[0], None

    return jax.lax.scan(step, state, length=length)[0]

  def train_lanes(states, keys, rows, chosen, n, steps=STEPS):
    return jax.vmap(functools.partial(train, steps), (0, 0, None, 0, None))(states, keys, rows, chosen, n)

  def score(state, key, rows, hidden):
    bound, n = miwae.bind({"params": state.params}), hidden.shape[0]

    def block(parts):
      x, mask, hidden, index = parts
      keys = rng.row_keys(key, index)
      log_p = imputation.conditional_log_prob(
        bound, keys, {"x": x, "mask": mask}, hidden, _SCORE_SAMPLES, _SCORE_SAMPLES
      )
      return jnp.sum(jnp.where(jnp.any(hidden > 0, 1), log_p, 0))

    parts = jax.tree.map(lambda a: a.reshape(-1, min(n, _BLOCK), *a.shape[1:]), (*rows, hidden, jnp.arange(n)))
    return jnp.sum(jax.lax.map(block, parts)) / jnp.sum(hidden)

  def keep(where, new, old):
    return jax.tree.map(lambda a, b: jnp.where(where.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)

  return _Programs(
    jax.jit(jax.vmap(start)),
    jax.jit(train_lanes, static_argnums=5),
    jax.jit(jax.vmap(score, (0, None, None, None))),
    jax.jit(keep),
  )


def padded(n: int) -> int:
  """The least power of two that is at least n and 16: one of the few sizes that programs are compiled for."""
  return max(16, 1 << (n - 1).bit_length())


def pad(a: Any) -> jax.Array:
  """a [N, ...] padded with zeros at the end of axis 0, on the device."""
  return jnp.pad(jnp.asarray(a), [(0, padded(len(a)) - len(a)), *[(0, 0)] * (a.ndim - 1)])


def fit(
  spec: Spec,
  rows: Rows,
  hidden: Any,
  chosen: Any,
  seed: int,
  limits: Limits,
  progress: Callable[[int, float | None], Any],
) -> Fit:
  """Trains one lane per row of `chosen` until no score has improved for a while at the lowest learning rate.

  Args:
    spec: the model.
    rows: [N, D] on the host; entries with mask 0 have no influence on training.
    hidden: [N, D], 1 for entries that are scored: their x is given but their mask is 0, so training never sees them.
    chosen: int32 [R, N], indices of the rows that each lane is trained on: all rows or a bootstrap sample.
    seed: of parameters, batches and noise.
    limits: limits that may end the fit earlier.
    progress: called with the number of steps so far and the score.

  Raises:
    DivergenceError: a lane's first score is not finite.
  """
  programs, key, num_models = _programs(spec), jax.random.key(seed), len(chosen)
  lanes = lambda name: jax.random.split(rng.stream(key, name), num_models)
  states, keys = programs.start(lanes("init")), lanes("train")
  arrays, n, where = Rows(*map(pad, rows)), jnp.int32(len(rows.x)), hidden.any(1)
  chosen = jnp.pad(jnp.asarray(chosen), ((0, 0), (0, len(arrays.x) - chosen.shape[1])))
  scored, scored_hidden = Rows(pad(rows.x[where]), pad(rows.mask[where])), pad(hidden[where])
  watch = _Watch(programs, spec.lr, num_models, scored=bool(where.any()))
  start, steps, reason = time.monotonic(), 0, None
  while reason is None:
    states = programs.train(states, keys, arrays, chosen, n, min(STEPS, limits.max_steps - steps))
    steps = min(steps + STEPS, limits.max_steps)
    if watch.scored:
      states = watch.see(states, programs.score(states, rng.stream(key, "score"), scored, scored_hidden))
    progress(steps, watch.score)
    reason = watch.reason(steps) or _limit(limits, steps, time.monotonic() - start)
  return Fit(jax.device_get({"params": watch.best(states).params}), steps, watch.score, reason)


def _limit(limits: Limits, steps: int, seconds: float) -> str | None:
  if limits.minutes is not None and seconds >= 60 * limits.minutes:
    return f"its {limits.minutes:g} minutes are used up"
  return f"its {steps} steps are done" if steps >= limits.max_steps else None


class _Watch:
  """Keeps the best state of each lane, lowers its learning rate, and decides when all lanes have stopped improving."""

  def __init__(self, programs: _Programs, lr: float, num_models: int, scored: bool):
    self.scored, self._programs, self._lr, self._best = scored, programs, lr, None
    self._scores = jnp.full(num_models, -jnp.inf)
    self._waited = self._level = jnp.zeros(num_models, jnp.int32)

  @property
  def score(self) -> float | None:
    """The lanes' best scores, averaged over lanes."""
    return float(jnp.mean(self._scores)) if self.scored else None

  def best(self, states: Any) -> Any:
    return self._best if self.scored else states

  def see(self, states: Any, scores: jax.Array) -> Any:
    """The states to continue from; a lane that stopped improving returns to its best state, with a lower rate."""
    better = scores > self._scores
    self._best = states if self._best is None else self._programs.keep(better, states, self._best)
    self._scores = jnp.where(better, scores, self._scores)
    if not bool(jnp.all(jnp.isfinite(self._scores))):
      raise errors.DivergenceError("The fit diverged: its score is NaN or Inf.")
    waited = jnp.where(better, 0, self._waited + 1)
    lowered = waited >= _PATIENCE
    self._waited, self._level = jnp.where(lowered, 0, waited), self._level + lowered
    if not bool(jnp.any(lowered)):
      return states
    rates = self._lr * jnp.asarray((*_RATES, _RATES[-1]))[self._level]
    back = self._best.replace(step=states.step, hparams={"optim.lr": rates})
    return self._programs.keep(lowered, back, states)

  def reason(self, steps: int) -> str | None:
    if not self.scored:
      return "no entry was hidden to score it by" if steps >= _UNSCORED else None
    return "its score stopped rising" if bool(jnp.all(self._level >= len(_RATES))) else None

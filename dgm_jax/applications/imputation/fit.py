"""Fits a MIWAE to a table with missing entries: the IWAE bound on log p(x_observed) (Mattei & Frellsen, 2019).

Several models, one per bootstrap sample of the rows, are trained as lanes of one program.  Some observed entries are
hidden from training and scored by log p(x_hidden | x_seen): when this score stops improving, the learning rate is
lowered, and after the lowest rate the fit ends.  The parameters with the highest score are returned.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from dgm_jax.applications.imputation.watch import Watch
from dgm_jax.core import errors, rng
from dgm_jax.inference import imputation
from dgm_jax.models.vae import vae
from dgm_jax.principles.latent import latent
from dgm_jax.training import optimisers

STEPS = 200  # per call of the program, but for the last
_BLOCK = 128  # rows whose hidden entries are scored at once
_SCORE_SAMPLES = 50


class Spec(NamedTuple):
  """The settings that determine a model and its programs.

  Attributes:
    columns: the likelihood of each column, as `columns` of the likelihood 'mixed'.
    latent_dim: L.
    hidden: widths of the encoder's hidden layers; the decoder has them in reverse order.
    num_samples: K of the bound.
    batch_size: rows per step.
    lr: initial learning rate of Adam.
    mechanism: p(m|x), a name of missing_process.PROCESSES for columns of numbers alone, or "ignorable".
    hide: largest share of observed entries that are further hidden from the encoder in training, drawn uniformly for
      each row and step; the bound stays one on log p(x_observed).
  """

  columns: tuple[str, ...]
  latent_dim: int = 10
  hidden: tuple[int, ...] = (128, 128)
  num_samples: int = 20
  batch_size: int = 128
  lr: float = 1e-3
  mechanism: str = "ignorable"
  hide: float = 0.0


class Rows(NamedTuple):
  """A table as input of the programs: entries [N, D], numbers standardised, classes as their indices.

  Attributes:
    x: values; those where mask is 0 have no influence.
    mask: 1 where an entry is observed.
    indicator: 1 where it would be, had no entry been hidden on purpose: m of p(m|x); None without such a process.
  """

  x: jax.Array
  mask: jax.Array
  indicator: jax.Array | None = None

  def batch(self) -> dict[str, jax.Array]:
    """As a batch of the model."""
    return {name: a for name, a in self._asdict().items() if a is not None}


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


def check_mechanism(mechanism: str, likelihoods: Sequence[str]) -> None:
  """Raises UserError if p(m|x) is modelled and a column holds classes: draws of missing ones have no gradient."""
  errors.require(
    mechanism == "ignorable" or set(likelihoods) == {"student_t"},
    f"mechanism {mechanism!r} is for columns of numbers; this table has classes.",
  )


@functools.lru_cache(maxsize=32)
def model(spec: Spec) -> vae.Model:
  """The model p(z) prod_d p(x_d | z), in which each column has its own likelihood."""
  likelihood, options = "mixed", FrozenDict(columns=spec.columns)
  check_mechanism(spec.mechanism, spec.columns)
  if spec.mechanism != "ignorable":
    likelihood, options = "student_t", FrozenDict()
  return vae.Model(
    data_shape=(len(spec.columns),),
    latent_dim=spec.latent_dim,
    hidden=spec.hidden,
    likelihood=likelihood,
    likelihood_args=options,
    missing_process=spec.mechanism,
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
      batch = jax.tree.map(lambda a: a[index], rows).batch()
      if spec.hide:
        key_rate, key_hide = jax.random.split(rng.stream(key_step, "hide"))
        rate = spec.hide * jax.random.uniform(key_rate, (spec.batch_size, 1))
        batch["shown"] = (jax.random.uniform(key_hide, batch["x"].shape) >= rate).astype(jnp.float32)
      return system.train_step(state, key_step, batch)[0], None

    return jax.lax.scan(step, state, length=length)[0]

  def train_lanes(states, keys, rows, chosen, n, steps=STEPS):
    return jax.vmap(functools.partial(train, steps), (0, 0, None, 0, None))(states, keys, rows, chosen, n)

  def score(state, key, rows, hidden):
    bound, n = miwae.bind({"params": state.params}), hidden.shape[0]

    def block(parts):
      rows, hidden, index = parts
      keys = rng.row_keys(key, index)
      log_p = imputation.conditional_log_prob(bound, keys, rows.batch(), hidden, _SCORE_SAMPLES, _SCORE_SAMPLES)
      return jnp.sum(jnp.where(jnp.any(hidden > 0, 1), log_p, 0))

    parts = jax.tree.map(lambda a: a.reshape(-1, min(n, _BLOCK), *a.shape[1:]), (rows, hidden, jnp.arange(n)))
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
  arrays, n, where = jax.tree.map(pad, rows), jnp.int32(len(rows.x)), hidden.any(1)
  chosen = jnp.pad(jnp.asarray(chosen), ((0, 0), (0, len(arrays.x) - chosen.shape[1])))
  scored, scored_hidden = jax.tree.map(lambda a: pad(a[where]), rows), pad(hidden[where])
  watch = Watch(programs.keep, spec.lr, num_models, scored=bool(where.any()))
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

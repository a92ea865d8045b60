"""Fits networks of all conditionals p(x_d | any others) of a table, as lanes of one program.

See models/autoregressive/conditionals.py.  The weights that are used are moving averages of the trained ones.  When the
error on entries that were hidden from training has not fallen for a while, the fit ends, and the averages with the
lowest error are returned.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgm_jax.applications.imputation.fit import Limits
from dgm_jax.core import errors, rng
from dgm_jax.models.autoregressive import conditionals
from dgm_jax.models.autoregressive.conditionals import Entries, Predicted

STEPS = 250  # per call of the program, but for the last
_PATIENCE = 6  # calls without a lower error
_DECAY = 0.998  # of the averages, per step
_CLIP = 1.0  # largest norm of a gradient
_MORE = 0.25  # of the steps, with the entries that were hidden
_UNSCORED = 3000  # steps if no entry is hidden


class Spec(NamedTuple):
  """The settings that determine the programs; widths are padded, so that tables of similar widths share a program.

  Attributes:
    num_numbers, num_classified, num_classes: padded sizes, see conditionals.Conditionals.
    hidden, blocks, components: see conditionals.Conditionals.
    batch_size: rows per step.
    lr: learning rate of Adam.
  """

  num_numbers: int
  num_classified: int
  num_classes: int
  hidden: int = 256
  blocks: int = 3
  components: int = 3
  batch_size: int = 256
  lr: float = 1e-3


class Lanes(NamedTuple):
  """The state of R models, leaves [R, ...]: parameters, optimiser, moving averages, and the number of steps."""

  params: Any
  opt_state: Any
  average: Any
  step: jax.Array


class Fit(NamedTuple):
  """Parameters of R models, leaves [R, ...], and a record of their fit.

  Attributes:
    params: the averages, see conditionals.Conditionals.
    lanes: the state that they belong to, to go on from; None after `more`.
    steps: steps taken.
    error: mean loss of the hidden entries, or None.
    reason: a clause that says why the fit ended.
  """

  params: Any
  lanes: Lanes | None
  steps: int
  error: float | None
  reason: str


def model(spec: Spec) -> conditionals.Conditionals:
  """The network of a spec."""
  return conditionals.Conditionals(*spec[:6])


class _Programs(NamedTuple):
  start: Callable  # (keys [R], classes) -> Lanes
  train: Callable  # (lanes, keys [R], rows, classes, n, steps) -> lanes; compiled for each number of steps
  score: Callable  # (params, rows, classes, hidden of_z, of_c) -> sum of losses of the ensemble
  predict: Callable  # (params, rows, classes) -> Predicted, the mixture of the models


def _mixed(p: Predicted) -> Predicted:
  """The equal mixture of R predictions, leaves [R, B, ...]."""
  num_models = len(p.mean)
  join = lambda a: jnp.moveaxis(a, 0, 2).reshape(*a.shape[1:3], -1)
  share = join(p.log_share) - jnp.log(num_models)
  log_p = jax.nn.logsumexp(p.log_p, 0) - jnp.log(num_models)
  return Predicted(p.mean.mean(0), share, join(p.loc), join(p.scale), log_p)


@functools.lru_cache(maxsize=32)
def programs(spec: Spec) -> _Programs:
  """The programs; each is compiled once per shape of its arguments."""
  net = model(spec)
  tx = optax.chain(optax.clip_by_global_norm(_CLIP), optax.adam(spec.lr))

  def start(key, classes):
    zeros = lambda width: jnp.zeros((2, width))
    d, e = spec.num_numbers, spec.num_classified
    x = Entries(zeros(d), zeros(d), jnp.zeros((2, e), jnp.int32), zeros(d), zeros(e))
    params = net.init(rng.stream(key, "init"), x, classes)["params"]
    return Lanes(params, tx.init(params), jax.tree.map(jnp.copy, params), jnp.int32(0))

  def train(length, lane, key, rows, classes, n):
    def step(lane, _):
      key_rows, key_hide, key_drop = jax.random.split(jax.random.fold_in(key, lane.step), 3)
      index = jax.random.randint(key_rows, (spec.batch_size,), 0, n)
      batch = jax.tree.map(lambda a: a[index], rows)
      seen, of_z, of_c = net.hide(key_hide, batch)

      def loss(params):
        p = net.apply({"params": params}, seen, classes, rngs={"dropout": key_drop})
        return jnp.sum(conditionals.losses(p, batch, of_z, of_c)) / jnp.maximum(jnp.sum(of_z) + jnp.sum(of_c), 1)

      updates, opt_state = tx.update(jax.grad(loss)(lane.params), lane.opt_state, lane.params)
      params = optax.apply_updates(lane.params, updates)
      decay = jnp.minimum(_DECAY, (1 + lane.step) / (10.0 + lane.step))
      average = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, lane.average, params)
      return Lanes(params, opt_state, average, lane.step + 1), None

    return jax.lax.scan(step, lane, length=length)[0]

  def predict(params, rows, classes):
    return _mixed(jax.lax.map(lambda one: net.apply({"params": one}, rows, classes), params))

  def score(params, rows, classes, of_z, of_c):
    return jnp.sum(conditionals.losses(predict(params, rows, classes), rows, of_z, of_c))

  def train_lanes(lanes, keys, rows, classes, n, steps):
    one = functools.partial(train, steps)
    return jax.vmap(one, (0, 0, None, None, None))(lanes, keys, rows, classes, n)

  return _Programs(
    jax.jit(jax.vmap(start, (0, None))),
    jax.jit(train_lanes, static_argnums=5, donate_argnums=0),
    jax.jit(score),
    jax.jit(predict),
  )


def fit(
  spec: Spec,
  rows: Entries,
  classes: jax.Array,
  n: int,
  scored: tuple[Entries, jax.Array, jax.Array] | None,
  seed: int,
  num_models: int,
  limits: Limits,
  progress: Callable[[int, float | None], Any],
) -> Fit:
  """Trains `num_models` models, one lane each, until the error of their mixture has stopped falling.

  Args:
    spec: the model.
    rows: the table, padded; its entries with of_z or of_c 0 have no influence.
    classes: [E].
    n: the number of rows that are no padding.
    scored: (rows with hidden entries, 1 where a number is hidden, 1 where a class is hidden); None: nothing is hidden.
    seed: of parameters, batches, hidden entries and dropout; lane r depends on the seed and r alone.
    num_models: R.
    limits: limits that may end the fit earlier.
    progress: called with the number of steps so far and the error.

  Raises:
    DivergenceError: the error is not finite.
  """
  made, key = programs(spec), jax.random.key(seed)
  keys = rng.row_keys(rng.stream(key, "lanes"), jnp.arange(num_models))
  lanes, best, lowest, waited, steps = made.start(keys, classes), None, None, 0, 0
  start, limit = time.monotonic(), limits.max_steps if scored is not None else min(limits.max_steps, _UNSCORED)
  while True:
    length = min(STEPS, limit - steps)
    lanes = made.train(lanes, keys, rows, classes, jnp.int32(n), length)
    steps += length
    if scored is not None:
      found = float(made.score(lanes.average, scored[0], classes, *scored[1:]) / (scored[1].sum() + scored[2].sum()))
      if not jnp.isfinite(found):
        raise errors.DivergenceError("The fit diverged: its error is NaN or Inf.")
      waited += 1
      if lowest is None or found < lowest:
        best, lowest, waited = jax.device_get(lanes), found, 0
    progress(steps, lowest)
    if waited >= _PATIENCE:
      return Fit(best.average, best, steps, lowest, "its error stopped falling")
    late = limits.minutes is not None and time.monotonic() - start >= 60 * limits.minutes
    if steps >= limit or late:
      reason = f"its {limits.minutes:g} minutes are used up" if late else f"its {steps} steps are done"
      last = jax.device_get(lanes) if best is None else best
      return Fit(last.average, last, steps, lowest, reason)


def more(spec: Spec, found: Fit, rows: Entries, classes: jax.Array, n: int, seed: int) -> Fit:
  """A fit that goes on from its best state for a quarter of its steps on `rows`, which hold the hidden entries, too."""
  made, key = programs(spec), rng.stream(jax.random.key(seed), "more")
  keys = rng.row_keys(key, jnp.arange(len(found.lanes.step)))
  taken = int(found.lanes.step[0])
  length = min(STEPS, taken)  # of a call, of which there is a program already
  lanes, calls = jax.device_put(found.lanes), max(1, round(taken * _MORE / length))
  for _ in range(calls):
    lanes = made.train(lanes, keys, rows, classes, jnp.int32(n), length)
  return found._replace(params=jax.device_get(lanes.average), lanes=None, steps=found.steps + calls * length)

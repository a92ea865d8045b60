"""A system: the pure functions through which the training loop, the sweeps and the tests use a model."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from dgm_jax.core import rng, text_tables


class System(NamedTuple):
  """The functions that train, evaluate and sample a model.  A batch is a dict of arrays [B, ...] of B examples.

  Attributes:
    init: (key, batch, hparams) -> state, a pytree with a `.step` and, see TrainState, `.averaged()`.
    train_step: (state, key, batch) -> (state, {name: scalar}).
    eval_step: (state, key, batch) -> {name: [B]}; per example, so that averages over a set are exact.
    sample: (state, key, n) -> [n, ...], samples of the model; None for a conditional model p(y given x).
    pictures: (state, key, batch) -> {name: [n, ...]}, images to save during training; None for none.
    batches: batches of config.batch_size examples that one train_step takes, as one batch [batches * B, ...]: a step of
      a game of two players has several updates.
    prepare: (state, key) -> state, what is done once before a state is evaluated, sampled or drawn, such as computing
      the statistics of batch normalisation; None for nothing.  See `prepared`.
  """

  init: Callable
  train_step: Callable
  eval_step: Callable
  sample: Callable | None
  pictures: Callable | None = None
  batches: int = 1
  prepare: Callable | None = None

  def __repr__(self) -> str:
    names = [name for name, function in self._asdict().items() if function is not None and name != "batches"]
    return f"System({', '.join([*names, *([f'{self.batches} batches'] if self.batches > 1 else [])])})"


class TrainState(struct.PyTreeNode):
  """The complete state of a run: with (seed, step) it determines all further training.

  Attributes:
    step: int32 scalar, number of training steps so far.
    params: the parameters that the optimiser updates.
    opt_state: the optimiser's state.
    variables: other collections of the model (batch or spectral norm statistics).
    hparams: {config path: float32 scalar}, the numbers that may differ between lanes (runs) of one program.
    averages: the moving average of `params`, or of a part of them, see `averaging`; None for none.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  variables: Any
  hparams: dict[str, jax.Array]
  averages: Any = None

  def __repr__(self) -> str:
    averaged = "" if self.averages is None else ", averaged"
    return f"TrainState(step {self.step}, {text_tables.count_parameters(self.params)}{averaged})"

  def averaged(self) -> "TrainState":
    """The state for evaluation and sampling: `averages` in place of the parameters that have any."""
    return self if self.averages is None else self.replace(params=put_over(self.averages, self.params))


def put_over(averages: Any, params: Any) -> Any:
  """The parameters, with the averages in place of those that have any: all, or a part of the top level."""
  return {**params, **averages} if isinstance(params, Mapping) else averages


def prepared(system: System, state: Any) -> Any:
  """The state that is evaluated, sampled and drawn: the averages in place of the parameters, then `prepare`.

  The key is fixed, so that every use of a state sees the same statistics.
  """
  state = state.averaged()
  return state if system.prepare is None else system.prepare(state, rng.stream(jax.random.key(0), "prepare"))


def gradient_system(
  init_params: Callable,
  loss_fn: Callable,
  eval_step: Callable,
  sample: Callable | None,
  tx: optax.GradientTransformation,
  pictures: Callable | None = None,
) -> System:
  """The common case: one tree of parameters, one loss, one optimiser.

  Args:
    init_params: (key, batch) -> (params, variables).
    loss_fn: (params, variables, key, batch, hparams) -> (loss, (metrics, variables)); the loss is minimised, and
      hparams["step"] is the number of training steps so far, for annealing.
    eval_step: see System.
    sample: see System.
    tx: an optax transformation; its update receives `hparams=` and the loss as `value=` if it takes extra arguments.
    pictures: see System.
  """
  tx = optax.with_extra_args_support(tx)

  def init(key, batch, hparams):
    params, variables = init_params(key, batch)
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), variables, hparams)

  def train_step(state, key, batch):
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (metrics, variables)), grads = grad_fn(
      state.params, state.variables, key, batch, state.hparams | {"step": state.step}
    )
    updates, opt_state = tx.update(grads, state.opt_state, state.params, hparams=state.hparams, value=loss)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state, variables=variables)
    return state, {"loss": loss, **metrics}

  return System(init, train_step, eval_step, sample, pictures)


def averaging(system: System, decay: float, every: int = 1, part: str | None = None, start: int = 0) -> System:
  """Adds a moving average of the parameters to a system, which evaluation, samples and pictures then use.

    averages <- d averages + (1 - d) params,  d = min(decay, (1 + t) / (10 + t)),  averages_0 = params_0

  after update t = 0, 1, ...; d is small at first, so that the initial parameters are soon forgotten.  Other variables
  are not averaged.  Training itself is unchanged.

  Args:
    system: the system to train, whose states are TrainStates.
    decay: the long-run d; hparams["optim.ema_decay"] of a state takes precedence.
    every: steps per update of the parameters; more than 1 where gradients are accumulated.
    part: the key of `params` that is averaged, such as the generator of two players; `averages` has only that, and
      the newest other parameters are used with it.  None for all.
    start: the step before which the averages are copies of the parameters: d = 0.
  """
  averaged_of = lambda params: params if part is None else {part: params[part]}

  def init(key, batch, hparams):
    state = system.init(key, batch, hparams)
    return state.replace(averages=jax.tree.map(jnp.copy, averaged_of(state.params)))

  def train_step(state, key, batch):
    new, metrics = system.train_step(state, key, batch)
    t = state.step // every
    d = jnp.minimum(state.hparams.get("optim.ema_decay", decay), (1 + t) / (10 + t))
    if start:
      d = jnp.where(state.step < start, 0.0, d)
    if every > 1:
      d = jnp.where(new.step % every == 0, d, 1.0)
    return new.replace(averages=optax.incremental_update(averaged_of(new.params), state.averages, 1 - d)), metrics

  def with_averages(function):
    return function and (lambda state, *args, **options: function(state.averaged(), *args, **options))

  functions = {name: with_averages(getattr(system, name)) for name in ("eval_step", "sample", "pictures", "prepare")}
  return system._replace(init=init, train_step=train_step, **functions)

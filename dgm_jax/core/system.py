"""A system is a handful of pure functions; the loop, the sweeps and the tests know nothing else about a model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct


class System(NamedTuple):
  """What can be trained, evaluated and sampled.  A batch is a dict of arrays with B examples in front.

  Attributes:
    init: (key, batch, hparams) -> state, a pytree with a `.step` and, see TrainState, `.averaged()`.
    train_step: (state, key, batch) -> (state, {name: scalar}).
    eval_step: (state, key, batch) -> {name: [B]}; per example, so that averages over a set are exact.
    sample: (state, key, n) -> [n, ...], what the model generates; None where it is of y given x.
    pictures: (state, key, batch) -> {name: [n, ...]}, what is worth seeing during training; None for nothing.
  """

  init: Callable
  train_step: Callable
  eval_step: Callable
  sample: Callable | None
  pictures: Callable | None = None


class TrainState(struct.PyTreeNode):
  """All there is to save: with (seed, step) it determines the rest of a run.

  Attributes:
    step: int32 scalar, updates so far.
    params: the parameters that the optimiser moves.
    opt_state: the optimiser's state.
    variables: other collections of the model (batch or spectral norm statistics).
    hparams: {config path: float32 scalar}, the numbers that may differ between lanes of one program.
    averages: the moving average of `params`, see averaging; None for none.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  variables: Any
  hparams: dict[str, jax.Array]
  averages: Any = None

  def averaged(self) -> "TrainState":
    """The state to evaluate and to sample from: `averages` in the place of `params`, if there are any."""
    return self if self.averages is None else self.replace(params=self.averages)


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
    loss_fn: (params, variables, key, batch, hparams) -> (loss, (metrics, variables)); loss is what goes down, and
      hparams["step"] the number of updates so far, for what is annealed.
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


def averaging(system: System, decay: float, every: int = 1) -> System:
  """The system whose states have a moving average of the parameters, which it evaluates, samples and draws.

    averages <- d averages + (1 - d) params,  d = min(decay, (1 + t) / (10 + t)),  averages_0 = params_0

  after update t = 0, 1, ...; d is small at first, so that the initial parameters are forgotten soon.  Other variables
  are the newest.  Training itself is the same.

  Args:
    system: what is trained, with states of TrainState.
    decay: the long-run d; a state's hparams["optim.ema_decay"] wins.
    every: steps in one update of the parameters, where gradients are accumulated.
  """

  def init(key, batch, hparams):
    state = system.init(key, batch, hparams)
    return state.replace(averages=jax.tree.map(jnp.copy, state.params))

  def train_step(state, key, batch):
    new, metrics = system.train_step(state, key, batch)
    t = state.step // every
    d = jnp.minimum(state.hparams.get("optim.ema_decay", decay), (1 + t) / (10 + t))
    if every > 1:
      d = jnp.where(new.step % every == 0, d, 1.0)
    return new.replace(averages=optax.incremental_update(new.params, state.averages, 1 - d)), metrics

  def of_averages(function):
    return function and (lambda state, *args: function(state.averaged(), *args))

  return System(init, train_step, *map(of_averages, (system.eval_step, system.sample, system.pictures)))

"""Aggressive updates of the encoder (He et al., Lagging inference networks and posterior collapse, ICLR 2019).

In the aggressive phase the encoder alone is updated on batch after batch, up to `aggressive` times.  After every
`aggressive_window` updates the mean loss for each word (or for each example, of data without lengths) since the last
comparison is compared with the one before: when it has risen, or after `aggressive` updates, the decoder alone is
updated once.  After every epoch of updates of the decoder the mutual information of x and z is estimated on the whole
validation set; the first time that it has not risen the phase ends for good, and both are updated together.

A training step is one update of either, on one batch of the loop: a state machine, whose state is the collection
`aggressive` of TrainState.variables, so that a resumed run continues where it was.  Encoder and decoder have an
optimiser each, with their own moments and clipping; schedules count the updates of each.  The KL weight depends on the
number of updates of the decoder, as in the paper.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import errors, rng
from dgm_jax.core.system import System, TrainState
from dgm_jax.inference.aggregate_posterior import mutual_information

NAME = "aggressive"
PLAYERS = ("encoder", "decoder")


def check(o: Any, model: Any) -> None:
  """Raises UserError for invalid options, or a model that does not say which parameters are those of q."""
  need = lambda condition, sentence: errors.require(condition, f"objective.{sentence}")
  need(o.aggressive >= 0, f"aggressive = {o.aggressive}; it must be a number of updates, or 0 for none.")
  need(
    o.decoder_updates >= 0 and (bool(o.aggressive) or not o.decoder_updates),
    f"decoder_updates = {o.decoder_updates}; it must be 0 or more, and 0 without aggressive, where it is num_steps.",
  )
  need(o.aggressive_window >= 1, f"aggressive_window = {o.aggressive_window}; it must be 1 or more.")
  need(
    not o.aggressive or bool(getattr(model, "inference_parameters", ())),
    f"aggressive = {o.aggressive}: {type(model).__module__} does not say which parameters are those of q(z|x).",
  )


def parts(model: Any, params: Any) -> dict[str, Any]:
  """{"encoder": the parameters of q, "decoder": the others}."""
  of_q = {name for name in params if name in model.inference_parameters}
  return {
    "encoder": {name: params[name] for name in params if name in of_q},
    "decoder": {name: params[name] for name in params if name not in of_q},
  }


def start() -> dict[str, jax.Array]:
  """The state at first.

  phase: 1 in the aggressive phase, then 0; turn: 1 if the next update is the decoder's; inner: updates of the encoder
  since the last of the decoder; outer: updates of the decoder; loss, words: sums since the last comparison; before: the
  mean loss of the last comparison; information: the last estimate.
  """
  whole, real = (lambda v: jnp.asarray(v, jnp.int32)), (lambda v: jnp.asarray(v, jnp.float32))
  counts = {"phase": whole(1), "turn": whole(0), "inner": whole(0), "outer": whole(0)}
  return counts | {"loss": real(0), "words": real(0), "before": real(jnp.inf), "information": real(-jnp.inf)}


def after_encoder(state: dict, loss: jax.Array, words: jax.Array, most: int, window: int) -> dict:
  """The state after an update of the encoder in the phase, on a batch with this total loss and number of words."""
  inner, loss, words = state["inner"] + 1, state["loss"] + loss, state["words"] + words
  due = inner % window == 0
  mean = loss / words
  risen = due & (mean > state["before"])
  zero = lambda a: jnp.where(due, 0.0, a)
  done = risen | (inner >= most)
  return state | {
    "turn": done.astype(jnp.int32),
    "inner": jnp.where(done, 0, inner),
    "loss": jnp.where(done, 0.0, zero(loss)),
    "words": jnp.where(done, 0.0, zero(words)),
    "before": jnp.where(done, jnp.inf, jnp.where(due, mean, state["before"])),
  }


def after_decoder(state: dict, every: int, estimate: Callable[[], jax.Array]) -> dict:
  """The state after an update of the decoder: in the phase, `estimate` is taken after each epoch of `every` updates."""
  outer = state["outer"] + 1
  due = (outer % every == 0) & (state["phase"] > 0)
  found = jax.lax.cond(due, estimate, lambda: state["information"])
  over = due & ~(found > state["information"])
  return state | {
    "phase": jnp.where(over, 0, state["phase"]),
    "turn": jnp.zeros((), jnp.int32),
    "outer": outer,
    "information": found,
  }


def system(
  model: Any,
  init_params: Callable,
  loss_fn: Callable,
  functions: tuple[Callable, Callable, Callable],
  tx: optax.GradientTransformation,
  o: Any,
  num_examples: int,
  held_out: Callable | None,
) -> System:
  """A system whose encoder is trained aggressively at first; see the module's docstring.

  Metrics are those of the batch of each step, and `aggressive` (the phase), `decoder_updates`, and
  `mutual_information`, the last estimate, 0 before the first.

  Args:
    model: has inference_parameters.
    init_params, loss_fn: see core.system.gradient_system.
    functions: eval_step, sample and pictures.
    tx: the optimiser, of which each part has a state.
    o: Options.
    num_examples: of the training set, for the length of an epoch.
    held_out: () -> the validation set as one batch.

  Raises:
    UserError: there is no validation set.
  """
  errors.require(
    held_out is not None and num_examples > 0,
    f"objective.aggressive = {o.aggressive} needs a validation set, on which the mutual information is estimated: give "
    "data.valid_fraction or data.valid_size, or choose data with one.",
  )
  tx = optax.with_extra_args_support(tx)

  def train_step(state, key, batch):
    machine, both = state.variables[NAME], parts(model, state.params)
    hparams = state.hparams | {"step": machine["outer"]}
    own = {name: value for name, value in state.variables.items() if name != NAME}
    loss_of = lambda params: loss_fn(params, own, key, batch, hparams)
    choices = [_updated(players, tx, loss_of, state.hparams) for players in (("encoder",), ("decoder",), PLAYERS)]
    which = jnp.where(machine["phase"] == 0, 2, machine["turn"])
    metrics, loss, both, opt_state, variables = jax.lax.switch(which, choices, (both, state.opt_state))
    params, n = _joined(both), batch["x"].shape[0]
    words = jnp.sum(batch["length"]).astype(jnp.float32) if "length" in batch else jnp.float32(n)

    def estimate():
      bound_model = model.bind({"params": params, **variables})
      return mutual_information(bound_model, rng.stream(key, "information"), held_out())

    machine = jax.lax.cond(
      which == 0,
      lambda: after_encoder(machine, loss * n, words, o.aggressive, o.aggressive_window),
      lambda: after_decoder(machine, max(1, num_examples // n), estimate),
    )
    state = state.replace(
      step=state.step + 1, params=params, opt_state=opt_state, variables=variables | {NAME: machine}
    )
    return state, {"loss": loss, **metrics, **_metrics(machine)}

  return System(_make_init(model, init_params, tx), train_step, *functions)


def _joined(both: dict[str, Any]) -> dict[str, Any]:
  """The parameters of all `parts`."""
  return {name: a for part in both.values() for name, a in part.items()}


def _make_init(model: Any, init_params: Callable, tx: optax.GradientTransformation) -> Callable:
  def init(key, batch, hparams):
    params, variables = init_params(key, batch)
    both = parts(model, params)
    errors.require(
      bool(both["encoder"]) and bool(both["decoder"]),
      f"objective.aggressive needs parameters of q(z|x) and others; the model has {', '.join(sorted(params))}.",
    )
    opt_state = {player: tx.init(both[player]) for player in PLAYERS}
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, variables | {NAME: start()}, hparams)

  return init


def _updated(
  players: tuple[str, ...], tx: optax.GradientTransformationExtraArgs, loss_of: Callable, hparams: dict
) -> Callable:
  """(parts, optimisers' states) -> (metrics, loss, parts, states, variables) after an update of these players.

  Args:
    players: some of PLAYERS.
    tx: the optimiser.
    loss_of: parameters -> (loss, (metrics, variables)).
    hparams: of the optimiser.
  """

  def run(operand):
    both, opt_state = operand
    fixed = {player: both[player] for player in PLAYERS if player not in players}
    moving = {player: both[player] for player in players}
    of_moving = jax.value_and_grad(lambda moving: loss_of(_joined(moving | fixed)), has_aux=True)
    (loss, (metrics, variables)), grads = of_moving(moving)
    new, new_opt = dict(both), dict(opt_state)
    for player in players:
      updates, new_opt[player] = tx.update(grads[player], opt_state[player], both[player], hparams=hparams, value=loss)
      new[player] = optax.apply_updates(both[player], updates)
    return metrics, loss, new, new_opt, variables

  return run


def _metrics(machine: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """What is logged of the state, float32."""
  information = jnp.where(jnp.isfinite(machine["information"]), machine["information"], 0.0)
  found = {"aggressive": machine["phase"], "decoder_updates": machine["outer"], "mutual_information": information}
  return {name: value.astype(jnp.float32) for name, value in found.items()}

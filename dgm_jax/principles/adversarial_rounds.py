"""A step of a game: gradients of a player's update, their application, and the order of the updates."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import errors, rng
from dgm_jax.core.system import TrainState
from dgm_jax.inference import adversarial_losses as losses
from dgm_jax.principles.adversarial_options import LECAM_DECAY, PLAYERS
from dgm_jax.principles.adversarial_updates import Game

_OTHER = dict(zip(PLAYERS, reversed(PLAYERS), strict=True))


def refreshed(game: Game, state: TrainState, player: str, draw: dict) -> TrainState:
  """The state after one power iteration in each layer with spectral norm of the player that is about to be updated.

  It is a pass through the network of which only the collection "spectral" is used, so that the compiler leaves the
  rest out.  In all passes of the update, of reals, samples and penalty alike, u then stays.
  """
  if player not in state.variables.get("spectral", {}):
    return state
  one = jax.tree.map(lambda a: a[0], draw)
  key = jax.random.split(one["key"])[0]
  _, fake, changed = game.produced(state.params, state.variables, key, one, moving="spectral")
  if player == "discriminator":
    from_fake = functools.partial(game.call, "discriminate", state.params, state.variables)
    m = game.o.pack
    x = jax.tree.map(lambda a: jnp.concatenate([a[:1]] * m, -1) if m > 1 else a[:1], fake)
    y = None if "y" not in one else one["y"][:1]
    _, changed = from_fake(x, y, key=key, moving="spectral")
  spectral = state.variables["spectral"] | {player: changed["spectral"][player]}
  return state.replace(variables=state.variables | {"spectral": spectral})


def gradients(game: Game, state: TrainState, player: str, draw: dict, count: jax.Array) -> tuple[Any, dict, Any]:
  """(the mean gradient over the batches of an update, metrics, variables) of a player, at the state's parameters.

  Batch statistics move by each batch in turn; those of the other player stay, as do its parameters.
  """
  function = getattr(game, f"{player}_loss")
  old = state.params[_OTHER[player]]

  def one(variables, part):
    own = state.replace(variables=variables)
    of_loss = jax.value_and_grad(lambda params: function(params, own, part, count, old), has_aux=True)
    (loss, (metrics, changed)), grads = of_loss(state.params[player])
    return _own(player, variables, changed), (grads, metrics | {"loss": loss})

  if game.o.accumulate == 1:
    variables, (grads, metrics) = one(state.variables, jax.tree.map(lambda a: a[0], draw))
    return grads, metrics, variables

  def add(carry, part):
    variables, total = carry
    variables, (grads, metrics) = one(variables, part)
    return (variables, jax.tree.map(jnp.add, total, grads)), metrics

  zeros = jax.tree.map(jnp.zeros_like, state.params[player])
  (variables, total), metrics = jax.lax.scan(add, (state.variables, zeros), draw)
  mean = lambda a: jnp.mean(a, 0)
  return jax.tree.map(lambda g: g / game.o.accumulate, total), jax.tree.map(mean, metrics), variables


def _own(player: str, old: Any, new: Any) -> Any:
  """The variables, of which only the batch statistics of one player are new."""
  if player not in old.get("batch_stats", {}):
    return old
  return old | {"batch_stats": old["batch_stats"] | {player: new["batch_stats"][player]}}


def applied(
  game: Game, txs: dict, state: TrainState, player: str, found: tuple[Any, dict, Any], at: TrainState, count: int
) -> tuple[TrainState, dict]:
  """(state, metrics) after the player's optimiser has used its gradients, of `count` examples, at the state `at`."""
  grads, metrics, variables = found
  updates, opt = txs[player].update(
    grads, state.opt_state[player], at.params[player], hparams=state.hparams, value=metrics["loss"]
  )
  params = optax.apply_updates(at.params[player], updates)
  if player == "discriminator" and game.o.penalty == "clip":
    params = losses.clip(params, game.number(state, "weight"))
  if player == "discriminator" and game.o.penalty == "lecam":
    old = state.variables["adversarial"]
    now = {name: metrics[f"logit_{name}"] for name in ("real", "fake")}
    means = {name: LECAM_DECAY * old[name] + (1 - LECAM_DECAY) * value for name, value in now.items()}
    variables = variables | {"adversarial": old | means}
  if player == "discriminator" and game.o.ada_target:
    old = variables["adversarial"]
    step = jnp.sign(metrics["sign_real"] - game.number(state, "ada_target")) * count / game.number(state, "ada_span")
    variables = variables | {"adversarial": old | {"p": jnp.maximum(old["p"] + step, 0.0)}}
    metrics = metrics | {"ada_p": variables["adversarial"]["p"]}
  metrics = metrics | {f"gradient_{player}": optax.tree.norm(grads)}
  state = state.replace(
    params=state.params | {player: params}, opt_state=state.opt_state | {player: opt}, variables=variables
  )
  return state, metrics


def _update(game: Game, txs: dict, state: TrainState, player: str, draw: dict, count: jax.Array):
  state = refreshed(game, state, player, draw)
  found = gradients(game, state, player, draw, count)
  return applied(game, txs, state, player, found, state, _examples(draw))


def _examples(draw: dict) -> int:
  """k B, the examples of an update."""
  return draw["x"].shape[0] * draw["x"].shape[1]


def _simultaneous(game: Game, txs: dict, state: TrainState, draw: dict) -> tuple[TrainState, dict]:
  """Both gradients at the same parameters, from the same samples."""
  metrics, start = {}, state
  for player in _learning(game):
    start = refreshed(game, start, player, draw)
  state = start
  for player in _learning(game):
    grads, of_player, changed = gradients(game, start, player, draw, start.step)
    own = _own(player, state.variables, changed)
    state, of_player = applied(game, txs, state, player, (grads, of_player, own), start, _examples(draw))
    metrics = of_player | metrics  # the discriminator's come first
  return state, metrics


def _learning(game: Game) -> tuple[str, ...]:
  """The players that learn, the discriminator first."""
  return tuple(p for p in reversed(PLAYERS) if game.o.train in ("both", p))


def _alternating(game: Game, txs: dict, state: TrainState, key: jax.Array, batches: dict) -> tuple[TrainState, dict]:
  """num_discriminator updates, each on its own examples, then num_generator on the last ones."""
  metrics, k, shared = {}, game.o.accumulate, game.o.order == "shared_noise"
  for player in _learning(game):
    number = getattr(game.o, f"num_{player}")
    key_player = rng.stream(key, "both" if shared else player)
    last = jax.tree.map(lambda a: a[-1], batches)

    def one(state, i, player=player, key_player=key_player, number=number, last=last):
      batch = jax.tree.map(lambda a: a[i], batches) if player == "discriminator" else last
      draw = game.draws(jax.random.fold_in(key_player, i), batch, k)
      return _update(game, txs, state, player, draw, state.step * number + i)

    if number == 1:
      state, found = one(state, 0)
    else:
      state, found = jax.lax.scan(one, state, jnp.arange(number))
      found = jax.tree.map(lambda a: jnp.mean(a, 0), found)
    metrics = found | metrics
  return state, metrics


def _sigmas(state: TrainState, each: bool) -> dict[str, jax.Array]:
  """{"sigma": the largest spectral norm of a layer that has it}, and of each, before the latest update."""
  leaves = jax.tree_util.tree_leaves_with_path(state.variables.get("spectral", {}))
  found = {".".join(p.key for p in path[:-1]): leaf for path, leaf in leaves if path[-1].key == "sigma"}
  if not found:
    return {}
  own = {f"sigma_of_{name}": value for name, value in found.items()} if each else {}
  return {"sigma": jnp.max(jnp.stack(list(found.values())))} | own


def make_train_step(game: Game, txs: dict, conditioned: Callable) -> Callable:
  """Makes the train_step of a game.

  Args:
    game: model and options.
    txs: {player: its optimiser}.
    conditioned: (batch) -> {"x", and "y" if the model is conditional}.
  """
  o = game.o

  def train_step(state, key, batch):
    examples = conditioned(batch)
    cut = lambda a: a.reshape(o.num_discriminator, -1, *a.shape[1:])
    batches = jax.tree.map(cut, examples)
    rows = batches["x"].shape[1] // o.accumulate
    errors.require(
      rows > 1 or not state.variables.get("batch_stats"),
      "Batch normalisation takes the moments of a batch, and batch_size = 1: it must be 2 or more.",
    )
    if o.order == "simultaneous":
      draw = game.draws(rng.stream(key, "both"), jax.tree.map(lambda a: a[0], batches), o.accumulate)
      new, metrics = _simultaneous(game, txs, state, draw)
    else:
      new, metrics = _alternating(game, txs, state, key, batches)
    if "labels" in state.variables.get("adversarial", {}):
      counts = state.variables["adversarial"]["labels"]
      seen = counts + jnp.sum(jax.nn.one_hot(examples["y"], len(counts)), 0)
      new = new.replace(variables=new.variables | {"adversarial": new.variables["adversarial"] | {"labels": seen}})
    return new.replace(step=state.step + 1), metrics | _sigmas(new, o.log_sigmas)

  return train_step

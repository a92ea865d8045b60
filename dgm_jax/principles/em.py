"""Training principle: expectation-maximisation; no gradient and no optimiser (Dempster, Laird & Rubin, 1977).

  E: s(theta) = sum_n E[t(x_n, z) | x_n, theta], t the sufficient statistics of (x, z)
  M: theta <- argmax of E[log p(x, z)] given s

batch: s is that of a whole epoch, the M-step is made at its end.  With batch_size = N a step is a pass of EM; with
less, data may be larger than the memory.  online (Cappe & Moulines, 2009, https://arxiv.org/abs/0712.4273): an M-step
for each batch of B, from

  s <- (1 - g_t) s + g_t N / B s_batch(theta),  g_t = scale ((t + 1 + delay) / (1 + delay))^-decay,  g_0 = 1

The first step begins with what `start` makes of its batch.  scale = (1 + delay)^-decay gives (t + 1 + delay)^-decay
(Hoffman, Blei & Bach, 2010).  A model is a Flax module with these methods, pure functions
of `params` for what EM does; theta is its parameters, and a batch that counts `weight` [B] is a part of the data:

  start(key, params, batch)          -> params to begin with
  e_step(params, batch, weight)      -> (s, {name: sum of what is reported}), sums over the batch
  m_step(key, params, s)             -> params; s are sums over N examples, of E-steps with these params
  loss(params, {name: mean}, N)      -> what a batch step never raises, from the means of what e_step reports
  evaluate(key, batch)               -> {name: [B]}
  generate(key, n, mean=False)       -> [n, ...], draws of x, or of its mean given the latent variables
  __call__(batch)                    -> touches every parameter (init)

and, where they say something:

  move(params, s, new params)        -> s as sums with the new ones, where t depends on theta; for `online`
  reconstruct_batch(key, batch)      -> [B, ...];  clusters() -> [C, ...]: pictures
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.core.system import System, TrainState

UPDATES = ("batch", "online")


def _ones(batch: dict[str, jax.Array]) -> jax.Array:
  """What the examples count, [B]; x may be of bits or bytes."""
  return jnp.ones(batch["x"].shape[0], jnp.promote_types(batch["x"].dtype, jnp.float32))


def sums(e_step: Callable, batch: dict[str, jax.Array], block: int) -> Any:
  """e_step(part, weight) added up over parts of at most `block` examples, which bounds its memory."""
  n = batch["x"].shape[0]
  count = -(-n // block)
  rows = -(-n // count)
  # parts are interleaved, so that each device that has a range of the batch has some of every part
  split = lambda a: jnp.pad(a, ((0, rows * count - n), *[(0, 0)] * (a.ndim - 1))).reshape(rows, count, *a.shape[1:])
  parts = jax.tree.map(split, batch), split(_ones(batch))
  part = lambda i: jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False), parts)
  if count == 1:
    return e_step(*part(0))
  zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lambda: e_step(*part(0))))
  add = lambda total, i: (jax.tree.map(jnp.add, total, e_step(*part(i))), None)
  return jax.lax.scan(add, zeros, jnp.arange(count))[0]


def _if(condition: jax.Array, function: Callable, otherwise: Any) -> Any:
  """function() or `otherwise`.  A loop: lanes of lax.cond would compute both, whatever the condition."""

  def body(carry):
    found = jax.tree.map(lambda new, old: new.astype(old.dtype), function(), carry[1])
    return jnp.zeros_like(carry[0]), found

  return jax.lax.while_loop(lambda carry: carry[0], body, (condition, otherwise))[1]


def _check(model: nn.Module, update: str, numbers: dict[str, float]) -> None:
  errors.require(
    hasattr(model, "e_step") and hasattr(model, "m_step"),
    f"principle 'em' trains a model with e_step and m_step; {type(model).__module__} has none.",
  )
  errors.choose("value of objective.update", update, UPDATES)
  errors.require(0 <= numbers["decay"] <= 1, f"objective.decay = {numbers['decay']}; it must be in [0, 1].")
  errors.require(numbers["delay"] >= 0, f"objective.delay = {numbers['delay']}; it must be 0 or more.")
  errors.require(0 < numbers["scale"] <= 1, f"objective.scale = {numbers['scale']}; it must be in (0, 1].")
  errors.require(numbers["block"] >= 1, f"objective.block = {numbers['block']}; it must be 1 or more.")


def make(
  model: nn.Module,
  tx: optax.GradientTransformation,
  *,
  num_examples: int,
  update: str = "batch",
  decay: float = 0.6,
  delay: float = 0.0,
  scale: float = 1.0,
  block: int = 1024,
) -> System:
  """A system of EM.

  Args:
    model: see the module's docstring.
    tx: there is nothing for an optimiser to do.
    num_examples: N, the size of the training set.
    update: "batch" or "online".  A batch size that does not divide N leaves N mod B examples, others each time, out of
      an epoch, and of the statistics of a batch update.
    decay, delay, scale: of online's step size.  In theory decay is in (1/2, 1]; 0.6 and an average of parameters are
      Cappe & Moulines' advice, and 0 forgets all batches but the newest.
    block: examples at once in an E-step.

  Training reports `loss` and what the model's e_step does, of the parameters before the step.

  Raises:
    UserError: a name or number that cannot be, or a model without e_step and m_step.
  """
  del tx
  _check(model, update, {"decay": decay, "delay": delay, "scale": scale, "block": block})
  bind = lambda state: model.bind({"params": state.params})

  def init(key, batch, hparams):
    params = model.init(key, batch)["params"]
    statistics, _ = jax.eval_shape(model.e_step, params, batch, _ones(batch))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), statistics)
    variables = {"em": {"statistics": zeros, "started": jnp.zeros((), bool)}}
    return TrainState(jnp.zeros((), jnp.int32), params, (), variables, hparams)

  def m_step(key, params, statistics, scale, due=True):
    whole = jax.tree.map(lambda a: a * scale, statistics)
    return _if(jnp.asarray(due), lambda: model.m_step(key, params, whole), params)

  def after_batch(state, key, params, found, n):
    steps = max(1, num_examples // n)
    position = state.step % steps
    before = state.variables["em"]["statistics"]
    statistics = jax.tree.map(lambda s, new: jnp.where(position > 0, s, 0) + new, before, found)
    return m_step(key, params, statistics, num_examples / (n * steps), position == steps - 1), statistics

  def after_online(state, key, params, found, n):
    given = {"decay": decay, "delay": delay, "scale": scale}
    power, late, size = (state.hparams.get(f"objective.{k}", v) for k, v in given.items())
    rate = jnp.where(state.step > 0, size, 1) * ((state.step + 1 + late) / (1 + late)) ** -power
    before = state.variables["em"]["statistics"]
    mix = lambda s, new: ((1 - rate) * s + rate * new * (num_examples / n)).astype(s.dtype)
    statistics = jax.tree.map(mix, before, found)
    new = m_step(key, params, statistics, 1)
    return new, model.move(params, statistics, new) if hasattr(model, "move") else statistics

  def train_step(state, key, batch):
    key_start, key_m = jax.random.split(key)
    n, started = batch["x"].shape[0], state.variables["em"]["started"]
    params = _if(~started, lambda: model.start(key_start, state.params, batch), state.params)
    found, reported = sums(lambda part, weight: model.e_step(params, part, weight), batch, block)
    after = after_batch if update == "batch" else after_online
    new, statistics = after(state, key_m, params, found, n)
    means = jax.tree.map(lambda a: a / n, reported)
    variables = {"em": {"statistics": statistics, "started": jnp.ones_like(started)}}
    loss = model.loss(params, means, num_examples)
    return state.replace(step=state.step + 1, params=new, variables=variables), {"loss": loss, **means}

  def eval_step(state, key, batch):
    return bind(state).evaluate(key, batch)

  def sample(state, key, n):
    return bind(state).generate(key, n)

  def pictures(state, key, batch):
    bound_model, (key_x, key_z) = bind(state), jax.random.split(key)
    shown = {"samples": bound_model.generate(key_x, batch["x"].shape[0], mean=True)}
    if hasattr(model, "reconstruct_batch"):
      shown["reconstructions"] = jnp.stack([batch["x"], bound_model.reconstruct_batch(key_z, batch)], 1)
    if hasattr(model, "clusters"):
      shown["clusters"] = bound_model.clusters()
    return shown

  return System(init, train_step, eval_step, sample, pictures)

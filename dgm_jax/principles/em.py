"""Training principle: expectation-maximisation; no gradient and no optimiser (Dempster, Laird & Rubin, 1977).

  E: s(theta) = sum_n E[t(x_n, z) | x_n, theta], t the sufficient statistics of (x, z)
  M: theta <- argmax of E[log p(x, z)] given s

update = "batch": s is summed over a whole epoch, with an M-step at its end.  With batch_size = N a step is a full EM
iteration; smaller batches allow data larger than memory.  update = "online" (Cappe & Moulines, 2009,
https://arxiv.org/abs/0712.4273): an M-step after each batch of B examples, from

  s <- (1 - g_t) s + g_t N / B s_batch(theta),  g_t = scale ((t + 1 + delay) / (1 + delay))^-decay,  g_0 = 1

scale = (1 + delay)^-decay gives g_t = (t + 1 + delay)^-decay (Hoffman, Blei & Bach, 2010).  The parameters are
initialised by `start` on the first batch.

A model is a Flax module with the following methods.  Those with an argument `params` are pure functions of theta, the
parameters; `weight` [B] is 1 for an example and 0 for padding.

  start(key, params, batch)          -> initial params
  e_step(params, batch, weight)      -> (s, {name: sum of a reported quantity}), sums over the batch
  m_step(key, params, s)             -> params; s are sums over N examples, from E-steps with the old params
  loss(params, {name: mean}, N)      -> what no batch update increases, from the means of e_step's reported quantities
  evaluate(key, batch)               -> {name: [B]}
  generate(key, n, mean=False)       -> [n, ...], draws of x, or of its mean given the latent variables
  __call__(batch)                    -> uses every parameter (init)

and, optionally:

  move(params, s, new params)        -> s converted to the new params, if t depends on theta; for "online"
  reconstruct_batch(key, batch)      -> [B, ...], and clusters() -> [C, ...], for pictures
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, requirements
from dgm_jax.core.system import System, TrainState

UPDATES = ("batch", "online")
REQUIRES = (
  "start(key, params, batch)",
  "e_step(params, batch, weight)",
  "m_step(key, params, s)",
  "loss(params, means, N)",
  "evaluate(key, batch)",
  "generate(key, n, mean=False)",
  "__call__(batch)",
)


def _ones(batch: dict[str, jax.Array]) -> jax.Array:
  """Weights of 1, [B], in floating point even if x holds bits or bytes."""
  return jnp.ones(batch["x"].shape[0], jnp.promote_types(batch["x"].dtype, jnp.float32))


def sums(e_step: Callable, batch: dict[str, jax.Array], block: int) -> Any:
  """The sum of e_step(part, weight) over parts of at most `block` examples, which bounds memory."""
  n = batch["x"].shape[0]
  count = -(-n // block)
  rows = -(-n // count)
  # parts are interleaved, so that each device of a sharded batch holds some rows of every part
  split = lambda a: jnp.pad(a, ((0, rows * count - n), *[(0, 0)] * (a.ndim - 1))).reshape(rows, count, *a.shape[1:])
  parts = jax.tree.map(split, batch), split(_ones(batch))
  part = lambda i: jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False), parts)
  if count == 1:
    return e_step(*part(0))
  zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lambda: e_step(*part(0))))
  add = lambda total, i: (jax.tree.map(jnp.add, total, e_step(*part(i))), None)
  return jax.lax.scan(add, zeros, jnp.arange(count))[0]


def _if(condition: jax.Array, function: Callable, otherwise: Any) -> Any:
  """function() if condition, else `otherwise`.  A loop, because under vmap lax.cond computes both branches."""

  def body(carry):
    found = jax.tree.map(lambda new, old: new.astype(old.dtype), function(), carry[1])
    return jnp.zeros_like(carry[0]), found

  return jax.lax.while_loop(lambda carry: carry[0], body, (condition, otherwise))[1]


def _check(model: nn.Module, update: str, numbers: dict[str, float]) -> None:
  requirements.check("em", REQUIRES, model)
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
  """A system trained by EM.

  Args:
    model: see the module's docstring.
    tx: unused, because EM needs no optimiser.
    num_examples: N, the size of the training set.
    update: "batch" or "online".  If the batch size B does not divide N, each epoch leaves out N mod B examples,
      different ones each time; a batch update does not count them.
    decay, delay, scale: of the step size g_t of "online".  The theory needs decay in (1/2, 1]; Cappe & Moulines advise
      0.6 and averaged parameters; with 0 (and scale 1) only the latest batch counts.
    block: maximal number of examples at once in an E-step.

  Training reports `loss` and the quantities that e_step reports, at the parameters before the step.

  Raises:
    UserError: an invalid option, or a model without e_step and m_step.
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

"""Training principle: a game of two players, a generator of samples and a discriminator of them from the data.

The losses of both are functions of the discriminator's logits, see inference/adversarial_losses.py; a step is one
round: num_discriminator updates of the discriminator, then num_generator of the generator.  A model is a Flax module
whose parameters are those of its submodules `generator` and `discriminator`, with

  latent(key, n)               -> z, an array [n, ...]
  generate(z, y, train)        -> x, in the range of the data; or a pair (x, z), which is judged as a whole if the model
                                  has `observed`; else x alone is judged, and `auxiliary` gets the pair
  discriminate(x, y, train)    -> logits [B], of x or of pairs, or [B, P], of P parts of each
  support                      the smallest and the largest value of an x

and, if needed:

  observed(x, train)           -> what is judged of an example, such as (x, E(x)): its parameters are the generator's
  num_classes                  C of a model of p(x|y), where y is batch["y"] int [B], or, with conditions_on =
                               "context", batch["context"]; y is None for other models
  auxiliary(key, batch, x)     -> [B], lowered by the generator beside its loss, x made for the batch
  reconstruct_batch(key, batch) -> [B, ...], shown below the examples in pictures
  __call__(batch)              -> uses every parameter (init), unless generate and discriminate do

Labels and truncation: sample(state, key, n, y=None, truncation=None, z=None) takes labels int [n], z, and where the
model's latent(key, n, truncation) does, the bound of |z|.  prepare(state, key, truncation=None) pools the moments of
batch normalisation for it, see the option norm_statistics; the discriminator's, in eval_step, are the moving ones.

Collections: `batch_stats` of a player move in its own updates only, as does the vector u of `spectral`, by one power
iteration at the beginning of an update, for reals, samples and penalty alike.

Accumulation is inside the step: optax.MultiSteps around both players would give them gradients at parameters that the
other has left.  With `accumulate` = k an update has the gradient of a batch that is k times as large, also with
spectral norm; with batch normalisation it has not, since each batch is normalised by its own moments, and neither with
the standard deviations of "dragan".

State: params {"generator", "discriminator"}, an optimiser for each.  Noise is a function of the seed, the step, the
player and the number of its update in the step.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from dgm_jax.core import errors, requirements
from dgm_jax.core.system import System, TrainState
from dgm_jax.principles import initial, standing_statistics
from dgm_jax.principles.adversarial_options import PLAYERS, Options, checked
from dgm_jax.principles.adversarial_rounds import make_train_step
from dgm_jax.principles.adversarial_updates import Game, image_of, packed

__all__ = ["PLAYERS", "REQUIRES", "Options", "batches", "check_batch", "make"]

REQUIRES = ("latent(key, n)", "generate(z, y, train)", "discriminate(x, y, train)", "support")


def batches(**options: Any) -> int:
  """Batches of config.batch_size examples that a step takes.  Raises UserError, see `make`."""
  o = checked(**options)
  return o.num_discriminator * o.accumulate


def check_batch(batch_size: int, **options: Any) -> None:
  """Raises UserError unless `pack` divides the batch."""
  pack = checked(**options).pack
  errors.require(batch_size % pack == 0, f"objective.pack = {pack} does not divide the batch of {batch_size} examples.")


def make(model: nn.Module, tx: Any, **options: Any) -> System:
  """A system of two players.

  eval_step returns `d_real` and `d_fake` [B], the logits of examples and of as many samples: a discriminator that
  scores held-out examples like samples has learnt the training set by heart.  With `pack` = m each is judged with the
  m - 1 that follow it in the batch.

  Training metrics are means over the updates of a step: `loss` of the discriminator, with its penalty;
  `loss_generator`, `penalty`, `logit_real`, `logit_fake`, `sign_real` (of the training examples' logits),
  `gradient_generator` and `gradient_discriminator` (norms), `sigma` (the largest spectral norm), and `spread`, the mean
  squared distance of two samples of a batch over that of two examples: near 0 the generator has collapsed.

  Args:
    model: see the module's docstring.
    tx: {player: its optimiser}, or one for both.
    **options: see adversarial_options.Options.

  Raises:
    UserError: an unknown option, an invalid value, or a model without what is required.
  """
  requirements.check("adversarial", REQUIRES, model)
  o = checked(**options)
  given = tx if isinstance(tx, Mapping) else dict.fromkeys(PLAYERS, tx)
  txs = {player: optax.with_extra_args_support(given[player]) for player in PLAYERS}
  errors.require(
    o.adversarial_weight > 0 or requirements.defines(model, "auxiliary"),
    "objective.adversarial_weight = 0 leaves a generator its model's `auxiliary` alone; this model has none.",
  )
  game = Game(model, o, requirements.defines(model, "observed"))
  conditioned, classes = _conditions(model, o)

  def init(key, batch, hparams):
    examples = conditioned(batch)
    params, variables = initial.variables(model, key, examples, functools.partial(_touch, pack=o.pack))
    errors.require(
      set(params) == set(PLAYERS),
      f"Principle 'adversarial' needs models whose submodules are generator and discriminator; this one has "
      f"{', '.join(sorted(params))}.",
    )
    if own := _own_variables(o, classes):
      variables |= {"adversarial": own}
    opt_state = {player: txs[player].init(params[player]) for player in PLAYERS}
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, variables, hparams)

  def bind(state):
    return model.bind({"params": state.params, **{k: v for k, v in state.variables.items() if k != "adversarial"}})

  def drawn_of(state, key, n, y=None, truncation=None):
    """(z, y): y drawn with the frequencies seen in training, if it is not given."""
    key_y, key_z = jax.random.split(key)
    if y is None and classes:
      counts = state.variables["adversarial"]["labels"]
      y = jax.random.categorical(key_y, jnp.log(counts + 1e-6), shape=(n,))
    return model.latent(key_z, n, **({} if truncation is None else {"truncation": truncation})), y

  def made(state, key, n, y=None, truncation=None, z=None):
    """What the generator makes, n of it."""
    drawn, y = drawn_of(state, key, n, y, truncation)
    z = drawn if z is None else z
    if o.norm_statistics == "batch" and "generator" in state.variables.get("batch_stats", {}):
      return standing_statistics.of_batch(model, state, z, y)[0]
    return bind(state).generate(z, y, False)

  def prepare(state, key, truncation=None):
    """The state with standing statistics, for samples with this truncation; the state as it is without any."""
    if "generator" not in state.variables.get("batch_stats", {}):
      return state
    draw = lambda key: drawn_of(state, key, o.standing_size, truncation=truncation)
    return standing_statistics.standing(model, state, jax.random.split(key, o.standing_batches), draw)

  def eval_step(state, key, batch):
    examples = conditioned(batch)
    bound, y = bind(state), examples.get("y")
    real = bound.observed(examples["x"], False) if game.has_encoder else examples["x"]
    fake = made(state, key, examples["x"].shape[0], y)

    def judge(x):
      d = bound.discriminate(_with_followers(x, o.pack), y, False)
      return jnp.mean(d.reshape(d.shape[0], -1), 1)

    return {"d_real": judge(real), "d_fake": judge(game.seen(fake))}

  def sample(state, key, n, y=None, truncation=None, z=None):
    return image_of(made(state, key, n, y, truncation, z))

  def pictures(state, key, batch):
    examples = conditioned(batch)
    y, bound = examples.get("y"), bind(state)
    picture = (lambda x: bound.picture(x, y)) if hasattr(model, "picture") else lambda x: x
    shown = {"samples": picture(image_of(made(state, key, examples["x"].shape[0], y)))}
    if classes:
      shown["classes"] = _by_class(classes, examples["x"].shape[0], lambda n, y: image_of(made(state, key, n, y)))
    if hasattr(model, "reconstruct_batch"):
      pair = picture(examples["x"]), picture(bound.reconstruct_batch(key, examples))
      shown["reconstructions"] = jnp.stack(pair, 1)
    return shown

  needs_context = o.conditions_on == "context" and getattr(model, "num_classes", None) is not None
  train_step = make_train_step(game, txs, conditioned)
  drawn = None if needs_context else sample
  pools = o.norm_statistics == "standing" and not needs_context
  batches_of_step = o.num_discriminator * o.accumulate
  return System(init, train_step, eval_step, drawn, pictures, batches_of_step, prepare if pools else None)


def _by_class(classes: int, n: int, make: Callable) -> jax.Array:
  """About n samples [K, R, ...] of the first R classes, at most ten, from the same K draws of z in each of them."""
  rows = min(classes, 10)
  columns = max(1, n // rows)
  found = [make(columns, jnp.full(columns, y)) for y in range(rows)]
  return jnp.stack(found, 1)


def _conditions(model: nn.Module, o: Options) -> tuple[Callable, int]:
  """((batch) -> {"x", and "y" of a conditional model}, the number of classes of y, 0 if it has none)."""
  classes = getattr(model, "num_classes", None)
  real = lambda x: x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
  if classes is None:
    return lambda batch: {"x": real(batch["x"])}, 0
  known = getattr(model, "data_classes", None)
  errors.require(
    o.conditions_on != "y" or known is None or known == classes,
    f"The model has num_classes = {classes}, and y of the data {known} classes.",
  )
  errors.require(o.pack == 1, f"objective.pack = {o.pack}; samples with labels are judged one by one: it must be 1.")

  def conditioned(batch):
    errors.require(
      o.conditions_on in batch,
      f"The model is conditional on {o.conditions_on!r}, with num_classes = {classes}, which the data do not have.",
    )
    return {"x": real(batch["x"]), "y": batch[o.conditions_on]}

  return conditioned, classes if o.conditions_on == "y" else 0


def _touch(model: nn.Module, examples: dict[str, jax.Array], pack: int) -> Any:
  """Uses every parameter of a model."""
  y, n = examples.get("y"), examples["x"].shape[0]
  if requirements.defines(model, "observed"):
    model.observed(examples["x"], True)
  fake = model.generate(model.latent(jax.random.key(0), n), y, True)
  return model.discriminate(_with_followers(fake, pack), y, True)


def _own_variables(o: Options, classes: int) -> dict[str, jax.Array]:
  """What the principle itself keeps in the state: moving means of logits, ADA's p, how often each label was seen."""
  found = {name: jnp.zeros(()) for name in ("real", "fake")} if o.penalty == "lecam" else {}
  found |= {"p": jnp.zeros(())} if o.ada_target else {}
  return found | ({"labels": jnp.zeros(classes)} if classes else {})


def _with_followers(x: Any, m: int) -> Any:
  """[B, ...] -> [B, ...]: each example packed with the m - 1 that follow it, the first ones after the last."""
  if m == 1:
    return x
  follow = lambda a: jnp.stack([jnp.roll(a, -i, 0) for i in range(m)], 1).reshape(-1, *a.shape[1:])
  return packed(jax.tree.map(follow, x), m)

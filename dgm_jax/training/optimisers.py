"""Optimisers whose numbers come from the state's `hparams`, so that lanes of one program may differ in them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import errors
from dgm_jax.training import update_rules

_LARGEST = 3e38  # about the largest float32
OPTIMISERS = {"adam": optax.scale_by_adam, "iwae_adam": update_rules.scale_by_iwae_adam}
OPTIMISERS |= {"rmsprop": update_rules.scale_by_rmsprop, "adagrad": update_rules.scale_by_adagrad}
OPTIMISERS |= {"sgd": update_rules.scale_by_momentum}
SCHEDULES = ("constant", "cosine", "exponential", "plateau", "staged")
_OFF_AT_0 = ("end_scale", "warmup", "hold", "rate_decay", "b1_end", "clip_norm", "weight_decay", "l2", "ema_decay")


class Options(NamedTuple):
  """The options of config.optim and their defaults.

  All floats except plateau_factor may differ between lanes.  Clipping, decay, l2, averages, warm-up and end_scale that
  are 0.0 in the config are left out of the program: a lane cannot switch them on, but a lane's 0.0 switches them off.

  Attributes:
    name: the optimiser, a key of OPTIMISERS.
    lr: learning rate.
    b1, b2, eps: as in Adam; for rmsprop the momentum, the decay of the squared gradients and the constant added to
      them; adagrad uses only eps, under the root; sgd only b1, its momentum.
    b1_end, b1_ramp: for sgd: the momentum changes linearly from b1 to b1_end over this number of updates; 0: it is b1.
    schedule: factor of the learning rate: "constant" (1), "staged" (boundaries, scales), "cosine" (half a cosine from
      1 to end_scale), "exponential" (1 / (1 + rate_decay)^t, at least end_scale), or "plateau" (multiplied by
      plateau_factor whenever the training loss stops falling).
    boundaries, scales: for "staged": the factor is 1 at first, and scales[i] after the fraction boundaries[i] of a run.
    end_scale: for "cosine": the factor at the end of the run; for "exponential": the smallest factor.
    rate_decay: for "exponential": an update divides the rate by 1 + rate_decay.
    hold: for "exponential": the fraction of the run before its first division.
    plateau_every, plateau_patience, plateau_factor: for "plateau": the loss is averaged over `every` steps; after
      `patience` successive means that are not below the lowest before, the rate is multiplied by `factor`.
    warmup: fraction of the run in which the rate grows linearly from 0, for any schedule; the cosine begins afterwards.
    clip_norm: largest norm of the whole gradient; larger gradients are rescaled to it.  0.0 or None for no clipping.
    accumulate: number of steps whose gradients are averaged for one update; state.step, num_steps and intervals in
      steps count steps, not updates.  An incomplete group of steps at the end of a run makes no update.
    weight_decay: decoupled (Loshchilov & Hutter, 2019): each update also subtracts rate * weight_decay * params.
    decay_biases: whether weight_decay includes biases, and other parameters with fewer than two dimensions.
    l2: the gradient is that of loss + l2 / 2 |params|^2, biases included.  If the loss is a mean over N examples,
      l2 = 1 / N is maximum a posteriori estimation under a prior N(0, I) on the parameters.
    ema_decay: decay of the moving average of the parameters, which is evaluated in their place, see system.averaging;
      0.0 for none.
    ema_start: the step before which the average is a copy of the parameters.
  """

  name: str = "adam"
  lr: float = 1e-3
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  b1_end: float = 0.0
  b1_ramp: int = 0
  schedule: str = "staged"
  boundaries: Sequence[float] = ()
  scales: Sequence[float] = ()
  end_scale: float = 0.0
  rate_decay: float = 0.0
  hold: float = 0.0
  plateau_every: int = 100
  plateau_patience: int = 10
  plateau_factor: float = 0.5
  warmup: float = 0.0
  clip_norm: float | None = 0.0
  accumulate: int = 1
  weight_decay: float = 0.0
  decay_biases: bool = False
  l2: float = 0.0
  ema_decay: float = 0.0
  ema_start: int = 0


def is_static(name: str, value: float) -> bool:
  """Whether a float of config.optim is a constant of the program, in which lanes cannot differ.

  optax takes no traced plateau_factor; an option that is off is not in the program at all.
  """
  return name == "plateau_factor" or (name in _OFF_AT_0 and value == 0)


def _check(o: Options, section: str) -> None:
  """Raises UserError if a value is invalid."""
  errors.choose("optimiser", o.name, OPTIMISERS)
  errors.choose(f"value of {section}.schedule", o.schedule, SCHEDULES)

  def need(names, holds, what):
    for name in names:
      value = getattr(o, name)
      errors.require(holds(value), f"{section}.{name} = {value}; it must be {what}.")

  need(("lr", "eps"), lambda v: 0 < v < _LARGEST, "positive and finite")
  need(("b1", "b2", "b1_end", "warmup", "hold", "ema_decay"), lambda v: 0 <= v < 1, "in [0, 1)")
  need(("b1_ramp", "ema_start"), lambda v: v >= 0, "0 or more")
  if o.name != "sgd":
    need(("b1_end", "b1_ramp"), lambda v: v == 0, f"0 for {o.name!r}: the momentum of 'sgd' alone ramps")
  need(("end_scale",), lambda v: 0 <= v <= 1, "in [0, 1]")
  need(("plateau_factor",), lambda v: 0 < v < 1, "in (0, 1)")
  need(("accumulate", "plateau_every", "plateau_patience"), lambda v: v >= 1, "1 or more")
  need(("weight_decay", "l2", "rate_decay"), lambda v: 0 <= v < _LARGEST, "0 or positive, and finite")
  need(("clip_norm",), lambda v: v is None or 0 <= v < _LARGEST, "positive and finite, or 0 for no clipping")
  numbers = all(isinstance(v, int | float) for v in (*o.boundaries, *o.scales))
  errors.require(
    numbers
    and len(o.boundaries) == len(o.scales)
    and list(o.boundaries) == sorted(o.boundaries)
    and all(0 <= b <= 1 for b in o.boundaries)
    and all(0 < s < _LARGEST for s in o.scales),
    f"{section}.boundaries {tuple(o.boundaries)} must increase within [0, 1], each with one positive number in "
    f"{section}.scales, not {tuple(o.scales)}.",
  )


def piecewise(boundaries: Sequence[float], scales: Sequence[float], num_updates: int) -> optax.Schedule:
  """The factor of the learning rate: 1 at first, scales[i] from the update round(boundaries[i] * num_updates) on."""
  steps = jnp.asarray([round(b * num_updates) for b in boundaries], jnp.int32)
  factors = jnp.asarray([1.0, *scales], jnp.float32)
  return lambda count: factors[jnp.sum(count >= steps)]


def _schedule(o: Options, h: Options, num_updates: int) -> optax.Schedule:
  """The factor of the learning rate by number of updates; `o` determines the structure, `h` has the numbers."""
  warm = jnp.round(h.warmup * num_updates) if o.warmup else 0
  if o.schedule == "staged":
    factor = piecewise(o.boundaries, o.scales, num_updates)
  elif o.schedule == "cosine":  # in units of its length: optax takes no traced length, and `warm` may be traced
    share = lambda count: jnp.maximum(count - warm, 0) / jnp.maximum(num_updates - warm, 1)
    factor = lambda count: optax.cosine_decay_schedule(1.0, 1, h.end_scale)(share(count))
  elif o.schedule == "exponential":  # by log1p: float32 would round 1 + rate_decay
    since = lambda count: jnp.maximum(count - (jnp.round(h.hold * num_updates) if o.hold else 0), 0)
    factor = lambda count: jnp.maximum(jnp.exp(-since(count) * jnp.log1p(h.rate_decay)), h.end_scale)
  else:
    factor = optax.constant_schedule(1.0)
  if not o.warmup:
    return factor
  return lambda count: factor(count) * jnp.where(count < warm, count / jnp.maximum(warm, 1), 1.0)


def _is_no_bias(params: Any) -> Any:
  """For each parameter whether it has two dimensions or more, which scales have not, and is not called a bias."""

  def decays(path: tuple, parameter: jax.Array) -> bool:
    return parameter.ndim >= 2 and not str(getattr(path[-1] if path else "", "key", "")).endswith("bias")

  return jax.tree_util.tree_map_with_path(decays, params)


def _transformation(o: Options, h: Options, num_updates: int) -> optax.GradientTransformationExtraArgs:
  """The chain of transformations; `o` determines the structure, `h` has the numbers."""
  own = {"b1_end": h.b1_end, "b1_ramp": o.b1_ramp} if o.name == "sgd" else {"b2": h.b2, "eps": h.eps}
  parts = [OPTIMISERS[o.name](b1=h.b1, **own)]
  if o.l2:
    parts.insert(0, optax.add_decayed_weights(h.l2))
  if o.clip_norm:
    parts.insert(0, optax.clip_by_global_norm(jnp.where(h.clip_norm > 0, h.clip_norm, jnp.inf)))
  if o.weight_decay:
    parts.append(optax.add_decayed_weights(h.weight_decay, None if o.decay_biases else _is_no_bias))
  schedule = _schedule(o, h, num_updates)
  tx = optax.chain(*parts, optax.scale_by_schedule(lambda count: -h.lr * schedule(count)))
  if o.accumulate > 1:
    tx = optax.MultiSteps(tx, o.accumulate).gradient_transformation()
  if o.schedule == "plateau":  # outside the accumulation, to see the loss of every step
    # no relative tolerance: optax's would count a small rise of a negative loss as an improvement
    tolerances = {"rtol": 0.0, "atol": 1e-30}
    reduce = optax.contrib.reduce_on_plateau(
      o.plateau_factor, o.plateau_patience, accumulation_size=o.plateau_every, **tolerances
    )
    tx = optax.chain(tx, reduce)
  return optax.with_extra_args_support(tx)


def make(*, num_steps: int, section: str = "optim", **options: Any) -> optax.GradientTransformationExtraArgs:
  """An optax transformation whose update takes `hparams`, a dict that may hold "optim.lr", "optim.b1", ...

  Like optax.inject_hyperparams, but the numbers are read from the caller's state instead of being kept a second time
  in the optimiser's; numbers that `hparams` lacks are taken from the options.  For schedule = "plateau" the update
  also takes the training loss, as `value`.

  Args:
    num_steps: the length of the run, of which `boundaries`, `warmup` and `hold` are fractions.
    section: the path of the options in a config, for messages.
    **options: see Options.

  Raises:
    UserError: an unknown option or an invalid value.
  """
  for name in options:
    errors.choose(f"key of config.{section}", name, Options._fields)
  return _of_options(Options(**options), num_steps, section, dict.fromkeys(Options._fields, "optim"))


def _of_options(
  o: Options, num_steps: int, section: str, places: Mapping[str, str]
) -> optax.GradientTransformationExtraArgs:
  """See `make`; `places` has the section of `hparams` in which the number of each option is."""
  _check(o, section)
  errors.require(
    o.accumulate <= num_steps, f"{section}.accumulate = {o.accumulate}; the run has only {num_steps} steps."
  )
  num_updates = num_steps // o.accumulate

  def transformation(hparams):
    h = o._replace(**{k: hparams.get(f"{places[k]}.{k}", v) for k, v in o._asdict().items()})
    return _transformation(o, h, num_updates)

  def update(grads, state, params=None, *, hparams=None, **extra):
    return transformation(hparams or {}).update(grads, state, params, **extra)

  return optax.GradientTransformationExtraArgs(transformation({}).init, update)


# Options that a further player may have of its own in the configs: those that are a number or a name
OWN_OF_PLAYERS = ("name", "lr", "b1", "b2", "eps", "b1_end", "b1_ramp", "schedule", "end_scale", "rate_decay", "hold")
OWN_OF_PLAYERS += ("warmup", "clip_norm", "weight_decay", "l2")


def make_players(
  players: Sequence[str], num_updates: Mapping[str, int], **options: Any
) -> dict[str, optax.GradientTransformationExtraArgs]:
  """{player: its transformation}, for principles that train several players.

  The first player has the options themselves.  A further one has them, too, but for those that its own section, an
  option of its name, gives: optim = {"lr": 1e-4, "discriminator": {"lr": 4e-4}}; None there counts as not given.  Their
  numbers are read from `hparams` at "optim.lr" and "optim.discriminator.lr".

  Args:
    players: their names.
    num_updates: updates of each in the whole run.
    **options: see Options; and {player: {option: value}}.

  Raises:
    UserError: an unknown option or an invalid value.
  """
  first, *further = players
  for own in (options, *(options.get(player, {}) for player in further)):
    errors.require(
      own.get("accumulate", 1) == 1,
      f"accumulate = {own.get('accumulate')} of config.optim would make updates of the {' and of the '.join(players)} "
      "from old gradients: set objective.accumulate, which averages gradients within an update.",
    )
  common = {name: value for name, value in options.items() if name not in further}
  made = {first: make(num_steps=num_updates[first], **common)}
  for player in further:
    section = f"optim.{player}"
    own = {name: value for name, value in options.get(player, {}).items() if value is not None}
    for name in own:
      errors.choose(f"key of config.{section}", name, Options._fields)
    for name in ("ema_decay", "ema_start"):
      errors.require(name not in own, f"{section}.{name} has no effect: only the {first} is averaged.")
    places = {name: section if name in own else "optim" for name in Options._fields}
    made[player] = _of_options(Options(**common | own), num_updates[player], section, places)
  return made

"""Optimisers whose numbers come from the state's `hparams`, so that lanes of one program may differ in them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import errors


class _ScaleByIwaeAdamState(NamedTuple):
  count: jax.Array
  mu: optax.Updates
  nu: optax.Updates


def scale_by_iwae_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
  """Adam as the released code of Burda et al. (2016) has it: second moments start at 1, eps beside sqrt(v).

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2, v_0 = 1;
    step = sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps),  t = 1, 2, ...

  The paper itself says only "Adam"; https://github.com/yburda/iwae/blob/master/optimizers.py.
  """

  def init(params):
    ones, zeros = (jax.tree.map(f, params) for f in (jnp.ones_like, jnp.zeros_like))
    return _ScaleByIwaeAdamState(jnp.zeros((), jnp.int32), zeros, ones)

  def update(grads, state, params=None):
    del params
    t = state.count + 1
    mu = optax.tree.update_moment(grads, state.mu, b1, 1)
    nu = optax.tree.update_moment(grads, state.nu, b2, 2)
    scale = jnp.sqrt(1 - b2**t) / (1 - b1**t)
    updates = jax.tree.map(lambda m, v: scale * m / (jnp.sqrt(v) + eps), mu, nu)
    return updates, _ScaleByIwaeAdamState(t, mu, nu)

  return optax.GradientTransformation(init, update)


def scale_by_rmsprop(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
  """RMSprop with momentum (Tieleman & Hinton, 2012), as optax.rmsprop has it for a constant rate.

    v <- b2 v + (1 - b2) g^2;  m <- b1 m + g / sqrt(v + eps);  step = m

  With momentum a step is up to 1 / (1 - b1) times as long as without.
  """
  return optax.chain(optax.scale_by_rms(b2, eps), optax.trace(b1))


def scale_by_adagrad(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
  """Adagrad (Duchi, Hazan & Singer, 2011): s <- s + g^2, s_0 = 0;  step = g / sqrt(s + eps)."""
  del b1, b2
  return optax.scale_by_rss(0.0, eps)


_LARGEST = 3e38  # of float32
OPTIMISERS = {"adam": optax.scale_by_adam, "iwae_adam": scale_by_iwae_adam}
OPTIMISERS |= {"rmsprop": scale_by_rmsprop, "adagrad": scale_by_adagrad}
SCHEDULES = ("constant", "cosine", "plateau", "staged")
_OFF_AT_0 = ("end_scale", "warmup", "clip_norm", "weight_decay", "l2", "ema_decay")


class Options(NamedTuple):
  """What config.optim may say: each config says what differs from the defaults.

  Floats may differ between lanes, but for plateau_factor.  What is off in the config is not in the program: no lane can
  switch on clipping, decay, l2, averages or warm-up that are 0.0 there; a lane's 0.0 switches them off.

  Attributes:
    name: a name of OPTIMISERS.
    lr: learning rate.
    b1, b2, eps: Adam's; of rmsprop, the momentum, the decay of the squares, and what is added to them; Adagrad has eps
      alone, under the root.
    schedule: what the learning rate is multiplied by: "constant" (1), "staged" (boundaries, scales), "cosine" (half a
      cosine from 1 to end_scale), or "plateau" (plateau_factor whenever the training loss stops falling).
    boundaries, scales: of "staged": scales[i] from the fraction boundaries[i] of the run on, 1 before.
    end_scale: of "cosine": the factor at the end of the run.
    plateau_every, plateau_patience, plateau_factor: of "plateau": the loss is averaged over `every` steps; after
      `patience` such means in succession that are not below the lowest before, the rate is multiplied by `factor`.
    warmup: fraction of the run in which the rate grows linearly from 0, whatever the schedule; the cosine begins after.
    clip_norm: largest norm of the whole gradient, longer ones are shortened to it; 0.0 or None for no clipping.
    accumulate: steps whose gradients are averaged for one update; state.step, num_steps and what is done "every" so
      many steps count the steps, not the updates.  What is left over at the end of a run makes no update.
    weight_decay: decoupled (Loshchilov & Hutter, 2019): an update subtracts rate * weight_decay * params, too.
    decay_biases: whether parameters with fewer than two dimensions decay, too.
    l2: an update's gradient is that of loss + l2 / 2 |params|^2, biases included.  Of a loss that is a mean over the
      data l2 = 1 / N makes it that of the posterior under a prior N(0, I) on the parameters.
    ema_decay: of the moving average of the parameters that is evaluated in their place, see system.averaging; 0.0 for
      none.
  """

  name: str = "adam"
  lr: float = 1e-3
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  schedule: str = "staged"
  boundaries: Sequence[float] = ()
  scales: Sequence[float] = ()
  end_scale: float = 0.0
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


def is_static(name: str, value: float) -> bool:
  """Whether a float of config.optim is a constant of the program and not a number of its lanes.

  optax takes no traced plateau_factor; what is off is not in the program at all.
  """
  return name == "plateau_factor" or (name in _OFF_AT_0 and value == 0)


def _check(o: Options) -> None:
  """Refuses values that cannot be, with a sentence."""
  errors.choose("optimiser", o.name, OPTIMISERS)
  errors.choose("value of optim.schedule", o.schedule, SCHEDULES)

  def need(names, holds, what):
    for name in names:
      value = getattr(o, name)
      errors.require(holds(value), f"optim.{name} = {value}; it must be {what}.")

  need(("lr", "eps"), lambda v: 0 < v < _LARGEST, "positive and finite")
  need(("b1", "b2", "warmup", "ema_decay"), lambda v: 0 <= v < 1, "in [0, 1)")
  need(("end_scale",), lambda v: 0 <= v <= 1, "in [0, 1]")
  need(("plateau_factor",), lambda v: 0 < v < 1, "in (0, 1)")
  need(("accumulate", "plateau_every", "plateau_patience"), lambda v: v >= 1, "1 or more")
  need(("weight_decay", "l2"), lambda v: 0 <= v < _LARGEST, "0 or positive, and finite")
  need(("clip_norm",), lambda v: v is None or 0 <= v < _LARGEST, "positive and finite, or 0 for no clipping")
  numbers = all(isinstance(v, int | float) for v in (*o.boundaries, *o.scales))
  errors.require(
    numbers
    and len(o.boundaries) == len(o.scales)
    and list(o.boundaries) == sorted(o.boundaries)
    and all(0 <= b <= 1 for b in o.boundaries)
    and all(0 < s < _LARGEST for s in o.scales),
    f"optim.boundaries {tuple(o.boundaries)} must increase from 0 to 1, each with one positive number of optim.scales, "
    f"not {tuple(o.scales)}.",
  )


def piecewise(boundaries: Sequence[float], scales: Sequence[float], num_updates: int) -> optax.Schedule:
  """The factor of the learning rate: 1 at first, scales[i] from the update round(boundaries[i] * num_updates) on."""
  steps = jnp.asarray([round(b * num_updates) for b in boundaries], jnp.int32)
  factors = jnp.asarray([1.0, *scales], jnp.float32)
  return lambda count: factors[jnp.sum(count >= steps)]


def _schedule(o: Options, h: Options, num_updates: int) -> optax.Schedule:
  """The factor of the learning rate by the updates so far; `o` has the structure, `h` the numbers."""
  warm = jnp.round(h.warmup * num_updates) if o.warmup else 0
  if o.schedule == "staged":
    factor = piecewise(o.boundaries, o.scales, num_updates)
  elif o.schedule == "cosine":  # over a time of length 1: optax takes no traced length, and `warm` may be
    share = lambda count: jnp.maximum(count - warm, 0) / jnp.maximum(num_updates - warm, 1)
    factor = lambda count: optax.cosine_decay_schedule(1.0, 1, h.end_scale)(share(count))
  else:
    factor = optax.constant_schedule(1.0)
  if not o.warmup:
    return factor
  return lambda count: factor(count) * jnp.where(count < warm, count / jnp.maximum(warm, 1), 1.0)


def _of_two_dimensions(params: Any) -> Any:
  """{path: whether the parameter is no bias or scale}."""
  return jax.tree.map(lambda p: p.ndim >= 2, params)


def _transformation(o: Options, h: Options, num_updates: int) -> optax.GradientTransformationExtraArgs:
  """The chain; `o` has the structure, `h` the numbers."""
  parts = [OPTIMISERS[o.name](b1=h.b1, b2=h.b2, eps=h.eps)]
  if o.l2:
    parts.insert(0, optax.add_decayed_weights(h.l2))
  if o.clip_norm:
    parts.insert(0, optax.clip_by_global_norm(jnp.where(h.clip_norm > 0, h.clip_norm, jnp.inf)))
  if o.weight_decay:
    parts.append(optax.add_decayed_weights(h.weight_decay, None if o.decay_biases else _of_two_dimensions))
  schedule = _schedule(o, h, num_updates)
  tx = optax.chain(*parts, optax.scale_by_schedule(lambda count: -h.lr * schedule(count)))
  if o.accumulate > 1:
    tx = optax.MultiSteps(tx, o.accumulate).gradient_transformation()
  if o.schedule == "plateau":  # outside of the accumulation, to see the loss of every step
    # no relative tolerance: optax's would take a negative loss that rises for one that falls
    tolerances = {"rtol": 0.0, "atol": 1e-30}
    reduce = optax.contrib.reduce_on_plateau(
      o.plateau_factor, o.plateau_patience, accumulation_size=o.plateau_every, **tolerances
    )
    tx = optax.chain(tx, reduce)
  return optax.with_extra_args_support(tx)


def make(*, num_steps: int, **options: Any) -> optax.GradientTransformationExtraArgs:
  """An optax transformation whose update takes `hparams`, a dict that may hold "optim.lr", "optim.b1", ...

  It does what optax.inject_hyperparams does, but the numbers are read from the caller's state instead of being kept
  a second time in the optimiser's; those that `hparams` lacks are the options here.  For schedule = "plateau" the
  update takes the training loss, too, as `value`.

  Args:
    num_steps: the length of the run, of which `boundaries` and `warmup` are fractions.
    **options: see Options.

  Raises:
    UserError: an option that does not exist, or a value that cannot be.
  """
  for name in options:
    errors.choose("key of config.optim", name, Options._fields)
  o = Options(**options)
  _check(o)
  errors.require(o.accumulate <= num_steps, f"optim.accumulate = {o.accumulate}; the run has only {num_steps} steps.")
  num_updates = num_steps // o.accumulate

  def transformation(hparams):
    h = o._replace(**{k: hparams.get(f"optim.{k}", v) for k, v in o._asdict().items()})
    return _transformation(o, h, num_updates)

  def update(grads, state, params=None, *, hparams=None, **extra):
    return transformation(hparams or {}).update(grads, state, params, **extra)

  return optax.GradientTransformationExtraArgs(transformation({}).init, update)

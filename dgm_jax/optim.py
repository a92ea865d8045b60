"""Optimisers whose numbers come from the state's `hparams`, so that lanes of one program may differ in them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dgm_jax import errors


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


_LARGEST = 3e38  # of float32
OPTIMISERS = {"adam": optax.scale_by_adam, "iwae_adam": scale_by_iwae_adam}


def piecewise(boundaries: Sequence[float], scales: Sequence[float], num_steps: int) -> optax.Schedule:
  """The factor of the learning rate: 1 at first, scales[i] from the step round(boundaries[i] * num_steps) on."""
  steps = jnp.asarray([round(b * num_steps) for b in boundaries], jnp.int32)
  factors = jnp.asarray([1.0, *scales], jnp.float32)
  return lambda count: factors[jnp.sum(count >= steps)]


def make(
  *,
  num_steps: int,
  name: str = "adam",
  lr: float = 1e-3,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  boundaries: Sequence[float] = (),
  scales: Sequence[float] = (),
) -> optax.GradientTransformationExtraArgs:
  """An optax transformation whose update takes `hparams`, a dict that may hold "optim.lr", "optim.b1", ...

  It does what optax.inject_hyperparams does, but the numbers are read from the caller's state instead of being kept
  a second time in the optimiser's; those that `hparams` lacks are the arguments here.

  Args:
    num_steps: the length of the run, which `boundaries` divide.
    name: a name of OPTIMISERS.
    lr: learning rate.
    b1, b2, eps: Adam's.
    boundaries, scales: from the fraction boundaries[i] of the run on, the learning rate is lr * scales[i].
  """
  scale_by = OPTIMISERS[errors.choose("optimiser", name, OPTIMISERS)]
  for key, value in (("lr", lr), ("eps", eps)):
    errors.require(0 < value < _LARGEST, f"optim.{key} = {value}; it must be positive and finite.")
  for key, value in (("b1", b1), ("b2", b2)):
    errors.require(0 <= value < 1, f"optim.{key} = {value}; it must be in [0, 1).")
  numbers = all(isinstance(v, int | float) for v in (*boundaries, *scales))
  errors.require(
    numbers
    and len(boundaries) == len(scales)
    and list(boundaries) == sorted(boundaries)
    and all(0 <= b <= 1 for b in boundaries)
    and all(0 < s < _LARGEST for s in scales),
    f"optim.boundaries {tuple(boundaries)} must increase from 0 to 1, each with one positive number of optim.scales, "
    f"not {tuple(scales)}.",
  )
  schedule = piecewise(boundaries, scales, num_steps)
  defaults = {"optim.lr": lr, "optim.b1": b1, "optim.b2": b2, "optim.eps": eps}

  def transformation(hparams):
    h = defaults | hparams
    return optax.chain(
      scale_by(b1=h["optim.b1"], b2=h["optim.b2"], eps=h["optim.eps"]),
      optax.scale_by_schedule(lambda count: -h["optim.lr"] * schedule(count)),
    )

  def update(grads, state, params=None, *, hparams=None, **unused):
    del unused
    return transformation(hparams or {}).update(grads, state, params)

  return optax.GradientTransformationExtraArgs(transformation({}).init, update)

"""The update rules of optimisers: how a gradient becomes a step, before the learning rate."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class _ScaleByIwaeAdamState(NamedTuple):
  count: jax.Array
  mu: optax.Updates
  nu: optax.Updates


def scale_by_iwae_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
  """Adam as in the released code of Burda et al. (2016): second moments start at 1, and eps is added to sqrt(v).

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2, v_0 = 1;
    step = sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps),  t = 1, 2, ...

  The paper says only "Adam"; the code is https://github.com/yburda/iwae/blob/master/optimizers.py.
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
  """RMSprop with momentum (Tieleman & Hinton, 2012), as in optax.rmsprop with a constant rate.

    v <- b2 v + (1 - b2) g^2;  m <- b1 m + g / sqrt(v + eps);  step = m

  With momentum a step is up to 1 / (1 - b1) times as long as without.
  """
  return optax.chain(optax.scale_by_rms(b2, eps), optax.trace(b1))


def scale_by_adagrad(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
  """Adagrad (Duchi, Hazan & Singer, 2011): s <- s + g^2, s_0 = 0;  step = g / sqrt(s + eps)."""
  del b1, b2
  return optax.scale_by_rss(0.0, eps)


class _ScaleByMomentumState(NamedTuple):
  count: jax.Array
  trace: optax.Updates


def scale_by_momentum(b1: float, b1_end: float, b1_ramp: int) -> optax.GradientTransformation:
  """Stochastic gradient descent with momentum (Polyak, 1964), whose coefficient may change linearly.

    v <- b_t v + g;  step = v,  b_t = b1 + (b1_end - b1) min(t / b1_ramp, 1),  t = 0, 1, ...

  Args:
    b1: the coefficient at first.
    b1_end: that from update b1_ramp on.
    b1_ramp: updates of the change; 0 for none, where b1_end has no meaning.
  """
  if not b1_ramp:
    return optax.trace(b1)

  def init(params):
    return _ScaleByMomentumState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

  def update(grads, state, params=None):
    del params
    b = b1 + (b1_end - b1) * jnp.minimum(state.count / b1_ramp, 1.0)
    trace = jax.tree.map(lambda g, v: g + b * v, grads, state.trace)
    return trace, _ScaleByMomentumState(state.count + 1, trace)

  return optax.GradientTransformation(init, update)

"""Transitions of Hamiltonian Monte Carlo (Duane et al., 1987; Neal, 2011).

The latent variables z are a tree with leaves [B, ...]: one chain for each of B examples; vmap gives more chains.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def along(values: jax.Array, leaf: jax.Array) -> jax.Array:
  """Values [] or [B], reshaped to broadcast against a leaf [B, ...]."""
  return values.reshape(values.shape + (1,) * (leaf.ndim - values.ndim))


def _kinetic(momentum: Any) -> jax.Array:
  """1/2 |momentum|^2 of each example, [B]."""
  return sum((0.5 * jnp.sum(jnp.square(m), range(1, m.ndim)) for m in jax.tree.leaves(momentum)), start=jnp.zeros(()))


def leapfrog(z: Any, momentum: Any, gradient: Callable, step_size: jax.Array, num_leapfrog: int) -> tuple[Any, Any]:
  """Follows dz/dt = v, dv/dt = grad log f(z) for num_leapfrog steps of length step_size: (z', v').

  Reversible (from (z', -v') it leads back to (z, -v)) and volume-preserving for every step size.

  Args:
    z, momentum: trees with leaves [B, ...].
    gradient: z -> grad log f(z), a tree like z.
    step_size: [B], or a scalar for all.
    num_leapfrog: 1 or more.
  """
  move = lambda a, b, scale: jax.tree.map(lambda a, b: a + scale * along(step_size, b) * b, a, b)

  def one(_, carry):
    z, momentum, slope = carry
    momentum = move(momentum, slope, 0.5)
    z = move(z, momentum, 1.0)
    slope = gradient(z)
    return z, move(momentum, slope, 0.5), slope

  z, momentum, _ = jax.lax.fori_loop(0, num_leapfrog, one, (z, momentum, gradient(z)))
  return z, momentum


def step(key: jax.Array, z: Any, log_prob: Callable, step_size: jax.Array, num_leapfrog: int) -> tuple[Any, jax.Array]:
  """One transition with a Metropolis correction, for one chain per example.

  v ~ N(0, I); (z', v') = leapfrog(z, v); z' is accepted with probability min(1, f(z') N(v') / (f(z) N(v))), else z is
  kept.  Each transition draws its step size within 20 % of the given one: a trajectory of fixed length may be a whole
  period of some coordinate, which would then never move (Neal, 2011, section 5.4.2).  f is invariant for every step
  size that is chosen independently of the chain.  A proposal where log f is NaN is rejected.

  Args:
    key: PRNG key.
    z: tree with leaves [B, ...], real.
    log_prob: z -> log f(z) up to a constant, [B]; entry b depends on z_b alone.
    step_size: [B], or a scalar for all.
    num_leapfrog: leapfrog steps per transition.

  Returns:
    (z, the acceptance probability of the proposal [B]).
  """
  gradient = jax.grad(lambda z: jnp.sum(log_prob(z)))
  leaves, tree = jax.tree.flatten(z)
  key_step, key_accept, *keys = jax.random.split(key, 2 + len(leaves))
  noise = [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
  momentum = jax.tree.unflatten(tree, noise)
  jittered = step_size * jax.random.uniform(key_step, leaves[0].shape[:1], leaves[0].dtype, 0.8, 1.2)
  proposal, end = leapfrog(z, momentum, gradient, jittered, num_leapfrog)
  log_ratio = log_prob(proposal) - log_prob(z) + _kinetic(momentum) - _kinetic(end)
  acceptance = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
  accept = jax.random.uniform(key_accept, acceptance.shape, acceptance.dtype) < acceptance
  return jax.tree.map(lambda a, b: jnp.where(along(accept, a), a, b), proposal, z), acceptance

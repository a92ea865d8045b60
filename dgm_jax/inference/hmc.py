"""Hamiltonian Monte Carlo (Duane et al., 1987; Neal, 2011), and annealed runs that are made of its transitions.

Trees of latent variables z with leaves [B, ...]: one chain for each of B examples; more chains come from vmap.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def along(values: jax.Array, leaf: jax.Array) -> jax.Array:
  """Values [] or [B] with axes added to multiply a leaf [B, ...]."""
  return values.reshape(values.shape + (1,) * (leaf.ndim - values.ndim))


def _kinetic(momentum: Any) -> jax.Array:
  """1/2 |momentum|^2 of each example, [B]."""
  return sum(0.5 * jnp.sum(jnp.square(m), range(1, m.ndim)) for m in jax.tree.leaves(momentum))


def leapfrog(z: Any, momentum: Any, gradient: Callable, step_size: jax.Array, num_leapfrog: int) -> tuple[Any, Any]:
  """Follows dz/dt = v, dv/dt = grad log f(z) for num_leapfrog steps of length step_size: (z', v').

  Reversible (from (z', -v') it leads back to (z, -v)) and volume-preserving, whatever the step size.

  Args:
    z, momentum: trees with leaves [B, ...].
    gradient: z -> grad log f(z), a tree like z.
    step_size: [B], or one for all.
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
  """One transition with a Metropolis correction, a chain for each of the B examples.

  v ~ N(0, I); (z', v') = leapfrog(z, v); z' is taken with probability min(1, f(z') N(v') / (f(z) N(v))), else z is
  kept.  Each transition draws its own step size within 20 % of the one given: a trajectory of fixed length may be a
  whole period of some coordinate, which then never moves (Neal, 2011, section 5.4.2).  f is invariant for every step
  size that is not chosen by looking at the chain itself.  A proposal at which log f is not a number is refused.

  Args:
    key: PRNG key.
    z: tree with leaves [B, ...], real.
    log_prob: z -> log f(z) up to a constant, [B]; example b's depends on z_b alone.
    step_size: [B], or one for all.
    num_leapfrog: leapfrog steps in one transition.

  Returns:
    (z, the probability [B] with which the proposal was to be taken).
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

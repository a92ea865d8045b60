"""Imputation of missing entries by Markov chains over (z, x_missing): pure functions of a latent-variable model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def pseudo_gibbs(
  key: jax.Array,
  x: jax.Array,
  mask: jax.Array,
  infer: Callable,
  decode: Callable,
  num_steps: int,
  keep: Callable = lambda x, mean: x,
) -> tuple[jax.Array, Any]:
  """Alternates z ~ q(z|x) and x_missing ~ p(x|z) (Rezende, Mohamed & Wierstra, 2014, appendix F).

  With q(z|x) = p(z|x) this is Gibbs sampling, and x_missing converges to p(x_missing | x_observed); with another q
  the limit is biased by the error of q (Mattei & Frellsen, 2018).

  Args:
    key: PRNG key.
    x: [B, ...]; the entries where mask is 0 are the start of the chain.
    mask: 1 where x is observed, same shape as x.
    infer: x -> q(z|x), with sample(seed=).
    decode: z -> p(x|z) over the shape of x, with sample(seed=) and mean().
    num_steps: T.
    keep: (x after a step, E[x|z] of the step) -> what to record of the step.

  Returns:
    (x after T steps, the records with leaves [T, ...]).
  """

  def step(x, key):
    key_z, key_x = jax.random.split(key)
    p = decode(infer(x).sample(seed=key_z))
    x = jnp.where(mask > 0, x, p.sample(seed=key_x))
    return x, keep(x, p.mean())

  return jax.lax.scan(step, x, jax.random.split(key, num_steps))


def metropolis_within_gibbs(
  key: jax.Array,
  x: jax.Array,
  mask: jax.Array,
  infer: Callable,
  log_joint: Callable,
  decode: Callable,
  num_steps: int,
  keep: Callable = lambda x, mean: x,
) -> tuple[jax.Array, Any, jax.Array]:
  """Gibbs sampling of (z, x_missing) with Metropolis updates of z (Mattei & Frellsen, 2018, algorithm 1).

  z' ~ q(z|x) is accepted with probability min(1, rho), else z is kept; then x_missing ~ p(x|z).

    rho = p(x, z') q(z|x) / (p(x, z) q(z'|x)),   x = (x_observed, x_missing)

  The chain converges to p(z, x_missing | x_observed) for any q; if q is the posterior, rho = 1, as in pseudo_gibbs.
  The paper starts with some steps of pseudo_gibbs, because q, and with it the proposals, is poor far from the data.

  Args:
    key, x, mask, decode, num_steps, keep: as in pseudo_gibbs.
    infer: x -> q(z|x), with sample(seed=) and log_prob(z) at any z.
    log_joint: (x, z) -> log p(x|z) + log p(z), [B].

  Returns:
    (x after T steps, the records with leaves [T, ...], the acceptance rate [B]).
  """

  def step(carry, key):
    x, z = carry
    key_z, key_accept, key_x = jax.random.split(key, 3)
    q = infer(x)
    log_w = lambda z: log_joint(x, z) - q.log_prob(z)
    proposal = q.sample(seed=key_z)
    log_rho = log_w(proposal) - log_w(z)
    taken = jnp.log(jax.random.uniform(key_accept, log_rho.shape)) < log_rho
    z = jnp.where(taken.reshape(taken.shape + (1,) * (z.ndim - taken.ndim)), proposal, z)
    p = decode(z)
    x = jnp.where(mask > 0, x, p.sample(seed=key_x))
    return (x, z), (keep(x, p.mean()), taken)

  key_start, key_steps = jax.random.split(key)
  start = (x, infer(x).sample(seed=key_start))
  (x, _), (kept, taken) = jax.lax.scan(step, start, jax.random.split(key_steps, num_steps))
  return x, kept, jnp.mean(taken, 0)

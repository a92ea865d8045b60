"""Filling in what is missing of x with a latent-variable model, by a Markov chain: pure functions of its parts."""

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
  """z ~ q(z|x), x_missing ~ p(x|z), in turn (Rezende, Mohamed & Wierstra, 2014, appendix F).

  With q(z|x) = p(z|x) this is Gibbs sampling, and x_missing goes to p(x_missing | x_observed); with another q the
  chain goes where the error of q takes it (Mattei & Frellsen, 2018).

  Args:
    key: PRNG key.
    x: [B, ...]; where mask is 0 the chain's start.
    mask: 1 where x is observed, of the shape of x.
    infer: x -> q(z|x), with sample(seed=).
    decode: z -> p(x|z) over the shape of x, with sample(seed=) and mean().
    num_steps: T.
    keep: (x after a step, E[x|z] there) -> what is kept of the step.

  Returns:
    (x after T steps, what was kept with leaves [T, ...]).
  """

  def step(x, key):
    key_z, key_x = jax.random.split(key)
    p = decode(infer(x).sample(seed=key_z))
    x = jnp.where(mask > 0, x, p.sample(seed=key_x))
    return x, keep(x, p.mean())

  return jax.lax.scan(step, x, jax.random.split(key, num_steps))

"""Annealing from a tractable density to a target by Hamiltonian Monte Carlo (Neal, 2001)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.inference.hmc import step

_TARGET_ACCEPTANCE = 0.65  # optimal for HMC in many dimensions (Beskos et al., 2013)
_ADAPTATION_RATE = 0.5
_FIRST_STEP_SIZE = 0.1
_WARM_UP = 40  # transitions before the pilot's first temperature; enough to adapt the step size to 1e-3 or to 10


class Path(NamedTuple):
  """Path of densities of z from p_0 to p(x, z) for B examples: log f_beta = (1 - beta) log p_0(z) + beta log p(x, z).

  Attributes:
    sample: key -> z ~ p_0, leaves [B, ...].
    log_start: z -> log p_0(z), normalised, [B].
    log_target: z -> log p(x, z), [B].
  """

  sample: Callable
  log_start: Callable
  log_target: Callable

  def log_prob(self, beta: jax.Array, z: Any) -> jax.Array:
    """log f_beta(z), [B]."""
    return (1 - beta) * self.log_start(z) + beta * self.log_target(z)


def schedule(num_temperatures: int, sharpness: float = 4.0) -> jax.Array:
  """0 = beta_0 < ... < beta_T = 1, a logistic curve, finest at both ends (Grosse, Ghahramani & Adams, 2015).

  beta_t = (s_t - s_0) / (s_T - s_0),   s_t = sigmoid(sharpness (2 t / T - 1)).
  """
  s = jax.nn.sigmoid(sharpness * jnp.linspace(-1.0, 1.0, num_temperatures + 1))
  return (s - s[0]) / (s[-1] - s[0])


def anneal(
  key: jax.Array, z: Any, path: Path, betas: jax.Array, step_sizes: jax.Array, num_leapfrog: int
) -> tuple[jax.Array, Any, jax.Array]:
  """One annealed run for each example (Neal, 2001), along `betas` in the order given.

  log w = sum_t (beta_t - beta_{t-1}) (log p(x, z_{t-1}) - log p_0(z_{t-1})),   z_t ~ HMC(z_{t-1}), invariant for
  f_{beta_t}.  From 0 to 1 with z_0 ~ p_0, E[w] = p(x); from 1 to 0 with z_0 ~ p(z|x), E[w] = 1 / p(x).  Unbiased for
  any step sizes fixed before the run; step sizes adapted during the run would bias it.

  Args:
    key: PRNG key.
    z: z_0, leaves [B, ...].
    path: see Path.
    betas: [T + 1].
    step_sizes: step sizes of the transitions at betas[1:], [T, B] or [T].
    num_leapfrog: leapfrog steps per transition.

  Returns:
    (log w [B], z_T, mean acceptance over the T transitions [B]); nats.
  """

  def one(carry, inputs):
    z, log_w = carry
    key, before, beta, step_size = inputs
    log_w += (beta - before) * (path.log_target(z) - path.log_start(z))
    z, acceptance = step(key, z, lambda z: path.log_prob(beta, z), step_size, num_leapfrog)
    return (z, log_w), acceptance

  inputs = (jax.random.split(key, len(betas) - 1), betas[:-1], betas[1:], step_sizes)
  log_w = jnp.zeros_like(jax.eval_shape(path.log_start, z))
  (z, log_w), acceptance = jax.lax.scan(one, (z, log_w), inputs)
  return log_w, z, jnp.mean(acceptance, 0)


def tune(
  key: jax.Array, path: Path, betas: jax.Array, num_leapfrog: int, num_chains: int = 4, num_updates: int = 2
) -> jax.Array:
  """Step sizes [T, B] for a mean acceptance of 0.65 at each temperature, adapted in a pilot run from p_0.

  log step += 1/2 (mean acceptance - 0.65) after every transition of the pilot's chains.  The pilot's draws are
  discarded: the scored run uses these step sizes unchanged, with another key.

  Args:
    key: PRNG key, different from the scored run's.
    path, betas, num_leapfrog: as in `anneal`.
    num_chains: chains per example.
    num_updates: transitions at each temperature.
  """

  def update(beta, carry, key):
    z, log_step = carry
    move = lambda key, z: step(key, z, lambda z: path.log_prob(beta, z), jnp.exp(log_step), num_leapfrog)
    z, acceptance = jax.vmap(move)(jax.random.split(key, num_chains), z)
    return (z, log_step + _ADAPTATION_RATE * (jnp.mean(acceptance, 0) - _TARGET_ACCEPTANCE)), None

  def at_temperature(carry, inputs):
    beta, key = inputs
    carry, _ = jax.lax.scan(lambda c, k: update(beta, c, k), carry, jax.random.split(key, num_updates))
    return carry, jnp.exp(carry[1])

  key_start, key_warm, key_run = jax.random.split(key, 3)
  z = jax.vmap(path.sample)(jax.random.split(key_start, num_chains))
  log_step = jnp.full_like(jax.eval_shape(path.log_start, path.sample(key)), jnp.log(_FIRST_STEP_SIZE))
  warm = jax.random.split(key_warm, _WARM_UP)
  carry, _ = jax.lax.scan(lambda c, k: update(betas[1], c, k), (z, log_step), warm)
  return jax.lax.scan(at_temperature, carry, (betas[1:], jax.random.split(key_run, len(betas) - 1)))[1]

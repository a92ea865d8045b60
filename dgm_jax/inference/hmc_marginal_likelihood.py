"""log p(x) from draws of p(z|x) by HMC and a density fitted to them (Kingma & Welling, 2014, appendix D).

Needs only log p(x, z) and its gradient, no encoder.  Meant for few latent dimensions, where a normal fits p(z|x).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import multivariate_normal

from dgm_jax.inference import estimators, hmc

_FIRST_STEP_SIZE = 0.1
_RIDGE = 1e-6  # relative ridge of the fitted covariance, which is singular if a chain has hardly moved


class Estimates(NamedTuple):
  """Estimates of log p(x), in nats, and the acceptance rate; each [B].

  Attributes:
    upper: -log 1/S sum_s q(z_s) / p(x, z_s), z_s ~ p(z|x), the estimator of appendix D: E[exp(-upper)] = 1 / p(x) for
      exact draws, so that E[upper] >= log p(x).  Draws that miss a part of p(z|x) increase it further.
    lower: log 1/K sum_k p(x, z_k) / r(z_k), z_k ~ r: E[exp(lower)] = p(x) even if the chains have not converged, so
      that E[lower] <= log p(x).
    acceptance: mean over the transitions after the warm-up.
  """

  upper: jax.Array
  lower: jax.Array
  acceptance: jax.Array


def adapted(log_step: jax.Array, acceptance: jax.Array, target: float) -> jax.Array:
  """log step + 1/2 (acceptance - target), one update towards the step size with the target acceptance."""
  return log_step + 0.5 * (acceptance - target)


def chain(
  key: jax.Array, log_joint: Callable, z: jax.Array, num_warmup: int, num_samples: int, num_leapfrog: int, target: float
) -> tuple[jax.Array, jax.Array]:
  """HMC from z [B, L] with log_joint: z -> [B]: (draws [S, B, L], mean acceptance [B]).

  Each example's step size is adapted during the warm-up, whose draws are discarded, and fixed afterwards.
  """

  def warm(carry, key):
    z, log_step = carry
    z, acceptance = hmc.step(key, z, log_joint, jnp.exp(log_step), num_leapfrog)
    return (z, adapted(log_step, acceptance, target)), None

  def draw(z, key):
    z, acceptance = hmc.step(key, z, log_joint, jnp.exp(log_step), num_leapfrog)
    return z, (z, acceptance)

  key_warm, key_draw = jax.random.split(key)
  start = (z, jnp.full(z.shape[0], jnp.log(_FIRST_STEP_SIZE), z.dtype))
  (z, log_step), _ = jax.lax.scan(warm, start, jax.random.split(key_warm, num_warmup))
  _, (draws, acceptance) = jax.lax.scan(draw, z, jax.random.split(key_draw, num_samples))
  return draws, jnp.mean(acceptance, 0)


def most_likely(log_joint: Callable, starts: jax.Array) -> jax.Array:
  """The start with the largest log_joint for each example: starts [C, B, L] -> [B, L]."""
  best = jnp.argmax(jax.lax.map(log_joint, starts), 0)
  return jnp.take_along_axis(starts, best[None, :, None], 0)[0]


def fit(draws: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Mean [B, L] and covariance [B, L, L] of draws [S, B, L]."""
  mean = jnp.mean(draws, 0)
  centred = draws - mean
  covariance = jnp.einsum("sbl,sbm->blm", centred, centred) / (len(draws) - 1)
  scale = jnp.trace(covariance, axis1=1, axis2=2)[:, None, None] / draws.shape[-1]
  return mean, covariance + (_RIDGE * scale + 1e-12) * jnp.eye(draws.shape[-1])


def log_px(
  key: jax.Array,
  log_joint: Callable,
  starts: jax.Array,
  num_samples: int = 50,
  num_warmup: int = 100,
  num_leapfrog: int = 4,
  num_importance: int = 100,
  target_acceptance: float = 0.9,
  spread: float = 2.0,
) -> Estimates:
  """Estimates of log p(x) for B examples.

  A normal q is fitted to S = num_samples draws of one chain; the S draws z_s of `upper` are from a second, independent
  chain, because further draws of the first would be correlated with those that q fits, and too likely under it.  The
  proposal r of `lower` is a normal with the mean of q and `spread` times its covariance: importance sampling needs
  tails heavier than the posterior's, the estimator of appendix D lighter ones.

  Args:
    key: PRNG key.
    log_joint: z [B, L] -> log p(x, z), [B].
    starts: C candidate starts for each example, [C, B, L]; both chains start at the one with the largest p(x, z).
    num_samples: S; 50 in the paper.
    num_warmup: warm-up transitions, which adapt the step sizes.
    num_leapfrog: leapfrog steps per transition; 4 in the paper.
    num_importance: K, draws from r.
    target_acceptance: acceptance to which the step sizes are adapted.
    spread: covariance of r relative to that of q.
  """
  key_chain, key_r = jax.random.split(key)
  z = most_likely(log_joint, starts)
  settings = (num_warmup, num_samples, num_leapfrog, target_acceptance)
  run = lambda key: chain(key, log_joint, z, *settings)
  (draws, fresh), acceptance = jax.vmap(run)(jax.random.split(key_chain))
  mean, covariance = fit(draws)
  log_normal = lambda z, covariance: jax.vmap(multivariate_normal.logpdf)(z, mean, covariance)
  log_ratio = jax.lax.map(lambda z: log_normal(z, covariance) - log_joint(z), fresh)

  wide = spread * covariance
  root = jnp.linalg.cholesky(wide)

  def sample(key):
    z = mean + jnp.einsum("blm,bm->bl", root, jax.random.normal(key, mean.shape, mean.dtype))
    return z, log_normal(z, wide)

  log_w, _ = estimators.log_weights(key_r, sample, log_joint, num_importance, chunk=1)
  return Estimates(-estimators.iwae(log_ratio), estimators.iwae(log_w), jnp.mean(acceptance, 0))


def of_model(bound_model: Any, key: jax.Array, batch: dict, num_starts: int = 100, **settings: Any) -> Estimates:
  """log_px of a batch under a model with log_joint and simulate, bound to its parameters; chains start at prior draws.

  Args:
    bound_model: see principles.latent; z is one array [B, L], real.
    key: PRNG key.
    batch: B examples.
    num_starts: number of prior draws, shared by all examples; chains start at the one with the largest p(x, z).
    **settings: see log_px.
  """
  key_start, key_run = jax.random.split(key)
  size = batch["x"].shape[0]
  _, z = bound_model.simulate(key_start, num_starts)
  starts = jnp.broadcast_to(z[:, None], (num_starts, size, z.shape[-1]))
  return log_px(key_run, lambda z: sum(bound_model.log_joint(batch, z)), starts, **settings)

"""Surrogate objectives for gradients in theta and phi that differ from those of a single bound (stl, dreg, rws, ...).

The log-densities are evaluated twice at the same draws z, once with live and once with fixed parameters, and combined
to a surrogate that has the gradients defined in inference/objectives.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import rng
from dgm_jax.inference import objectives
from dgm_jax.inference.log_terms import LogTerms
from dgm_jax.inference.samples import has_no_moments, map_keys, over_samples
from dgm_jax.principles.latent.options import Options


def pair_terms(
  model: nn.Module, variables: Any, key: jax.Array, batch: dict, num_samples: int, chunk: int | None
) -> dict[str, jax.Array]:
  """Log-densities at the same draws z ~ q(z|x), each [K, B], which differ in where their gradients flow.

    theta   (log p(x|z), log p(z)), to the parameters, at fixed z
    score   log q(z|x), to the parameters, at fixed z
    path    (log p(x|z), log p(z)), through z alone, at fixed parameters
    path_q  log q(z|x), through z alone, at fixed parameters
    z       the draws, without a gradient

  XLA merges the identical forward passes.
  """
  live, frozen = model.bind(variables), model.bind(jax.lax.stop_gradient(variables))
  q, q_frozen = live.infer(batch), frozen.infer(batch)
  merge = has_no_moments(variables)

  def some(keys):
    z, _ = jax.vmap(lambda key: q.sample_and_log_prob(seed=key))(keys)
    fixed = jax.lax.stop_gradient(z)
    return {
      "z": fixed,
      "theta": over_samples(live.log_joint, batch, fixed, merge),
      "path": over_samples(frozen.log_joint, batch, z, merge),
      "path_q": jax.vmap(q_frozen.log_prob)(z),
      "score": jax.vmap(q.log_prob)(fixed),
    }

  return map_keys(some, key, num_samples, chunk, remat=True)


def paired_objective(
  model: nn.Module, variables: Any, key: jax.Array, batch: dict, o: Options, values: dict[str, Any]
) -> tuple[jax.Array, LogTerms]:
  """(the target of theta averaged over the batch, with the gradients of both targets; the log terms).

  The surrogate sum_k a_k log p + b_k log w + c_k log q, with log p from `theta`, log w from `path` and log q from
  `score` of pair_terms, has the gradients defined in inference/objectives.py.
  """
  beta, targets = values["beta"], objectives.OBJECTIVES[o.bound]
  pair = pair_terms(model, variables, key, batch, o.num_samples * o.num_bounds, o.chunk or None)
  terms = jax.lax.stop_gradient(LogTerms(*pair["theta"], pair["score"]))
  log_w = terms.weighed(beta)
  a, b, c, curvature = objectives.coefficients(o.bound, o.gradient, log_w, values, beta)
  log_p = lambda px_z, pz: px_z + beta * pz
  if curvature is None:
    surrogate = jnp.sum(a * log_p(*pair["theta"]), 0)
  else:
    moved = log_prior_shift(model, variables, batch, (pair["z"], a, curvature), beta, o.chunk)
    surrogate = jnp.sum(a * pair["theta"][0] + beta * moved, 0)
  if b is not None:
    surrogate += jnp.sum(b * (log_p(*pair["path"]) - beta * pair["path_q"]), 0)
  if c is not None:
    surrogate += jnp.sum(c * pair["score"], 0)
  if targets.phi == "sleep":
    surrogate += sleep_log_q(model, variables, rng.stream(key, "sleep"), batch, surrogate.shape[0])
  value = targets.theta(log_w, values)
  return jnp.mean(value + surrogate - jax.lax.stop_gradient(surrogate)), terms


def log_prior_shift(
  model: nn.Module, variables: Any, batch: dict, samples: tuple, beta: float | jax.Array, chunk: int
) -> jax.Array:
  """[K, B], whose gradient in theta estimates that of a_k log p(z_k) without the score of p; see objectives.py, gdreg.

  samples: (z, a, curvature), leaves [K, B, ...].
  """
  live, frozen = model.bind(variables), model.bind(jax.lax.stop_gradient(variables))
  q = frozen.infer(batch)

  def weighed(z):
    px_z, pz = frozen.log_joint(batch, z)
    return jnp.sum(px_z + beta * (pz - q.log_prob(z)))

  def one(sample):
    z, a, curvature = sample
    slopes, slopes_q = jax.grad(weighed)(z), jax.grad(lambda z: jnp.sum(q.log_prob(z)))(z)
    total = 0.0
    for z_l, p, slope, slope_q in zip(z, live.prior_conditionals(z), slopes, slopes_q, strict=True):
      mean, scale = p.mean(), p.stddev()
      noise = jax.lax.stop_gradient((z_l - mean) / scale)
      slope_p = jax.lax.stop_gradient(-noise / scale)
      direction = curvature[:, None] * slope + a[:, None] * (slope_q - slope_p)
      total += jnp.sum(jax.lax.stop_gradient(direction) * (mean + scale * noise), -1)
    return total

  if chunk in range(1, samples[1].shape[0]):
    return jax.lax.map(jax.checkpoint(one), samples, batch_size=chunk)
  return jax.vmap(one)(samples)


def sleep_log_q(model: nn.Module, variables: Any, key: jax.Array, batch: dict, n: int) -> jax.Array:
  """log q(z|x), [n], at draws (x, z) of the model: what the sleep phase maximises in phi."""
  dream, z = jax.lax.stop_gradient(model.bind(variables).simulate(key, n))
  seen = {name: batch[name] for name in ("mask",) if name in batch}  # drawn x have the missing entries of the data
  return model.bind(variables).infer(seen | dream).log_prob(z)

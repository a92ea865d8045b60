"""A mixture of normals for each latent (Bishop, 1994), sampled at a temperature (Ha & Schmidhuber, 2018)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Mixture(NamedTuple):
  """p(z_l) = sum_k softmax(logits_l)_k N(z_l; mean_lk, exp(log_scale_lk)^2), of L independent entries of z.

  Attributes:
    logits, mean, log_scale: [..., L, K] each.
  """

  logits: jax.Array
  mean: jax.Array
  log_scale: jax.Array


def of_outputs(h: jax.Array, num_latents: int, num_components: int) -> Mixture:
  """The mixture of a network's outputs [..., 3 L K]."""
  parts = h.reshape(*h.shape[:-1], num_latents, 3, num_components)
  return Mixture(parts[..., 0, :], parts[..., 1, :], parts[..., 2, :])


def log_prob(p: Mixture, z: jax.Array) -> jax.Array:
  """log p(z_l) of each entry, nats, [..., L]."""
  # not distrax's mixture, which computes the logits' normaliser for every entry twice
  u = (z[..., None] - p.mean) * jnp.exp(-p.log_scale)
  log_n = -0.5 * jnp.square(u) - p.log_scale - _HALF_LOG_2PI
  return jax.nn.logsumexp(p.logits + log_n, -1) - jax.nn.logsumexp(p.logits, -1)


def at_temperature(p: Mixture, tau: jax.Array | float) -> Mixture:
  """The mixture with logits / tau and variances tau sigma^2; tau > 0 broadcasts against [..., L, K]."""
  return Mixture(p.logits / tau, p.mean, p.log_scale + 0.5 * jnp.log(tau))


def sample(p: Mixture, uniform: jax.Array, normal: jax.Array) -> jax.Array:
  """z from a uniform number, which chooses the component, and a standard normal one, [..., L] each."""
  below = jnp.cumsum(jax.nn.softmax(p.logits, -1), -1)[..., :-1]
  chosen = jnp.sum(below < uniform[..., None], -1)  # 0 .. K - 1
  is_it = chosen[..., None] == jnp.arange(p.logits.shape[-1])
  pick = lambda a: jnp.sum(jnp.where(is_it, a, 0.0), -1)
  return pick(p.mean) + jnp.exp(pick(p.log_scale)) * normal


def margin(p: Mixture, uniform: jax.Array) -> jax.Array:
  """How far each uniform number is from the next border between two components, [..., L]."""
  below = jnp.cumsum(jax.nn.softmax(p.logits, -1), -1)[..., :-1]
  return jnp.min(jnp.abs(below - uniform[..., None]), -1, initial=1.0)

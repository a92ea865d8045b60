"""Distributions over the weights of a network, which are pytrees of arrays."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree


def rho_of(scale: float) -> float:
  """The rho with softplus(rho) = `scale`."""
  return math.log(math.expm1(scale))


def draw(key: jax.Array, loc: Any, rho: Any) -> Any:
  """w ~ prod_i N(loc_i, softplus(rho_i)^2), differentiable in loc and rho (Blundell et al., 2015)."""
  flat, unravel = ravel_pytree(loc)
  noise = unravel(jax.random.normal(key, flat.shape, flat.dtype))  # one draw for all: each costs seconds to compile
  return jax.tree.map(lambda m, r, e: m + jax.nn.softplus(r) * e, loc, rho, noise)


def _sum(f: Callable, *trees: Any) -> jax.Array:
  return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(jax.tree.map(f, *trees)))


def _log_normal(x: jax.Array, scale: jax.Array | float) -> jax.Array:
  return -0.5 * jnp.square(x / scale) - jnp.log(scale) - 0.5 * math.log(2 * math.pi)


def log_q(w: Any, loc: Any, rho: Any) -> jax.Array:
  """log q(w) = sum_i log N(w_i; loc_i, softplus(rho_i)^2), nats, []."""
  return _sum(lambda w, m, r: _log_normal(w - m, jax.nn.softplus(r)), w, loc, rho)


def log_prior(w: Any, scales: Sequence[float], share: float) -> jax.Array:
  """log prod_i (pi N(w_i; 0, s_1^2) + (1 - pi) N(w_i; 0, s_2^2)), nats, []; pi = `share` (Blundell et al., 2015).

  With a single scale s: log prod_i N(w_i; 0, s^2).
  """
  if len(scales) == 1:
    return _sum(lambda w: _log_normal(w, scales[0]), w)
  first, second = scales
  wide = lambda w: math.log(share) + _log_normal(w, first)
  narrow = lambda w: math.log1p(-share) + _log_normal(w, second)
  return _sum(lambda w: jnp.logaddexp(wide(w), narrow(w)), w)


def kl(w: Any, loc: Any, rho: Any, scales: Sequence[float], share: float) -> jax.Array:
  """KL(q(w) || p(w)), nats, []: exact for one scale, else log q(w) - log p(w), unbiased for w ~ q."""
  if len(scales) > 1:
    return log_q(w, loc, rho) - log_prior(w, scales, share)
  (s,) = scales

  def per_entry(m, r):
    ratio = jax.nn.softplus(r) / s
    return 0.5 * (jnp.square(ratio) + jnp.square(m / s) - 1) - jnp.log(ratio)

  return _sum(per_entry, loc, rho)

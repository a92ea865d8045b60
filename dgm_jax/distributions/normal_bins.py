"""Probabilities of equally spaced levels under a normal that is integrated over their bins (Ho et al., 2020)."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr


def log_bin(x: jax.Array, low: jax.Array, high: jax.Array, half: float) -> jax.Array:
  """log (Phi(high) - Phi(low)) of the bin of x; the bins at the ends of [-1, 1] extend to infinity."""
  open_low, open_high = x < -1 + half, x > 1 - half
  # Phi is accurate in the tail below 0; the branches not taken get finite numbers
  flip = low + high > 0
  low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
  open_low, open_high = jnp.where(flip, open_high, open_low), jnp.where(flip, open_low, open_high)
  log_high, log_low = log_ndtr(high), log_ndtr(low)
  gap = jnp.where(open_low | open_high, -1.0, jnp.minimum(log_low - log_high, -1e-7))
  inner = log_high + jnp.log(-jnp.expm1(gap))
  return jnp.where(open_low, log_high, jnp.where(open_high, log_ndtr(-low), inner))

"""Acquisition functions of Bayesian optimisation."""

import jax
import jax.numpy as jnp


def expected_improvement(mean: jax.Array, deviation: jax.Array, best: jax.Array | float) -> jax.Array:
  """E[max(best - f, 0)] of f ~ N(mean, deviation^2): how far a value is expected to fall below the best so far.

    s (u Phi(u) + phi(u)),   u = (best - mean) / s                                         (Mockus et al., 1978)

  Args:
    mean, deviation: [...]; deviation > 0.
    best: the least value so far.
  """
  return jnp.exp(log_expected_improvement(mean, deviation, best))


def log_expected_improvement(mean: jax.Array, deviation: jax.Array, best: jax.Array | float) -> jax.Array:
  """log expected_improvement, also where that is too small for a number: for u << 0 it is that of phi(u) / u^2."""
  u = (best - mean) / deviation
  near = jnp.maximum(u, -4.0)  # a branch that is not taken must not give NaN in gradients
  log_near = jnp.log(near * jax.scipy.stats.norm.cdf(near) + jax.scipy.stats.norm.pdf(near))
  far = jnp.minimum(u, -4.0)
  # u Phi(u) + phi(u) = phi(u) (1 - 3 / u^2 + 15 / u^4 - 105 / u^6 + ...) / u^2
  inverse = 1 / jnp.square(far)
  series = 1 - inverse * (3 - inverse * (15 - inverse * (105 - inverse * 945)))
  log_far = jax.scipy.stats.norm.logpdf(far) + jnp.log(inverse * series)
  return jnp.log(deviation) + jnp.where(u > -4, log_near, log_far)

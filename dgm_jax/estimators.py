"""Bounds on log p(x): pure functions of log-weights that know no network, parameter or config.

K importance samples, B examples; a bound maps [K, B] to [B].

  log_w[k, b] = log p(x_b, z_kb) - log q(z_kb | x_b),    z_kb ~ q(z | x_b)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def map_samples(f: Callable, key: jax.Array, num_samples: int, chunk: int | None = None) -> Any:
  """Evaluates f at K independent keys: f(key) with leaves [B, ...] becomes leaves [K, B, ...].

  What f closes over (the encoder's output) is computed once, not K times.  With `chunk`, at most so many of the K
  evaluations are in memory at once: K = 5000 at test time need not fit.
  """
  keys = jax.random.split(key, num_samples)
  if chunk is None or chunk >= num_samples:
    return jax.vmap(f)(keys)
  return jax.lax.map(f, keys, batch_size=chunk)


def log_weights(
  key: jax.Array,
  sample_q: Callable,
  log_p: Callable,
  num_samples: int,
  chunk: int | None = None,
) -> tuple[jax.Array, Any]:
  """Draws K proposals for each example and weighs them: log w = log p(x, z) - log q(z|x).

  Args:
    key: PRNG key.
    sample_q: key -> (z, log q(z|x)), one proposal per example: leaves of z [B, ...], log q [B].
    log_p: z -> log p(x, z), [B].  Both are closed over x and the parameters.
    num_samples: K.
    chunk: see map_samples.

  Returns:
    (log_w [K, B], z with leaves [K, B, ...]).
  """

  def weigh(key):
    z, log_q = sample_q(key)
    return log_p(z) - log_q, z

  return map_samples(weigh, key, num_samples, chunk)


def elbo(log_w: jax.Array) -> jax.Array:
  """Evidence lower bound, E_q[log w] <= log p(x), by the mean of K samples (Kingma & Welling, 2014).

  log_w [K, B] -> [B], nats.  The gap is KL(q(z|x) || p(z|x)), whatever K.
  """
  return jnp.mean(log_w, 0)


def iwae(log_w: jax.Array) -> jax.Array:
  """Importance-weighted bound, E[log 1/K sum_k w_k] <= log p(x) (Burda, Grosse & Salakhutdinov, 2016).

  log_w [K, B] -> [B], nats.  Its expectation does not decrease with K; K = 1 is the ELBO, K -> inf gives log p(x).
  """
  return jax.nn.logsumexp(log_w, 0) - jnp.log(log_w.shape[0])


def effective_sample_size(log_w: jax.Array) -> jax.Array:
  """Kish's effective number of samples, (sum_k w_k)^2 / sum_k w_k^2, between 1 and K.  log_w [K, B] -> [B]."""
  return jnp.exp(2 * jax.nn.logsumexp(log_w, 0) - jax.nn.logsumexp(2 * log_w, 0))


BOUNDS = {"elbo": elbo, "iwae": iwae}  # what `config.objective.bound` may name

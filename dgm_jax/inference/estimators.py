"""Estimates of log p(x): pure functions of log-weights, independent of networks, parameters and configs.

K importance samples, B examples; a bound maps [K, B] to [B].  The docstrings say what holds in expectation; no bound
holds for a single draw.

  log_w[k, b] = log p(x_b, z_kb) - log q(z_kb | x_b),    z_kb ~ q(z | x_b)
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.inference.samples import map_samples


def log_weights(
  key: jax.Array,
  sample_q: Callable,
  log_p: Callable,
  num_samples: int,
  chunk: int | None = None,
) -> tuple[jax.Array, Any]:
  """Draws K proposals for each example and computes their log-weights, log w = log p(x, z) - log q(z|x).

  Args:
    key: PRNG key.
    sample_q: key -> (z, log q(z|x)), one proposal per example: leaves of z [B, ...], log q [B].
    log_p: z -> log p(x, z), [B].  Both functions close over x and the parameters.
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

  log_w [K, B] -> [B], nats.  The gap is KL(q(z|x) || p(z|x)) for every K.
  """
  return jnp.mean(log_w, 0)


def iwae(log_w: jax.Array) -> jax.Array:
  """Importance-weighted bound, E[log 1/K sum_k w_k] <= log p(x) (Burda, Grosse & Salakhutdinov, 2016).

  log_w [K, B] -> [B], nats.  Its expectation does not decrease with K; K = 1 is the ELBO, K -> inf gives log p(x).
  """
  return jax.nn.logsumexp(log_w, 0) - jnp.log(log_w.shape[0])


def miwae(log_w: jax.Array, k: int) -> jax.Array:
  """The mean of M = (number of samples) / k importance-weighted bounds of k samples each (Rainforth et al., 2018).

  log_w [M k, B] -> [B], nats; sample m k + i is the i-th of the m-th bound.  k = 1 is the ELBO, M = 1 is IWAE(k).

  Raises:
    UserError: k does not divide the number of samples.
  """
  num_samples, rest = divmod(log_w.shape[0], k)
  errors.require(not rest and k >= 1, f"{log_w.shape[0]} samples cannot be split into groups of {k}")
  return jnp.mean(jax.vmap(iwae)(log_w.reshape(num_samples, k, *log_w.shape[1:])), 0)


def ciwae(log_w: jax.Array, beta: float) -> jax.Array:
  """beta ELBO + (1 - beta) IWAE(K), 0 <= beta <= 1 (Rainforth et al., 2018).  log_w [K, B] -> [B], nats."""
  return beta * elbo(log_w) + (1 - beta) * iwae(log_w)


def renyi(log_w: jax.Array, alpha: float) -> jax.Array:
  """Renyi bound of order alpha, 1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha) (Li & Turner, 2016).

  log_w [K, B] -> [B], nats.  alpha = 1 is the ELBO, 0 is IWAE(K), -inf the greatest log-weight (vr_max).  For
  alpha >= 0 the expectation is at most log p(x); for alpha < 0 it may lie on either side of log p(x).
  """
  a = 1.0 - jnp.asarray(alpha, log_w.dtype)
  middle = elbo(log_w)
  # near the limit a log-sum divided by a loses digits; with deviations d from the mean the sum of a d + (a d)^2/2 + ...
  # keeps them.  The branch not taken must not divide by zero or overflow, not even in its gradient.
  near = jnp.abs(a) * jnp.max(jnp.abs(log_w - middle), 0) < 1
  small = jnp.where(jnp.abs(a) > jnp.finfo(a.dtype).tiny, a, 1.0)
  scaled = jnp.where(near, small * (log_w - middle), 0)
  series = middle + jnp.log1p(jnp.mean(jnp.expm1(scaled), 0)) / small
  safe = jnp.where(near, 1.0, a)
  powered = (jax.nn.logsumexp(safe * log_w, 0) - jnp.log(log_w.shape[0])) / safe
  return jnp.where(a == 0, middle, jnp.where(near, series, powered))


def vr_max(log_w: jax.Array) -> jax.Array:
  """The greatest log-weight, `renyi` for alpha -> -inf (Li & Turner, 2016); not a bound.  log_w [K, B] -> [B], nats."""
  return jnp.max(log_w, 0)


def jackknife(log_w: jax.Array, order: int) -> jax.Array:
  """IWAE(K) with its bias of order 1/K, ..., 1/K^order removed (JVI, Nowozin, 2018): an estimate, not a bound.

  sum_{j=0}^m c_j (mean of IWAE over all subsets of K - j samples),   c_j = (-1)^j (K - j)^m / ((m - j)! j!).

  Args:
    log_w: [K, B].
    order: m, 0 <= m < K; the number of subsets grows like K^m.

  Returns:
    [B], nats; E = log p(x) + O(K^-(m + 1)).

  Raises:
    UserError: the order is not in 0 .. K - 1.
  """
  k = log_w.shape[0]
  errors.require(0 <= order < k, f"a jackknife of order {order} needs more than {order} samples, not {k}")
  estimate = jnp.zeros(())
  for j in range(order + 1):
    subsets = jnp.array(list(itertools.combinations(range(k), k - j)))
    bounds = jax.lax.map(lambda subset: iwae(log_w[subset]), subsets, batch_size=min(64, len(subsets)))
    coefficient = (-1) ** j * (k - j) ** order / (math.factorial(order - j) * math.factorial(j))
    estimate += coefficient * jnp.mean(bounds, 0)
  return estimate


def tvo(log_w: jax.Array, betas: Sequence[float] | jax.Array) -> jax.Array:
  """Left Riemann sum of the thermodynamic integral: sum_s (b_{s+1} - b_s) E_s[log w] (Masrani, Le & Wood, 2019).

  E_s is the expectation under pi_s(z), proportional to q(z|x)^(1 - b_s) p(x, z)^b_s, by self-normalised importance
  sampling from q.  With exact expectations the left sum is a lower bound; with one bin it is the ELBO.

  Args:
    log_w: [K, B].
    betas: b_0 = 0 < b_1 < ... < 1, the left ends of the bins; the last bin ends at 1.
  """
  lefts = jnp.asarray(betas, log_w.dtype)
  widths = jnp.diff(lefts, append=1.0)
  weights = jax.nn.softmax(lefts[:, None, None] * log_w, 1)  # [S, K, B]
  return jnp.einsum("s,skb,kb->b", widths, weights, log_w)


def snis(log_w: jax.Array, f: jax.Array) -> jax.Array:
  """E_{p(z|x)}[f(z)] by self-normalised importance sampling: sum_k w_k f_k / sum_k w_k; bias O(1/K).

  Args:
    log_w: [K, B].
    f: [K, B, ...].

  Returns:
    [B, ...].
  """
  weights = jax.nn.softmax(log_w, 0)
  return jnp.sum(weights.reshape(*weights.shape, *(1,) * (f.ndim - weights.ndim)) * f, 0)


def effective_sample_size(log_w: jax.Array) -> jax.Array:
  """Kish's effective number of samples, (sum_k w_k)^2 / sum_k w_k^2, between 1 and K.  log_w [K, B] -> [B].

  0 where all weights are 0.
  """
  none = jnp.max(log_w, 0) == -jnp.inf
  log_w = jnp.where(none, 0, log_w)
  return jnp.where(none, 0, jnp.exp(2 * jax.nn.logsumexp(log_w, 0) - jax.nn.logsumexp(2 * log_w, 0)))


def sumo_survival(num_samples: int) -> jax.Array:
  """P(T >= t), t = 1 .. K - 1, for the stopping time of Luo et al. (2020): 1/t up to 80, then 0.9^(t - 80) / 80."""
  t = jnp.arange(1.0, num_samples)
  return jnp.where(t <= 80, 1 / t, 0.9 ** (t - 80) / 80)


def sumo(log_w: jax.Array, stop: jax.Array, survival: jax.Array) -> jax.Array:
  """IWAE(1) + sum_{t=1}^T (IWAE(t + 1) - IWAE(t)) / P(T >= t), Russian roulette (SUMO, Luo et al., 2020).

  Its expectation is that of IWAE(K), which tends to log p(x) for K -> inf, although only T + 1 samples are used.  Its
  variance may be infinite in that limit.

  Args:
    log_w: [K, B]; only the first T + 1 samples have an influence.
    stop: T, integers 0 .. K - 1, [B], drawn independently of log_w.
    survival: P(T >= t) for t = 1 .. K - 1, [K - 1].

  Returns:
    [B], nats.
  """
  k = log_w.shape[0]
  bounds = jax.lax.cumlogsumexp(log_w, 0) - jnp.log(jnp.arange(1, k + 1, dtype=log_w.dtype))[:, None]
  reached = jnp.arange(1, k)[:, None] <= stop
  return bounds[0] + jnp.sum(jnp.where(reached, jnp.diff(bounds, axis=0) / survival[:, None], 0), 0)


def pareto_k(log_w: jax.Array) -> jax.Array:
  """Shape k of a generalised Pareto law fitted to the largest weights (Vehtari et al., 2024).  log_w [K, B] -> [B].

  Below 0.5 the weights have finite variance; above 0.7 estimates from them are unreliable.  The fit is the posterior
  mean of Zhang & Stephens (2009) on the min(K / 5, 3 sqrt K) largest weights, shrunk slightly towards 1/2; -inf where
  these weights are all equal, inf where all are 0: then they estimate nothing.

  Raises:
    UserError: fewer than 25 samples.
  """
  k = log_w.shape[0]
  errors.require(k >= 25, f"pareto_k fits the tail of the weights and needs 25 samples or more; it got {k}")
  tail = math.ceil(min(k / 5, 3 * math.sqrt(k)))
  largest = jnp.sort(log_w, 0)[-tail - 1 :]
  # weights below e^-80 of the greatest would underflow in float32; where all are equal there is no tail
  ratio = jnp.exp(jnp.maximum(largest - largest[-1], -80.0))
  flat = largest[0] == largest[-1]
  excess = jnp.where(flat, jnp.linspace(0.1, 1, tail)[:, None], jnp.maximum(ratio[1:] - ratio[0], 1e-36))  # ascending
  grid = 30 + math.isqrt(tail)
  spread = (1 - jnp.sqrt(grid / (jnp.arange(1, grid + 1) - 0.5)))[:, None]  # [G, 1]
  theta = 1 / excess[-1] + spread / (3 * excess[int(tail / 4 + 0.5) - 1])
  shape = lambda theta: jnp.mean(jnp.log1p(-theta[:, None] * excess), 1)  # [G, B]
  shapes = shape(theta)
  profile = tail * (jnp.log(-theta / shapes) - shapes - 1)
  best = jnp.sum(jax.nn.softmax(profile, 0) * theta, 0, keepdims=True)
  fitted = jnp.where(flat, -jnp.inf, (tail * shape(best)[0] + 5) / (tail + 10))
  return jnp.where(largest[-1] == -jnp.inf, jnp.inf, fitted)

"""Non-parametric maximum likelihood over all mixtures of diagonal normals with variances above a floor.

  p_G(x) = E_{(m, s) ~ G}[N(x; m, diag s)],   s_d >= floor,   G any distribution: countable, continuous, a decoder's.

A latent-variable model whose p(x|z) is such a normal is one of these mixtures, so that its log-likelihood of n points
is at most that of the best G (Mattei & Frellsen, 2018, section 2), which has at most n components (Lindsay, 1983).  EM
gives a lower bound.  With a_j = 1 / (n p_G(x_j)) any other G* has, by Jensen's inequality,

  1/n sum_j log p_G*(x_j) / p_G(x_j) <= log sum_j a_j p_G*(x_j) <= log max_{m, s} sum_j a_j N(x_j; m, diag s),

the maximum of the gradient: `certificate` bounds it from above, `search` climbs towards it and bounds it from below.

Points are [N, D], components [M, D]; sums run over chunks of components, so that memory is N times the chunk size.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.models.mixtures.base import distances

_ROUNDING = 1e-2  # nats, of log N(x; m, s) from products of matrices


class Mixture(NamedTuple):
  """Components: logarithms of the weights [M], means [M, D], variances [M, D]."""

  log_weight: jax.Array
  mean: jax.Array
  variance: jax.Array


class Fit(NamedTuple):
  """The result of EM.

  Attributes:
    mixture: the components.
    log_px: 1/n log-likelihood, nats.
    steps: number of EM steps.
  """

  mixture: Mixture
  log_px: jax.Array
  steps: jax.Array


def log_normal(x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
  """log N(x_j; mean_m, diag variance_m), [N, M].

  The squares are expanded about the mean of x, as products of matrices; where rounding would then matter, because |x|^2
  is large relative to the variances, they are sums over x - mean_m, which takes about ten times as long.
  """
  precision = 1 / variance
  at, to = x - jnp.mean(x, 0), mean - jnp.mean(x, 0)

  def expanded():
    return at**2 @ precision.T - 2 * at @ (to * precision).T + jnp.sum(to**2 * precision, -1)

  def direct():
    one = lambda component: jnp.square(x - component[0]) @ component[1]
    return jax.lax.map(one, (mean, precision)).T

  size = jnp.max(jnp.max(at**2, 0) @ precision.T)
  squares = jax.lax.cond(size * jnp.finfo(x.dtype).eps < _ROUNDING, expanded, direct)
  return -0.5 * (squares + jnp.sum(jnp.log(2 * math.pi * variance), -1))


def _chunks(tree: Any, size: int) -> tuple[Any, int]:
  """(leaves [M, ...] as [C, size, ...], M); the last chunk repeats the first entries."""
  n = len(jax.tree.leaves(tree)[0])
  order = jnp.arange(-(-n // size) * size) % n
  return jax.tree.map(lambda a: a[order].reshape(-1, size, *a.shape[1:]), tree), n


def _over(f: Any, tree: Any, size: int) -> Any:
  """Applies f to chunks of entries and joins the results, [M, ...]."""
  chunks, n = _chunks(tree, size)
  return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], jax.lax.map(f, chunks))


def log_prob(x: jax.Array, mixture: Mixture, chunk: int = 500) -> jax.Array:
  """log p_G(x), [N]."""
  one = lambda part: jax.nn.logsumexp(mixture.log_weight + log_normal(part, mixture.mean, mixture.variance), 1)
  return _over(one, x, chunk)


def _moved(x: jax.Array, log_r: jax.Array, part: Mixture, floor: float) -> tuple[jax.Array, jax.Array, jax.Array]:
  """(log sum_j r_jm [M], mean and variance of x under r_.m, the variance at least `floor`); log_r [N, M].

  -1/2 (log s + v / s) rises up to s = v and falls beyond, so that the best s >= floor is max(v, floor).
  """
  total = jax.nn.logsumexp(log_r, 0)
  r = jnp.exp(log_r - total)
  mean = r.T @ x
  variance = jnp.maximum(r.T @ x**2 - mean**2, floor)
  alive = (total > -60)[:, None]  # otherwise the component has no weight to average with
  return total, jnp.where(alive, mean, part.mean), jnp.where(alive, variance, part.variance)


def em_step(x: jax.Array, mixture: Mixture, log_px: jax.Array, floor: float, chunk: int = 500) -> Mixture:
  """One step of EM; log_px [N] is that of the mixture.  The likelihood never decreases."""

  def one(part):
    log_r = part.log_weight + log_normal(x, part.mean, part.variance) - log_px[:, None]
    total, mean, variance = _moved(x, log_r, part, floor)
    return Mixture(total - math.log(len(x)), mean, variance)

  return _over(one, mixture, chunk)


def fit(x: jax.Array, floor: float, max_steps: int = 200, tolerance: float = 1e-5, chunk: int = 500) -> Fit:
  """EM from a component on each of the N points, until the mean log-likelihood rises by less than `tolerance`."""
  start = Mixture(jnp.full(len(x), -math.log(len(x))), x, jnp.full_like(x, floor))

  def more(carry):
    _, log_px, before, steps = carry
    return (steps < max_steps) & (jnp.mean(log_px) - before > tolerance)

  def step(carry):
    mixture, log_px, _, steps = carry
    moved = em_step(x, mixture, log_px, floor, chunk)
    return moved, log_prob(x, moved, chunk), jnp.mean(log_px), steps + 1

  first = (start, log_prob(x, start, chunk), jnp.asarray(-jnp.inf, x.dtype), 0)
  mixture, log_px, _, steps = jax.lax.while_loop(more, step, first)
  return Fit(mixture, jnp.mean(log_px), steps)


def slope(reach: jax.Array, floor: float) -> jax.Array:
  """The greatest c with max_{s >= floor} s^(-1/2) exp(-u / 8s) <= floor^(-1/2) exp(-c u) for all u in [0, reach].

  The maximum is at s = max(floor, u / 4): its logarithm falls by g(u) = u / (8 floor) up to u = 4 floor, and by
  1/2 + 1/2 log(u / (4 floor)) beyond.  g is concave and 0 at 0, so that it lies above its chord, c = g(reach) / reach.
  """
  fall = jnp.where(reach > 4 * floor, 0.5 + 0.5 * jnp.log(reach / (4 * floor)), reach / (8 * floor))
  return fall / reach


def certificate(x: jax.Array, log_px: jax.Array, floor: float, chunk: int = 500) -> jax.Array:
  """An upper bound on 1/n (log-likelihood of the best G* - that of G), nats; log_px [N] is that of G.

  For any (m, s) let x_i be the point nearest to m in units of sqrt(s).  By the triangle inequality every x_j is at
  least half as far from m as from x_i, and so, with t = x_j - x_i and c the `slope` over the range of t_d^2,

    N(x_j; m, diag s) <= prod_d max_{s >= floor} (2 pi s)^(-1/2) exp(-t_d^2 / 8s) <= (2 pi floor)^(-D/2) exp(-c |t|^2).

  The gradient is at most

    max_i sum_j a_j (2 pi floor)^(-D/2) exp(-c |x_j - x_i|^2).

  It is tight if the points are far apart relative to sqrt(floor).  No density exceeds (2 pi floor)^(-D/2) anyway.
  """
  peak = -0.5 * x.shape[1] * math.log(2 * math.pi * floor)
  c = slope(jnp.max(jnp.square(jnp.max(x, 0) - jnp.min(x, 0))), floor)
  log_a = peak - log_px - math.log(len(x))

  def one(part):
    return jax.nn.logsumexp(log_a - c * distances(x, part).T, 1)

  return jnp.minimum(jnp.max(_over(one, x, chunk)), peak - jnp.mean(log_px))


def search(
  x: jax.Array, log_px: jax.Array, mixture: Mixture, floor: float, num_steps: int = 20, chunk: int = 500
) -> jax.Array:
  """Log of the greatest gradient found, [], a lower bound of its maximum (0 at the best G); log_px [N] is that of G.

  (m, s) climbs sum_j a_j N(x_j; m, diag s), which never decreases, by a fixed-point iteration: mean and variance under
  the terms of the sum.  It starts from every point, with the floor as variance, and from every component.
  """
  log_a = -log_px - math.log(len(x))

  def one(part):
    value = lambda part: log_a[:, None] + log_normal(x, part.mean, part.variance)  # [N, M]
    climb = lambda _, part: Mixture(*_moved(x, value(part), part, floor))
    return jax.nn.logsumexp(value(jax.lax.fori_loop(0, num_steps, climb, part)), 0)

  points = Mixture(jnp.zeros(len(x), x.dtype), x, jnp.full_like(x, floor))
  return jnp.maximum(*(jnp.max(_over(one, starts, chunk)) for starts in (points, mixture)))

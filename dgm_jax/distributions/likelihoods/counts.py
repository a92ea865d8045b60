"""Families of overdispersed counts: the negative binomial, alone and with extra zeros.

Float32 needs care: lgamma(x + theta) - lgamma(theta) cancels for large theta, and x log mu - lgamma(x + 1) for large x.
With N = x + theta and Stirling's remainder s(y) = lgamma(y) - (y - 1/2) log y + y - 1/2 log 2 pi,

  log p(x) = x log mu - x - log x! + N log(N / (theta + mu)) - 1/2 log(N / theta) + s(N) - s(theta)

in which nothing cancels for x up to ten; above, log p is the saddle-point form of Loader (2000) with deviances.
"""

import math

import distrax
import jax
import jax.numpy as jnp

from dgm_jax.distributions.factorised import Factorised
from dgm_jax.distributions.likelihoods.discrete import Poisson
from dgm_jax.distributions.likelihoods.family import Family

SMALL = 10.0  # counts up to here take the direct form
_MIN_MEAN = 1e-3  # smallest mean count from which a model starts
# s(y) = t P(t) and digamma(y) - log y = -t/2 - t^2 R(t) for t = 1 / y, y >= 1: Chebyshev fits, to 3e-9 and 4e-8
_REMAINDER = (0.083333334, -1.822394e-7, -2.7725246e-3, -5.3434589e-5, 1.0496381e-3, -6.3367872e-4, 1.3831774e-4)
_SLOPE = (0.083333267, 2.7019615e-6, -8.3519698e-3, -6.1545099e-5, 4.9370976e-3, -3.5071069e-3, 8.6325781e-4)


def _polynomial(coefficients: tuple[float, ...], t: jax.Array) -> jax.Array:
  total = jnp.full_like(t, coefficients[-1])
  for c in coefficients[-2::-1]:
    total = total * t + c
  return total


def stirling_remainder(y: jax.Array) -> jax.Array:
  """s(y) = lgamma(y) - (y - 1/2) log y + y - 1/2 log 2 pi, y >= 1, to an absolute error of 3e-9 before rounding."""
  t = 1 / y
  return t * _polynomial(_REMAINDER, t)


def _remainder_slope(y: jax.Array) -> jax.Array:
  """digamma(y) - log y, y >= 1."""
  t = 1 / y
  return -t / 2 - t * t * _polynomial(_SLOPE, t)


def log_factorial(x: jax.Array) -> jax.Array:
  """log x!, x >= 0."""
  y = x + 1.0
  return (y - 0.5) * jnp.log(y) - y + 0.5 * math.log(2 * math.pi) + stirling_remainder(y)


def small_log_factorials(x: jax.Array) -> jax.Array:
  """sum_d log x_d! over the counts up to SMALL, [...] of x [..., D]: what `log_prob_and_factorial` leaves out.

  It depends on the data alone, so that it can be computed once per cell and not in every step.
  """
  return jnp.sum(jnp.where((x > 0) & (x <= SMALL), log_factorial(x), 0), -1)


def _part_of_deviance(a: jax.Array, b: jax.Array, d: jax.Array, log_ratio: jax.Array) -> jax.Array:
  """a log(a / b) - (a - b) for d = a - b, by a series in (a - b) / (a + b) where it is small."""
  v = d / (a + b)
  square = v * v
  series = d * v + 2 * a * v * square * _polynomial(tuple(1 / (2 * j + 3) for j in range(7)), square)
  return jnp.where(jnp.abs(v) < 0.3, series, a * log_ratio - d)


def _value_and_slopes(x: jax.Array, log_mean: jax.Array, log_dispersion: jax.Array) -> tuple:
  """(log p(x) + [x <= SMALL] log x!, its derivatives in log mu and in log theta)."""
  mean, theta = jnp.exp(log_mean), jnp.exp(log_dispersion)
  n, total = x + theta, theta + mean
  u = (x - mean) / total
  # log(N / (theta + mu)) = log1p(u): Kahan's quotient is exact near u = 0, and N / (theta + mu) near u = -1
  far = u < -0.5
  w = jnp.where(far, n / total, 1 + u)
  near = jnp.where(far | (w == 1), 1.0, w - 1)
  log_w = jnp.where(w == 1, u, jnp.log(w) * jnp.where(far, 1.0, u / near))
  above = theta + 1  # s and digamma by their recurrences: theta may be small
  grown = jnp.log1p(1 / theta)
  remainder = stirling_remainder(above) + (theta + 0.5) * grown - 1  # s(theta)
  rest = -0.5 * jnp.log(n / theta) + stirling_remainder(jnp.maximum(n, 1)) - remainder
  slope = theta * u

  def with_large():
    expected = n * (mean / total)
    safe = jnp.maximum(x, 1.0)
    of_x = _part_of_deviance(x, expected, slope, jnp.log(safe / expected))
    of_theta = _part_of_deviance(theta, n * (theta / total), -slope, -log_w)
    saddle = -0.5 * jnp.log(2 * math.pi * safe) - stirling_remainder(safe)
    return jnp.where(x > SMALL, saddle - of_x - of_theta, direct)

  direct = x * log_mean - x + n * log_w
  core = jax.lax.cond(jnp.any(x > SMALL), with_large, lambda: direct)
  value = core + jnp.where(x > 0, rest, 0)
  r_theta = _remainder_slope(above) + grown - 1 / theta  # digamma(theta) - log theta
  by_theta = theta * (log_w - u) + jnp.where(x > 0, theta * (_remainder_slope(jnp.maximum(n, 1)) - r_theta), 0)
  return value, slope, by_theta


@jax.custom_jvp
def log_prob_and_factorial(x: jax.Array, log_mean: jax.Array, log_dispersion: jax.Array) -> jax.Array:
  """log NB(x; mu, theta) + [x <= SMALL] log x!, nats; see the module.  x counts; the shapes broadcast.

  Differentiable in log mu, with slope theta (x - mu) / (theta + mu), and in log theta.
  """
  return _value_and_slopes(x, log_mean, log_dispersion)[0]


@log_prob_and_factorial.defjvp
def _log_prob_jvp(primals, tangents):
  value, slope, by_theta = _value_and_slopes(*primals)
  return value, slope * tangents[1] + by_theta * tangents[2]


@jax.custom_jvp
def poisson_log_prob_and_factorial(x: jax.Array, log_mean: jax.Array) -> jax.Array:
  """log Poisson(x; mu) + [x <= SMALL] log x!, with slope x - mu in log mu; see log_prob_and_factorial."""
  mean, safe = jnp.exp(log_mean), jnp.maximum(x, 1.0)
  saddle = -0.5 * jnp.log(2 * math.pi * safe) - stirling_remainder(safe)
  deviance = _part_of_deviance(x, mean, x - mean, jnp.log(safe) - log_mean)
  return jnp.where(x > SMALL, saddle - deviance, x * log_mean - mean)


@poisson_log_prob_and_factorial.defjvp
def _poisson_jvp(primals, tangents):
  x, log_mean = primals
  return poisson_log_prob_and_factorial(*primals), (x - jnp.exp(log_mean)) * tangents[1]


class PoissonCounts(Poisson):
  """The Poisson, exact in float32 for large counts, too."""

  def log_prob(self, value: jax.Array) -> jax.Array:
    factorial = jnp.where((value > 0) & (value <= SMALL), log_factorial(value), 0)
    return self.without_factorial(value) - factorial

  def without_factorial(self, value: jax.Array) -> jax.Array:
    """log p(x) + [x <= SMALL] log x!; see small_log_factorials."""
    return poisson_log_prob_and_factorial(value, self._log_rate)


class NegativeBinomial(distrax.Distribution):
  """Counts of mean mu and variance mu + mu^2 / theta: Poisson(g), g ~ Gamma(theta) of mean mu; event [].

  Args: log mu and log theta, theta the inverse dispersion; their shapes broadcast.
  """

  def __init__(self, log_mean: jax.Array, log_dispersion: jax.Array):
    super().__init__()
    self._log_mean, self._log_dispersion = log_mean, log_dispersion

  @property
  def event_shape(self) -> tuple:
    return ()

  @property
  def batch_shape(self) -> tuple:
    return jnp.broadcast_shapes(self._log_mean.shape, self._log_dispersion.shape)

  def _sample_n(self, key, n):
    key_rate, key_x = jax.random.split(key)
    theta = jnp.broadcast_to(jnp.exp(self._log_dispersion), (n, *self.batch_shape))
    log_rate = jax.random.loggamma(key_rate, theta) - self._log_dispersion + self._log_mean
    return jax.random.poisson(key_x, jnp.exp(log_rate)).astype(log_rate.dtype)

  def log_prob(self, value: jax.Array) -> jax.Array:
    factorial = jnp.where((value > 0) & (value <= SMALL), log_factorial(value), 0)
    return self.without_factorial(value) - factorial

  def without_factorial(self, value: jax.Array) -> jax.Array:
    """log p(x) + [x <= SMALL] log x!; see small_log_factorials."""
    return log_prob_and_factorial(value, self._log_mean, self._log_dispersion)

  def log_zero(self) -> jax.Array:
    """log P(x = 0) = -theta log(1 + mu / theta)."""
    return self.without_factorial(jnp.zeros(self.batch_shape, self._log_mean.dtype))

  def mean(self) -> jax.Array:
    return jnp.broadcast_to(jnp.exp(self._log_mean), self.batch_shape)

  def variance(self) -> jax.Array:
    return self.mean() + jnp.exp(2 * self._log_mean - self._log_dispersion)


class ZeroInflated(distrax.Distribution):
  """0 with probability pi = sigmoid(l), else a count of the negative binomial; event []."""

  def __init__(self, counts: NegativeBinomial, logit: jax.Array):
    super().__init__()
    self.counts, self._logit = counts, logit

  @property
  def event_shape(self) -> tuple:
    return ()

  @property
  def batch_shape(self) -> tuple:
    return jnp.broadcast_shapes(self.counts.batch_shape, self._logit.shape)

  def _sample_n(self, key, n):
    key_zero, key_x = jax.random.split(key)
    zero = jax.random.bernoulli(key_zero, jax.nn.sigmoid(self._logit), (n, *self.batch_shape))
    return jnp.where(zero, 0.0, self.counts.sample(seed=key_x, sample_shape=(n,)))

  def log_prob(self, value: jax.Array) -> jax.Array:
    factorial = jnp.where((value > 0) & (value <= SMALL), log_factorial(value), 0)
    return self.without_factorial(value) - factorial

  def without_factorial(self, value: jax.Array) -> jax.Array:
    """log p(x) + [x <= SMALL] log x!; see small_log_factorials."""
    log_p = self.counts.without_factorial(value)  # at x = 0, log P(0) of the negative binomial
    mixed = jnp.where(value > 0, log_p, jnp.logaddexp(self._logit, log_p))
    return mixed - jax.nn.softplus(self._logit)

  def zero_share(self) -> jax.Array:
    """P(the extra zero), pi."""
    return jnp.broadcast_to(jax.nn.sigmoid(self._logit), self.batch_shape)

  def mean(self) -> jax.Array:
    return jax.nn.sigmoid(-self._logit) * self.counts.mean()

  def variance(self) -> jax.Array:
    share, mean = self.zero_share(), self.counts.mean()
    return (1 - share) * (self.counts.variance() + share * jnp.square(mean))


def _log_of(mean: jax.Array) -> jax.Array:
  return jnp.log(jnp.maximum(mean, _MIN_MEAN))


def make_negative_binomial() -> Family:
  """Negative binomial of mean exp(h_1) and inverse dispersion exp(h_2): variance mu + mu^2 / theta."""
  given = lambda log_mean, log_dispersion: Factorised(NegativeBinomial(log_mean, log_dispersion))
  return Family(given, lambda mean: (_log_of(mean), 0.0), 2, (0.0, math.inf), of_counts=True)


def make_zero_inflated_negative_binomial() -> Family:
  """As negative_binomial, but 0 with probability sigmoid(h_3) (Lopez et al., 2018).

  It starts at P = 0.05, and at the mean of the data, (1 - P) mu.
  """
  given = lambda log_mean, h, logit: Factorised(ZeroInflated(NegativeBinomial(log_mean, h), logit))
  start = lambda mean: (_log_of(mean) + math.log1p(math.exp(-3.0)), 0.0, -3.0)
  return Family(given, start, 3, (0.0, math.inf), of_counts=True)

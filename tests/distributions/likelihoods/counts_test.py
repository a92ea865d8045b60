"""Negative binomials against scipy over the range of single cells, their limits, gradients, draws and masks."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats

from dgm_jax.distributions.likelihoods import counts, families
from dgm_jax.distributions.likelihoods.discrete import Poisson

N = 60_000
RNG = np.random.default_rng(0)
LOG_MEAN = RNG.uniform(np.log(1e-6), np.log(1e6), N).astype("f")
LOG_DISPERSION = RNG.uniform(np.log(1e-3), np.log(1e5), N).astype("f")
MEAN, THETA = np.exp(LOG_MEAN.astype(np.float64)), np.exp(LOG_DISPERSION.astype(np.float64))
X = {
  "likely": np.minimum(scipy.stats.nbinom.rvs(THETA, THETA / (THETA + MEAN), random_state=1), 1_000_000),
  "small": RNG.integers(0, 14, N),
  "any": np.floor(np.exp(RNG.uniform(0, np.log(1e6), N)) - 1),
}


def expected(x):
  return scipy.stats.nbinom.logpmf(x, THETA, THETA / (THETA + MEAN))


def assert_within(found, exact, x):
  """3e-6 (1 + |log p|) up to counts of 1e4, 1e-4 (1 + |log p|) above."""
  error = abs(np.asarray(found, np.float64) - exact) / (1 + abs(exact))
  bound = np.where(x <= 1e4, 3e-6, 1e-4)
  worst = np.argmax(error / bound)
  assert (error < bound).all(), (error[worst], x[worst], MEAN[worst], THETA[worst])


def test_both_families_agree_with_scipy():
  logit = RNG.normal(0, 4, N).astype("f")
  log_share, log_other = (scipy.special.log_expit(sign * logit.astype(np.float64)) for sign in (1, -1))
  plain = jax.jit(lambda x: counts.NegativeBinomial(LOG_MEAN, LOG_DISPERSION).log_prob(x))
  inflated = jax.jit(
    lambda x: counts.ZeroInflated(counts.NegativeBinomial(LOG_MEAN, LOG_DISPERSION), logit).log_prob(x)
  )
  for x in X.values():
    exact = expected(x)
    assert_within(plain(x.astype("f")), exact, x)
    mixture = np.where(x == 0, np.logaddexp(log_share, log_other + exact), log_other + exact)
    assert_within(inflated(x.astype("f")), mixture, x)


def test_sums_over_a_cell_of_large_dispersions_are_exact():
  """A difference of log-gammas, each correctly rounded, would be off by half a nat or more."""
  for theta in (1e4, 1e5):
    mean = RNG.gamma(1.0, 2.0, 2000)
    x = RNG.poisson(mean)
    exact = scipy.stats.nbinom.logpmf(x, theta, theta / (theta + mean)).sum()
    log_dispersion = jnp.full(2000, np.log(theta), "f")
    found = counts.NegativeBinomial(jnp.log(mean.astype("f")), log_dispersion).log_prob(x.astype("f")).sum()
    assert abs(found - exact) < 2e-7 * abs(exact) + 1e-3
    naive = scipy.special.gammaln(x + theta).astype("f") - scipy.special.gammaln(theta).astype("f")
    rounded = abs(
      naive.astype(np.float64).sum() - (scipy.special.gammaln(x + theta) - scipy.special.gammaln(theta)).sum()
    )
    assert rounded > 0.1


def test_factorials_of_small_counts_are_what_is_left_out():
  x = RNG.integers(0, 30, (7, 50)).astype("f")
  exact = np.where(x <= counts.SMALL, scipy.special.gammaln(x.astype(np.float64) + 1), 0).sum(-1)
  np.testing.assert_allclose(counts.small_log_factorials(x), exact, rtol=1e-6)
  d = counts.NegativeBinomial(jnp.zeros((7, 50)), jnp.zeros(50))
  np.testing.assert_allclose(d.without_factorial(x).sum(-1) - exact, d.log_prob(x).sum(-1), rtol=1e-5)


def test_limits_are_the_poisson_and_the_negative_binomial():
  x = np.arange(40.0, dtype="f")
  log_mean = jnp.linspace(-3, 4, 40)
  poisson = Poisson(log_mean).log_prob(x)
  np.testing.assert_allclose(counts.NegativeBinomial(log_mean, jnp.full(40, 23.0)).log_prob(x), poisson, rtol=1e-5)
  plain = counts.NegativeBinomial(log_mean, jnp.zeros(40))
  np.testing.assert_allclose(counts.ZeroInflated(plain, jnp.full(40, -30.0)).log_prob(x), plain.log_prob(x), rtol=1e-6)
  np.testing.assert_allclose(plain.log_zero(), plain.log_prob(jnp.zeros(40)), rtol=1e-7)


def test_gradients_agree_with_differences_in_double_precision():
  """Of float32 with those of scipy; relative to the count, whose rounding they carry."""
  some = slice(0, 4000)
  for x in X.values():
    x = x[some]
    f = lambda a, b, x=x: counts.NegativeBinomial(a, b).log_prob(x.astype("f")).sum()
    by_mean, by_theta = jax.jit(jax.grad(f, (0, 1)))(LOG_MEAN[some], LOG_DISPERSION[some])
    mean, theta = MEAN[some], THETA[some]
    exact = theta * (x - mean) / (theta + mean)
    rounding = theta * (x + mean) / (theta + mean)  # x - mu carries the rounding of mu
    np.testing.assert_array_less(abs(by_mean - exact), 1e-6 * (1 + abs(exact) + 4 * rounding))
    digammas = scipy.special.digamma(x + theta) - scipy.special.digamma(theta)
    slope = theta * (digammas - np.log1p(mean / theta)) - exact
    np.testing.assert_array_less(abs(by_theta - slope), 1e-5 * (1 + abs(exact) + abs(slope) + rounding))
  log_p = lambda b: scipy.stats.nbinom.logpmf(7, np.exp(b), np.exp(b) / (np.exp(b) + 3.0))
  by_differences = (log_p(0.4 + 1e-5) - log_p(0.4 - 1e-5)) / 2e-5
  found = jax.grad(lambda b: counts.NegativeBinomial(jnp.log(3.0), b).log_prob(jnp.float32(7.0)))(0.4)
  np.testing.assert_allclose(found, by_differences, rtol=1e-4)


def test_gradients_of_the_extra_zeros():
  zero, h = jnp.zeros(()), (0.3, -0.2, 0.7)
  for x in (0.0, 3.0):
    f = lambda h, x=x: counts.ZeroInflated(counts.NegativeBinomial(h[0], h[1]), h[2]).log_prob(zero + x)
    with jax.enable_x64(True):
      jax.test_util.check_grads(f, (tuple(map(jnp.float64, h)),), 1, ["rev"], rtol=1e-3)


def test_draws_have_the_moments_and_the_zeros():
  log_mean, log_dispersion = jnp.log(jnp.array([0.1, 2.0, 50.0])), jnp.log(jnp.array([0.3, 1.0, 5.0]))
  plain = counts.NegativeBinomial(log_mean, log_dispersion)
  for d in (plain, counts.ZeroInflated(plain, jnp.array([-1.0, 0.0, 1.0]))):
    x = np.asarray(jax.jit(lambda d=d: d.sample(seed=jax.random.key(0), sample_shape=(40_000,)))(), np.float64)
    assert (abs(x.mean(0) - d.mean()) < 5 * x.std(0) / 200).all()
    square = np.square(x - x.mean(0))
    assert (abs(square.mean(0) - d.variance()) < 5 * square.std(0) / 200).all()
    zeros = np.exp(d.log_prob(jnp.zeros(3)))
    assert (abs((x == 0).mean(0) - zeros) < 5 * np.sqrt(zeros * (1 - zeros) / 40_000)).all()


def test_masks_leave_entries_out_of_a_cell():
  for name in ("negative_binomial", "zero_inflated_negative_binomial"):
    family = families.make(name)
    h = jnp.asarray(RNG.normal(size=(4, 6 * family.num_outputs)), "f")
    x = np.arange(24.0, dtype="f").reshape(4, 6)
    mask = RNG.random((4, 6)) < 0.5
    d = family.distribution(h)
    exact = np.where(mask, d.distribution.log_prob(x), 0).sum(-1)
    np.testing.assert_allclose(d.log_prob(np.where(mask, x, np.nan), mask), exact, rtol=1e-5)

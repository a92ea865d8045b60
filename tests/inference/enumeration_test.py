"""Expectations of the estimators as exact finite sums over all K-tuples of a few discrete latent states, in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dgm_jax.core import errors
from dgm_jax.inference import estimators, streaming_weights

STATES = 3
_RNG = np.random.default_rng(0)
LOG_P = _RNG.normal(0, 1, STATES) - 2  # log p(x, z) for each z
LOG_Q = scipy.special.log_softmax(_RNG.normal(0, 1, STATES))
LOG_PX = scipy.special.logsumexp(LOG_P)
ELBO = (np.exp(LOG_Q) * (LOG_P - LOG_Q)).sum()


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def all_draws(k):
  """(log_w [k, STATES^k], probability of each column)."""
  z = np.array(list(itertools.product(range(STATES), repeat=k))).T
  return jnp.asarray((LOG_P - LOG_Q)[z]), np.exp(LOG_Q[z].sum(0))


def expectation(estimator, k):
  log_w, probabilities = all_draws(k)
  return float((estimator(log_w) * probabilities).sum())


def test_the_weights_are_unbiased():
  assert expectation(lambda w: jnp.exp(estimators.iwae(w)), 4) == pytest.approx(np.exp(LOG_PX), rel=1e-12)


def test_elbo_has_the_same_expectation_for_every_k():
  assert [expectation(estimators.elbo, k) for k in (1, 2, 5)] == pytest.approx([ELBO] * 3, abs=1e-12)


def test_iwae_increases_with_k_and_stays_below_log_px():
  values = [expectation(estimators.iwae, k) for k in range(1, 8)]
  assert values[0] == pytest.approx(ELBO, abs=1e-12)
  assert all(a < b for a, b in itertools.pairwise(values))
  assert values[-1] < LOG_PX


@pytest.mark.parametrize("m,k", [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_miwae_has_the_expectation_of_iwae_with_k_samples(m, k):
  assert expectation(lambda w: estimators.miwae(w, k), m * k) == pytest.approx(
    expectation(estimators.iwae, k), abs=1e-12
  )


def test_miwae_groups_are_consecutive():
  log_w = jnp.asarray(_RNG.normal(size=(6, 2)))
  expected = (estimators.iwae(log_w[:3]) + estimators.iwae(log_w[3:])) / 2
  np.testing.assert_allclose(estimators.miwae(log_w, 3), expected, rtol=1e-12)
  with pytest.raises(errors.UserError, match="6 samples cannot be split into groups of 4"):
    estimators.miwae(log_w, 4)


def test_ciwae_with_beta_1_is_the_elbo_and_with_beta_0_iwae():
  log_w, _ = all_draws(4)
  np.testing.assert_allclose(estimators.ciwae(log_w, 1.0), estimators.elbo(log_w), rtol=1e-12)
  np.testing.assert_allclose(estimators.ciwae(log_w, 0.0), estimators.iwae(log_w), rtol=1e-12)


@pytest.mark.parametrize("a", [1e-7, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 2.0, -1e-5, -0.1, -2.0])
def test_renyi_and_its_gradient_hold_in_single_precision_for_any_order(a):
  """Also near 1, where 1 / (1 - alpha) multiplies the rounding of a log-sum: against double precision."""
  log_w = np.random.default_rng(3).normal(size=(7, 5)) * [0.1, 1, 3, 10, 40] - 90
  alpha = 1 - np.float64(np.float32(1) - np.float32(1 - a))  # the order that single precision represents
  single, double = (np.asarray(log_w, dtype) for dtype in ("f", "d"))
  values, gradients = (
    jax.jit(f) for f in (estimators.renyi, jax.grad(lambda w, alpha: estimators.renyi(w, alpha).sum()))
  )
  for f in (values, gradients):
    np.testing.assert_allclose(f(single, alpha), f(double, alpha), atol=5e-5)


def test_weights_that_are_all_zero_estimate_nothing():
  """No effective sample, and a shape that counts as too heavy; a second example with weights is unaffected."""
  log_w = jnp.stack([jnp.full(30, -jnp.inf), jnp.linspace(0, 3, 30)], 1)
  assert estimators.pareto_k(log_w)[0] == jnp.inf
  assert jnp.isfinite(estimators.pareto_k(log_w)[1])
  ess = estimators.effective_sample_size(log_w)
  assert ess[0] == 0
  assert 1 < ess[1] < 30
  assert estimators.iwae(log_w)[0] == estimators.renyi(log_w, 0.5)[0] == estimators.renyi(log_w, 1.0)[0] == -jnp.inf
  sums, _, _ = streaming_weights.add_weights(streaming_weights.no_weights(), log_w[:, 0])
  assert sums.effective == 0


def test_renyi_has_its_special_cases_and_decreases_with_alpha():
  log_w, _ = all_draws(4)
  np.testing.assert_allclose(estimators.renyi(log_w, 1.0), estimators.elbo(log_w), rtol=1e-12)
  np.testing.assert_allclose(estimators.renyi(log_w, 1 - 1e-5), estimators.elbo(log_w), atol=1e-4)
  np.testing.assert_allclose(estimators.renyi(log_w, 0.0), estimators.iwae(log_w), rtol=1e-12)
  np.testing.assert_allclose(estimators.renyi(log_w, -1e4), estimators.vr_max(log_w), atol=1e-3)
  values = [estimators.renyi(log_w, a) for a in (-5.0, 0.0, 0.5, 1.0, 2.0)]
  assert all((a >= b - 1e-12).all() for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, -2.0])
def test_renyi_gradient_is_the_softmax_of_the_scaled_log_weights(alpha):
  log_w, _ = all_draws(3)
  gradient = jax.grad(lambda w: estimators.renyi(w, alpha).sum())(log_w)
  np.testing.assert_allclose(gradient, scipy.special.softmax((1 - alpha) * np.asarray(log_w), 0), rtol=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_jackknife_leaves_a_bias_of_the_next_order(order):
  """E[IWAE_K] is a sum over multinomial counts; the jackknife combines E[IWAE_K], ..., E[IWAE_{K - order}]."""

  def expected_iwae(k):
    counts = np.array([c for c in itertools.product(range(k + 1), repeat=STATES) if sum(c) == k])
    log_factorial = np.cumsum(np.log(np.maximum(1, np.arange(k + 1, dtype=np.longdouble))))
    log_q = LOG_Q.astype(np.longdouble)  # the terms of the jackknife nearly cancel
    log_q -= np.log(np.exp(log_q).sum())
    log_p = log_factorial[k] - log_factorial[counts].sum(1) + counts @ log_q
    return (np.exp(log_p) * np.log(counts @ np.exp(LOG_P - log_q) / k)).sum()

  def bias(k):
    c = lambda j: (-1) ** j * (k - j) ** order / (scipy.special.factorial(order - j) * scipy.special.factorial(j))
    return abs(
      sum(c(j) * expected_iwae(k - j) for j in range(order + 1)) - np.log(np.exp(LOG_P.astype(np.longdouble)).sum())
    )

  ks = (30, 60, 120) if order < 2 else (20, 30, 50)
  slope = np.polyfit(np.log(ks), np.log([float(bias(k)) for k in ks]), 1)[0]
  assert slope == pytest.approx(-(order + 1), abs=0.3)
  k = max(5, order + 2)  # and the estimator is that combination
  combined = sum(
    (-1) ** j
    * (k - j) ** order
    / (scipy.special.factorial(order - j) * scipy.special.factorial(j))
    * expected_iwae(k - j)
    for j in range(order + 1)
  )
  assert expectation(lambda w: estimators.jackknife(w, order), k) == pytest.approx(combined, abs=1e-9)


def test_a_jackknife_needs_more_samples_than_its_order():
  with pytest.raises(errors.UserError, match="order 3 needs more than 3 samples, not 3"):
    estimators.jackknife(jnp.zeros((3, 2)), 3)


def test_tvo_with_one_bin_is_the_elbo_and_approaches_log_px_with_many():
  log_w, _ = all_draws(3)
  np.testing.assert_allclose(estimators.tvo(log_w, (0.0,)), estimators.elbo(log_w), rtol=1e-12)
  once = jnp.asarray(LOG_P - LOG_Q)[:, None]  # each state once, weighted by q below: exact expectations
  exact = lambda betas: sum(
    (b - a) * (scipy.special.softmax(LOG_Q + a * np.asarray(once[:, 0])) * np.asarray(once[:, 0])).sum()
    for a, b in itertools.pairwise([*betas, 1.0])
  )
  grid = lambda n: tuple(np.arange(n) / n)
  values = [exact(grid(n)) for n in (1, 2, 10, 100)]
  assert values[0] == pytest.approx(ELBO, abs=1e-12)
  assert all(a < b for a, b in itertools.pairwise([*values, LOG_PX]))
  # the estimator with samples in the proportions of q
  counts = np.round(np.exp(LOG_Q) * 4000).astype(int)
  samples = jnp.asarray(np.repeat(LOG_P - LOG_Q, counts))[:, None]
  np.testing.assert_allclose(estimators.tvo(samples, grid(10))[0], values[2], atol=2e-3)


def test_snis_is_the_posterior_expectation():
  f = jnp.asarray(_RNG.normal(size=(STATES, 2)))
  counts = np.round(np.exp(LOG_Q) * 40_000).astype(int)
  index = np.repeat(np.arange(STATES), counts)
  found = estimators.snis(jnp.asarray((LOG_P - LOG_Q)[index])[:, None], f[index][:, None])[0]
  np.testing.assert_allclose(found, scipy.special.softmax(LOG_P) @ f, atol=1e-3)


@pytest.mark.parametrize("name", ["elbo", "iwae", "vr_max"])
def test_large_log_weights_stay_finite_in_float32(name):
  log_w = jnp.asarray(_RNG.normal(-1e5, 300, (20, 3)), jnp.float32)
  value, gradient = jax.value_and_grad(lambda w: getattr(estimators, name)(w).sum())(log_w)
  assert jnp.isfinite(value)
  assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("survival", [(0.7, 0.4, 0.1), tuple(estimators.sumo_survival(4).tolist())])
def test_sumo_has_the_expectation_of_iwae_with_all_samples(survival):
  """By a sum over the stopping time and all draws; for T = 0 the expectation is the ELBO."""
  p = np.append(survival, 0.0)
  stops = np.append(1 - p[0], -np.diff(p))
  total = sum(
    mass * expectation(lambda w, t=t: estimators.sumo(w, jnp.full(w.shape[1], t), jnp.asarray(survival)), 4)
    for t, mass in enumerate(stops)
  )
  assert total == pytest.approx(expectation(estimators.iwae, 4), abs=1e-6 if survival[0] == 1 else 1e-12)
  first = expectation(lambda w: estimators.sumo(w, jnp.zeros(w.shape[1], int), jnp.asarray(survival)), 4)
  assert first == pytest.approx(ELBO, abs=1e-12)


@pytest.mark.parametrize("k", [-0.2, 0.3, 0.8])
def test_pareto_k_finds_the_shape_of_generalised_pareto_weights(k):
  import scipy.stats

  w = scipy.stats.genpareto(k).rvs((5000, 200), random_state=1)
  found = np.asarray(estimators.pareto_k(jnp.log(w)))
  assert abs(found.mean() - k) < 0.05  # the prior pulls by (1/2 - k) 10 / 223
  least_error = (1 + k) / 213**0.5  # of the maximum likelihood fit to 213 excesses
  assert found.std() == pytest.approx(least_error, rel=0.35)
  np.testing.assert_allclose(estimators.pareto_k(jnp.log(w) - 1e5), found, rtol=1e-6)


@pytest.mark.parametrize("num_samples,tail", [(60, 12), (100, 20), (400, 60)])
def test_pareto_k_is_shrunk_towards_a_half_as_by_ten_more_weights(num_samples, tail):
  import scipy.stats

  w = scipy.stats.genpareto(0.3).rvs((num_samples, 4000), random_state=1)
  found = np.asarray(estimators.pareto_k(jnp.log(jnp.asarray(w, jnp.float32))))
  assert found.mean() == pytest.approx((0.3 * tail + 0.5 * 10) / (tail + 10), abs=0.01)  # 0.004 is one standard error


@pytest.mark.parametrize("spread", [30, 60, 1000])
def test_pareto_k_is_large_if_one_weight_dominates_and_small_for_equal_weights(spread):
  log_w = jnp.asarray(_RNG.normal(0, spread, (5000, 20)), jnp.float32)
  assert (estimators.pareto_k(log_w) > 0.7).all()
  assert (estimators.pareto_k(jnp.zeros((100, 3), jnp.float32)) < 0.5).all()

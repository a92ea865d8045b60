"""Conformal intervals and temperatures."""

import numpy as np
import pytest

from dgm_jax.applications.imputation import calibration


@pytest.mark.parametrize("n", [20, 99])
def test_a_further_exchangeable_score_is_covered_at_the_level(n):
  """P(s <= quantile) = ceil((n + 1) 0.9) / (n + 1) for continuous scores."""
  g, trials = np.random.default_rng(n), 20_000
  scores = g.exponential(size=(trials, n + 1))
  inside = np.mean([row[-1] <= calibration.quantile(row[:-1], 0.9) for row in scores])
  exact = np.ceil((n + 1) * 0.9 - 1e-9) / (n + 1)
  assert abs(inside - exact) < 4 * (exact * (1 - exact) / trials) ** 0.5


def test_stretched_intervals_reach_a_truth_with_a_score_below_the_factor():
  g = np.random.default_rng(0)
  centre, truth = g.normal(size=(2, 500))
  low, high = centre - g.exponential(size=500), centre + g.exponential(size=500)
  scores = calibration.scores(truth, centre, low, high)
  for factor in (0.5, 1.0, 3.0):
    a, b = calibration.stretched(centre, low, high, np.full(500, factor))
    np.testing.assert_array_equal((a <= truth) & (truth <= b), scores <= factor)


def test_columns_with_few_scores_use_those_of_all_columns():
  g = np.random.default_rng(1)
  many, few = g.exponential(size=500), g.exponential(size=3) + 100
  factors = calibration.factors([many, few, np.zeros(0)], 0.9)
  common = calibration.quantile(np.concatenate([many, few]), 0.9)
  np.testing.assert_allclose(factors, [calibration.quantile(many, 0.9), common, common])
  np.testing.assert_array_equal(calibration.factors([np.zeros(0)], 0.9), [1.0])


@pytest.mark.parametrize("true", [0.5, 2.0])
def test_the_temperature_that_made_the_classes_is_found(true):
  g, n = np.random.default_rng(2), 20_000
  p = g.dirichlet(np.ones(3), n)
  real = calibration.sharpened(p, true)
  classes = (real.cumsum(1) < g.random((n, 1))).sum(1)
  assert calibration.temperature([(p, classes)]) == pytest.approx(true, rel=0.05)
  assert calibration.temperature([(p[:0], classes[:0])]) == 1.0


def test_a_temperature_of_1_changes_nothing():
  p = np.random.default_rng(3).dirichlet(np.ones(4), 10)
  np.testing.assert_allclose(calibration.sharpened(p, 1.0), p, rtol=1e-9)

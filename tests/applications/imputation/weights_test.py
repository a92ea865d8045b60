"""Weights of methods: the best mixture on the simplex, and which method the evidence prefers."""

import numpy as np
import pytest

from dgm_jax.applications.imputation import weights


def evidence(errors):
  return weights.Evidence(np.asarray(errors)[..., None], np.arange(len(errors)), True)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_optimal_on_the_simplex(seed):
  """The conditions of Karush, Kuhn and Tucker: the gradient is least, and equal, where a weight is positive."""
  g = np.random.default_rng(seed)
  a = g.normal(size=(6, 5)) + 3 * g.normal(size=(6, 1)) * (seed % 2)
  gram = a.T @ a
  w = weights.on_simplex(gram)
  gradient = gram @ w
  assert w.min() >= 0 and w.sum() == pytest.approx(1)
  assert np.ptp(gradient[w > 1e-6]) < 1e-4 * np.trace(gram)
  assert gradient.min() > gradient[w > 1e-6].min() - 1e-4 * np.trace(gram)


def test_the_exact_conditional_mean_is_found_among_candidates():
  """Its squared error is the least of all functions of the observed entries, so that it gets all of the weight."""
  g = np.random.default_rng(0)
  n, rho = 20_000, 0.8
  x = g.normal(size=n)
  truth = rho * x + np.sqrt(1 - rho**2) * g.normal(size=n)
  said = np.stack([rho * x, 0.5 * x, np.zeros(n), rho * x + 0.3 * g.normal(size=n), rho * x + 0.3], 1)
  [w] = weights.fit([evidence(said - truth[:, None])], 5, 2)
  mixed = np.square(said @ w - truth) - np.square(said[:, 0] - truth)
  assert w[0] > 0.9
  assert abs(mixed.mean()) < 3 * mixed.std() / n**0.5 + 1e-3


def test_a_column_with_little_evidence_has_the_weights_of_the_table():
  g = np.random.default_rng(1)
  many = evidence(g.normal(size=(5000, 2)) * [1.0, 3.0])
  one = evidence([[3.0, 0.0]])  # alone it would put all weight on the second method
  both = weights.fit([many, one, None], 2, 1)
  assert weights.on_simplex(one.gram)[1] > 0.99
  assert both[0] == pytest.approx([0.9, 0.1], abs=0.02)  # independent errors: inverse variances
  assert both[1] == pytest.approx([0.9, 0.1], abs=0.03)
  np.testing.assert_array_equal(both[2], [0, 1])


def test_numbers_and_classes_share_no_evidence():
  numbers = evidence([[1.0, 0.0]] * 30)
  classes = weights.Evidence(np.tile([[0.0, 0.0], [0.5, -0.5]], (30, 1, 1)), np.arange(30), False)
  found = weights.fit([numbers, classes], 2, 0)
  np.testing.assert_allclose(found, [[0, 1], [1, 0]], atol=1e-4)


def test_the_gate_is_the_least_squares_share_within_0_and_1():
  g = np.random.default_rng(2)
  moves = g.normal(size=1000)
  assert weights.gate(0.3 * moves, moves) == pytest.approx(0.3)
  assert weights.gate(-moves, moves) == 0 and weights.gate(2 * moves, moves) == 1
  assert weights.gate(moves, 0 * moves) == 0

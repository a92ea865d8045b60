"""Rows that agree: Bayes' rule for a mixture of kernels and a broad density."""

import numpy as np
import pytest
import scipy.stats

from dgm_jax.applications.imputation import hot_deck

CLASSES = np.array([3, 3, 3, 2, 2])


def table(n, seed=0):
  """(z [n, 3], one-hot of two columns of classes, where they are observed, values with NaN where missing)."""
  g = np.random.default_rng(seed)
  z = np.where(g.random((n, 3)) < 0.3, np.nan, g.normal(size=(n, 1)) + 0.3 * g.normal(size=(n, 3)))
  hot = np.concatenate([np.eye(3)[g.integers(0, 3, n)], np.eye(2)[g.integers(0, 2, n)]], 1)
  of_class = np.repeat(g.random((n, 2)) > 0.3, [3, 2], 1)
  return z, hot, of_class, np.concatenate([z, np.where(of_class, hot, np.nan)], 1)


def brute(deck, z, hot, of_class, width):
  """(mean, share) of one row: a loop over the rows of the deck."""
  known = ~np.isnan(z)
  broad = scipy.stats.multivariate_normal(np.zeros(known.sum()), deck.covariance[np.ix_(known, known)]).pdf(z[known])
  broad *= np.prod(deck.frequency[(hot > 0) & of_class])
  weights = []
  for row in range(len(deck.z)):
    k = 1.0
    for d in np.flatnonzero(known):
      at, scale = (deck.z[row, d], width) if deck.known[row, d] else (0.0, 1.0)
      k *= scipy.stats.norm.pdf(z[d], at, scale)
    for features in (slice(0, 3), slice(3, 5)):
      if of_class[features.start]:
        c, size = hot[features].argmax(), features.stop - features.start
        seen = deck.one_hot[row, features]
        if seen.sum():
          k *= 0.99 if seen[c] else 0.01 / (size - 1)
        else:
          k *= deck.frequency[features][c]
    weights.append(k / len(deck.z) / broad)
  weights = np.array(weights)
  observed = weights @ deck.of_values
  return weights @ deck.values / observed, observed / (1 + observed)


@pytest.mark.parametrize("width", [0.05, 0.4])
def test_weights_follow_bayes_rule(width):
  deck = hot_deck.make(*table(40), CLASSES, 0)
  z, hot, of_class, _ = table(12, 1)
  mean, share = hot_deck.look_up(deck, z, hot, of_class, width)
  for i in range(len(z)):
    if (~np.isnan(z[i])).any():
      expected = brute(deck, z[i], hot[i], of_class[i], width)
      np.testing.assert_allclose(mean[i], expected[0], rtol=1e-6)
      np.testing.assert_allclose(share[i], expected[1], rtol=1e-6)


def test_rows_that_recur_are_recognised_and_rows_of_their_own_are_not():
  g = np.random.default_rng(3)
  x = g.normal(size=(300, 6))
  x[150:] = x[:150]
  hidden = (np.arange(300) >= 150)[:, None] & (np.arange(6) == 0)
  nothing = np.zeros((300, 0)), np.zeros((300, 0), bool)
  deck = hot_deck.make(np.where(hidden, np.nan, x), *nothing, np.where(hidden, np.nan, x), np.zeros(0, int), 0)
  mean, share = hot_deck.look_up(deck, np.where(hidden, np.nan, x), *nothing, 0.05)
  np.testing.assert_allclose(mean[150:, 0], x[:150, 0], atol=1e-3)
  assert share[150:, 0].min() > 0.99
  fresh = g.normal(size=(300, 6))
  assert hot_deck.look_up(deck, fresh, *nothing, 0.05)[1].mean() < 0.05


def test_the_covariance_is_the_maximum_of_the_likelihood():
  """Complete rows: the mean square, with its small ridge.  With missing entries: no direction raises the likelihood."""
  g = np.random.default_rng(4)
  z = g.multivariate_normal(np.zeros(3), [[1, 0.6, 0.2], [0.6, 1, 0.5], [0.2, 0.5, 1]], 150)
  full = hot_deck.covariance(z, np.ones_like(z))
  np.testing.assert_allclose(full, (z.T @ z + 0.1 * np.eye(3)) / 150, rtol=1e-9)
  known = (g.random(z.shape) > 0.2).astype(float)
  found = hot_deck.covariance(z * known, known)

  def log_p(s):
    total = 0.0
    for row, m in zip(z, known > 0, strict=True):
      if m.any():
        total += scipy.stats.multivariate_normal(np.zeros(m.sum()), s[np.ix_(m, m)]).logpdf(row[m])
    return total / 150

  for _ in range(2):
    d = g.normal(size=(3, 3))
    d = 0.05 * (d + d.T) / 2
    assert log_p(found) > max(log_p(found + d), log_p(found - d)) - 5e-4


def test_a_row_alone_equals_the_row_in_its_batch():
  deck = hot_deck.make(*table(40), CLASSES, 0)
  z, hot, of_class, _ = table(12, 1)
  whole = hot_deck.look_up(deck, z, hot, of_class, 0.1)
  for i in (0, 7):
    alone = hot_deck.look_up(deck, z[i : i + 1], hot[i : i + 1], of_class[i : i + 1], 0.1)
    np.testing.assert_allclose(alone[0][0], whole[0][i], rtol=1e-9)
    np.testing.assert_allclose(alone[1][0], whole[1][i], rtol=1e-9)

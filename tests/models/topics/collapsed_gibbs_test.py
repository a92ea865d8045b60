"""Collapsed Gibbs sampling of LDA: its stationary distribution by enumeration, its counts, planted topics."""

import itertools

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats
from scipy.optimize import linear_sum_assignment

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data.sets import bars
from dgm_jax.models.topics import collapsed_gibbs

ALPHA, ETA, K = 0.7, 0.4, 2
X = np.array([[2, 1, 0], [0, 1, 2]])


def log_dirichlet_multinomial(counts, prior):
  a, gammaln = np.full(len(counts), prior), scipy.special.gammaln
  return gammaln(a.sum()) - gammaln(a.sum() + counts.sum()) + (gammaln(a + counts) - gammaln(a)).sum()


def log_joint(z):
  """log p(w, z) of the six words of X."""
  document, word = np.repeat([0, 1], 3), np.array([0, 0, 1, 1, 2, 2])
  return sum(log_dirichlet_multinomial(np.bincount(z[document == d], minlength=K), ALPHA) for d in range(2)) + sum(
    log_dirichlet_multinomial(np.bincount(word[z == k], minlength=3), ETA) for k in range(K)
  )


def test_words_agree_with_their_counts():
  words = collapsed_gibbs.words_of(X)
  assert words.document.tolist() == [0, 0, 0, 1, 1, 1]
  assert words.word.tolist() == [0, 0, 1, 1, 2, 2]
  with pytest.raises(errors.UserError, match="have no words"):
    collapsed_gibbs.words_of(np.zeros((2, 3), int))


def test_chains_have_the_enumerated_distribution():
  """20,000 chains after 20 sweeps each, against the 64 assignments."""
  words = collapsed_gibbs.words_of(X)
  run = lambda key: collapsed_gibbs.sample(key, words, (2, 3, K), ALPHA, ETA, 20)
  state, values = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 20_000))
  states = [np.array(z) for z in itertools.product(range(K), repeat=6)]
  log_p = np.array([log_joint(z) for z in states])
  expected = np.exp(log_p - scipy.special.logsumexp(log_p))
  code = np.asarray(state.z) @ 2 ** np.arange(5, -1, -1)
  observed = np.bincount(code, minlength=64)
  assert scipy.stats.chisquare(observed, 20_000 * expected).pvalue > 1e-4
  np.testing.assert_allclose(values[:, -1], log_p[code], rtol=1e-4)
  assert (state.of_documents.sum((1, 2)) == 6).all() and (state.of_words.sum(2) == X.sum(0)).all()


@pytest.mark.slow
def test_planted_bars_are_recovered():
  """By the best of four chains: a single one may stay in another mode."""
  x = data.load("bars", train_size=200).train["x"].reshape(-1, 25)
  words = collapsed_gibbs.words_of(x)
  run = jax.vmap(lambda key: collapsed_gibbs.sample(key, words, (200, 25, 10), 1.0, 0.1, 100))
  states, values = jax.jit(run)(jax.random.split(jax.random.key(0), 4))
  assert (values[:, -1] > values[:, 0] + 1000).all()
  state = jax.tree.map(lambda a: a[values[:, -1].argmax()], states)
  truth, beta = bars.topics(5), np.asarray(collapsed_gibbs.topics(state, 0.1))
  distance = 0.5 * np.abs(truth[:, None] - beta[None]).sum(2)
  assert distance[linear_sum_assignment(distance)].max() < 0.2
  np.testing.assert_allclose(collapsed_gibbs.proportions(state, 1.0).sum(1), 1, rtol=1e-5)

"""Probabilistic PCA in closed form, by EM and by gradient; factor analysis and Bayesian PCA by EM."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import decomposition

from dgm_jax.core import errors
from dgm_jax.models.linear import exact_inference as fa
from dgm_jax.models.linear import factor_analysis
from dgm_jax.principles import em, own_bound

pytestmark = pytest.mark.slow  # compiling all of them takes minutes

N, D, L = 400, 6, 2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, L)) @ RNG.normal(size=(L, D)) * 2 + 0.5 * RNG.normal(size=(N, D)) + 5
KEY = jax.random.key(1)


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def model(**options):
  return factor_analysis.Model((D,), data_mean=tuple(X.mean(0)), **{"latent_dim": L, "isotropic": True} | options)


def train(made, steps, x=X):
  """(the last state, metrics {name: [steps]}) of steps on all of x."""

  def run(x):
    state = made.init(jax.random.key(0), {"x": x[:2]}, {})
    state = state.replace(params=jax.tree.map(lambda a: a.astype(x.dtype), state.params))
    return jax.lax.scan(lambda state, _: made.train_step(state, KEY, {"x": x}), state, length=steps)

  return jax.jit(run)(x)


def covariance(params):
  w = params["loadings"]
  return w @ w.T + np.exp(params["log_variance"]) * np.eye(D)


@functools.cache
def closed():
  with jax.enable_x64(True):
    return train(em.make(model(closed_form=True), None, num_examples=N, block=100), 2)


def test_one_pass_agrees_with_scikit_learns_probabilistic_pca():
  state, metrics = closed()
  theirs = decomposition.PCA(L, svd_solver="full").fit(X * np.sqrt((N - 1) / N))  # its variances divide by N - 1
  np.testing.assert_allclose(covariance(state.params), theirs.get_covariance(), rtol=1e-9, atol=1e-9)
  theirs = decomposition.PCA(L, svd_solver="full").fit(X)
  assert theirs.score(X) < metrics["log_px"][-1] < theirs.score(X) + 1e-4  # ours is at the maximum
  np.testing.assert_allclose(state.params["loc"], X.mean(0), rtol=1e-12)


def test_em_converges_to_the_closed_form():
  state, metrics = train(em.make(model(), None, num_examples=N, block=100), 600)
  np.testing.assert_allclose(covariance(state.params), covariance(closed()[0].params), atol=1e-7)
  np.testing.assert_allclose(metrics["log_px"][-1], closed()[1]["log_px"][-1], atol=1e-10)
  assert np.diff(metrics["loss"]).max() < 1e-9


def test_gradient_ascent_converges_to_the_closed_form():
  """The principle own_bound maximises the same likelihood by gradient."""
  made = own_bound.make(model(), optax.adam(optax.cosine_decay_schedule(0.05, 1500)))
  state, metrics = train(made, 1500)
  np.testing.assert_allclose(covariance(state.params), covariance(closed()[0].params), atol=1e-4)
  np.testing.assert_allclose(metrics["log_px"][-1], closed()[1]["log_px"][-1], atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"isotropic": False}, {"closed_form": True}], ids=str)
def test_online_em_without_memory_equals_batch_em(options):
  batch, online = (
    train(em.make(model(**options), None, num_examples=N, block=100, update=update, decay=0.0), 5)[0].params
    for update in ("batch", "online")
  )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8), online, batch)


def test_factor_analysis_reaches_the_likelihood_of_scikit_learns():
  x = RNG.normal(size=(N, 1)) * np.linspace(0.5, 1.5, D) + RNG.normal(size=(N, D)) * np.linspace(1, 0.4, D)
  theirs = decomposition.FactorAnalysis(1, tol=1e-12, max_iter=5000, svd_method="lapack").fit(x)
  made = em.make(model(latent_dim=1, isotropic=False), None, num_examples=N, block=100)
  _, metrics = train(made, 2000, x)
  np.testing.assert_allclose(metrics["log_px"][-1], theirs.score(x), atol=1e-7)
  assert np.diff(metrics["loss"]).max() < 1e-9


def test_a_mask_of_ones_equals_no_mask():
  params = fa.start(KEY, jnp.asarray(X), None, L)
  whole, masked = (jax.jit(fa.e_step)(params, X, mask) for mask in (None, np.ones_like(X)))
  np.testing.assert_allclose(whole[1], masked[1], rtol=1e-12)
  np.testing.assert_allclose(np.broadcast_to(whole[0].vv, masked[0].vv.shape), masked[0].vv, rtol=1e-10, atol=1e-9)
  a, b = jax.jit(fa.m_step)(params, whole[0]), jax.jit(fa.m_step)(params, masked[0])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), a, b)


def test_bayesian_pca_keeps_the_columns_that_the_data_support():
  """Two of D - 1 columns remain, as in Bishop (1999); EM without the prior uses all."""
  prior, plain = (em.make(model(latent_dim=D - 1, relevance=r), None, num_examples=N) for r in (True, False))
  state, metrics = train(prior, 2000)
  norms = np.sort(np.linalg.norm(state.params["loadings"], axis=0))[::-1]
  assert norms[L - 1] > 0.5
  assert norms[L:].max() < 0.02
  assert np.diff(metrics["loss"]).max() < 1e-9
  assert np.sort(np.linalg.norm(train(plain, 400)[0].params["loadings"], axis=0))[0] > 0.05
  np.testing.assert_allclose(np.exp(state.params["log_variance"]), 0.25, rtol=0.1)


@pytest.mark.parametrize("options", [
  {"closed_form": True, "isotropic": False}, {"relevance": True, "isotropic": False},
  {"closed_form": True, "relevance": True},
], ids=str)  # fmt: skip
def test_exclusive_options_raise(options):
  with pytest.raises(errors.UserError, match="exclude each other"):
    model(**options).init(KEY, {"x": jnp.asarray(X[:2])})

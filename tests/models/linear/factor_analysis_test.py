"""Factor analysis and PPCA with missing entries: NumPy's conditional normals, scikit-learn, EM's ascent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn import decomposition

from dgm_jax.inference import log_terms
from dgm_jax.models.linear import exact_inference as fa
from dgm_jax.models.linear import factor_analysis

N, D, L = 300, 5, 2
RNG = np.random.default_rng(0)
W, B = RNG.normal(size=(D, L)), RNG.normal(size=D)
SCALES = np.array([0.3, 0.5, 0.8, 0.4, 1.0])
X = RNG.normal(size=(N, L)) @ W.T + B + SCALES * RNG.normal(size=(N, D))
MASK = (RNG.random((N, D)) < 0.7).astype(float)
posterior, e_step, m_step = jax.jit(fa.posterior), jax.jit(fa.e_step), jax.jit(fa.m_step)
fit = jax.jit(fa.fit, static_argnames=("tolerance", "max_steps", "block"))


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def params(isotropic=False):
  variance = np.float64(0.3) if isotropic else SCALES**2
  return {"loadings": jnp.asarray(W), "loc": jnp.asarray(B), "log_variance": jnp.log(variance)}


def normal(p):
  """The mean and covariance of x."""
  w = np.asarray(p["loadings"])
  return np.asarray(p["loc"]), w @ w.T + np.diag(np.broadcast_to(np.exp(p["log_variance"]), D))


@pytest.mark.parametrize("isotropic", [False, True])
def test_likelihood_and_conditionals_agree_with_the_joint_normal(isotropic):
  p = params(isotropic)
  mean, cov = normal(p)
  observed = np.where(MASK > 0, X, np.nan)
  log_px, (filled, spread) = posterior(p, observed, MASK).log_px, jax.jit(fa.conditional)(p, observed, MASK)
  for i in range(40):
    o, m = np.flatnonzero(MASK[i]), np.flatnonzero(1 - MASK[i])
    gain = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)]) if len(o) else np.zeros((len(m), 0))
    expected = np.zeros((D, D))
    expected[np.ix_(m, m)] = cov[np.ix_(m, m)] - gain @ cov[np.ix_(o, m)]
    np.testing.assert_allclose(spread[i], expected, atol=1e-9)
    np.testing.assert_allclose(filled[i, m], mean[m] + gain @ (X[i, o] - mean[o]), rtol=1e-9)
    np.testing.assert_array_equal(filled[i, o], X[i, o])
    value = scipy.stats.multivariate_normal(mean[o], cov[np.ix_(o, o)]).logpdf(X[i, o]) if len(o) else 0.0
    np.testing.assert_allclose(log_px[i], value, rtol=1e-9, atol=1e-12)


def ascend(p, mask, steps):
  """(the last parameters, the log-likelihood before each step of EM)."""

  def step(p, _):
    s, log_px = fa.e_step(p, jnp.asarray(X), mask)
    return fa.m_step(p, s), log_px

  return jax.jit(lambda p: jax.lax.scan(step, p, None, length=steps))(p)


@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("mask", [MASK, np.ones_like(MASK)], ids=["missing", "complete"])
def test_a_step_never_decreases_the_likelihood(isotropic, mask):
  start = fa.start(jax.random.key(0), jnp.asarray(X), mask, L, isotropic)
  _, log_px = ascend(start, jnp.asarray(mask), 60)
  assert np.diff(log_px).min() > -1e-9
  assert log_px[-1] > log_px[0] + 50


@pytest.mark.parametrize("isotropic", [False, True])
def test_a_step_ends_at_a_stationary_point_of_the_expected_log_likelihood(isotropic):
  """The gradient of sum_observed E[log N(x; w z + b, psi)] is 0, z from the posterior at the old parameters."""
  old = params(isotropic)
  q = posterior(old, X, MASK)
  second = q.covariance + q.mean[:, :, None] * q.mean[:, None, :]

  def expected(p):
    residual, w = X - p["loc"], p["loadings"]
    square = residual**2 - 2 * residual * (q.mean @ w.T) + jnp.einsum("dl,blk,dk->bd", w, second, w)
    return -0.5 * jnp.sum(MASK * (p["log_variance"] + square * jnp.exp(-p["log_variance"])))

  slope = jax.jit(jax.grad(expected))
  assert min(abs(s).max() for s in jax.tree.leaves(slope(old))) > 0.1
  assert max(abs(s).max() for s in jax.tree.leaves(slope(m_step(old, e_step(old, X, MASK)[0])))) < 1e-9


def test_em_starts_from_moments_of_observed_entries():
  observed = np.where(MASK > 0, X, np.nan)
  ours, pooled = (fa.start(jax.random.key(0), jnp.asarray(observed), MASK, L, isotropic) for isotropic in (False, True))
  np.testing.assert_allclose(ours["loc"], np.nanmean(observed, 0), rtol=1e-12)
  np.testing.assert_allclose(np.exp(ours["log_variance"]), np.nanvar(observed, 0), rtol=1e-12)
  np.testing.assert_allclose(np.exp(pooled["log_variance"]), np.nanvar(observed, 0).mean(), rtol=1e-12)


def test_a_vanishing_variance_stops_at_the_floor():
  """Heywood's case: a factor equals one of the entries."""
  x = jnp.asarray(X).at[:, 1].set(X[:, 0])
  start = fa.start(jax.random.key(4), x, MASK, L)
  found, log_px, _ = fit(start, x, MASK, tolerance=1e-6, max_steps=3000, block=64)
  assert np.isfinite(log_px)
  assert np.exp(found["log_variance"]).min() == pytest.approx(1e-6)


def test_statistics_are_additive():
  whole = e_step(params(), X, MASK)
  parts = jax.tree.map(jnp.add, e_step(params(), X[:150], MASK[:150]), e_step(params(), X[150:], MASK[150:]))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), whole, parts)


def test_em_converges_to_the_closed_form_of_probabilistic_pca():
  """Complete data: psi is the mean of the discarded eigenvalues; log p at scikit-learn's parameters is its score."""
  start = fa.start(jax.random.key(1), jnp.asarray(X), np.ones_like(X), L, isotropic=True)
  found, log_px, _ = fit(start, jnp.asarray(X), jnp.ones((N, D)), tolerance=1e-12, max_steps=5000, block=128)
  values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
  noise = values[: D - L].mean()
  np.testing.assert_allclose(np.exp(found["log_variance"]), noise, rtol=1e-5)
  expected = vectors[:, D - L :] @ np.diag(values[D - L :] - noise) @ vectors[:, D - L :].T
  np.testing.assert_allclose(found["loadings"] @ found["loadings"].T, expected, atol=1e-4)
  np.testing.assert_allclose(found["loc"], X.mean(0), rtol=1e-6)
  pca = decomposition.PCA(L).fit(X)  # its variances divide by N - 1, so that their likelihood is slightly smaller
  scale = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
  theirs = {"loadings": pca.components_.T * scale, "loc": pca.mean_, "log_variance": np.log(pca.noise_variance_)}
  theirs = jax.tree.map(jnp.asarray, theirs)
  np.testing.assert_allclose(posterior(theirs, X, np.ones_like(X)).log_px, pca.score_samples(X), rtol=1e-9)
  assert pca.score(X) < log_px < pca.score(X) + 1e-4


def test_em_reaches_the_likelihood_of_scikit_learns_factor_analysis():
  rng = np.random.default_rng(1)  # one strong factor; otherwise a variance goes to 0, where EM is slow
  x = rng.normal(size=(N, 1)) * [1.0, 0.8, 0.6, 0.9, 0.7] + B + rng.normal(size=(N, D)) * SCALES
  theirs = decomposition.FactorAnalysis(1, tol=1e-10, max_iter=4000, svd_method="lapack").fit(x)
  start = fa.start(jax.random.key(2), jnp.asarray(x), np.ones_like(x), 1)
  found, log_px, _ = fit(start, jnp.asarray(x), jnp.ones((N, D)), tolerance=1e-12, max_steps=4000)
  np.testing.assert_allclose(log_px, theirs.score(x), atol=1e-7)
  np.testing.assert_allclose(normal(found)[1], theirs.get_covariance(), atol=1e-3)


def test_em_with_missing_entries_recovers_the_parameters():
  start = fa.start(jax.random.key(3), jnp.asarray(X), MASK, L)
  found, log_px, steps = fit(start, jnp.where(MASK > 0, X, jnp.nan), MASK, tolerance=1e-7, max_steps=3000, block=64)
  assert 2 < steps < 3000
  assert log_px > posterior(params(), X, MASK).log_px.mean()  # the maximum exceeds log p at the true parameters
  assert abs(normal(found)[1] - normal(params())[1]).max() < 0.6


def test_a_column_without_observed_entries_keeps_its_parameters():
  mask = MASK.copy()
  mask[:, 1] = 0
  new = m_step(params(), e_step(params(), X, mask)[0])
  for name in ("loadings", "loc", "log_variance"):
    np.testing.assert_array_equal(new[name][1], params()[name][1])
    assert (np.asarray(new[name][0]) != np.asarray(params()[name][0])).any()


def test_importance_weights_equal_the_likelihood():
  """q is the posterior, so that log w = log p(x_observed) for every draw."""
  model = factor_analysis.Model((D,), latent_dim=L, isotropic=True)
  variables = {"params": params(isotropic=True)}
  batch = {"x": jnp.where(MASK > 0, X, jnp.nan)[:20], "mask": jnp.asarray(MASK[:20])}
  log_w = jax.jit(lambda batch: log_terms.log_terms(model, variables, jax.random.key(0), batch, 7).w)(batch)
  expected = posterior(params(isotropic=True), X[:20], MASK[:20]).log_px
  np.testing.assert_allclose(log_w, np.broadcast_to(expected, log_w.shape), rtol=1e-8, atol=1e-8)
  found = jax.jit(lambda batch: model.apply(variables, batch, method="log_prob"))(batch)
  np.testing.assert_allclose(found, expected, rtol=1e-9)
  x = jax.jit(lambda key: model.apply(variables, key, 4000, method="generate"))(jax.random.key(1))
  assert abs(np.cov(np.asarray(x).T) - normal(params(isotropic=True))[1]).max() < 0.4

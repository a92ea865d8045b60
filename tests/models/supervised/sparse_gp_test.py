"""The sparse Gaussian process against a full one, scikit-learn's, and its bound against the exact evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from dgm_jax.models.supervised import sparse_gp

N, D = 60, 2
G = np.random.default_rng(0)
X = G.normal(size=(N, D))
Y = np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] + 0.2 * G.normal(size=N)
TEST = G.normal(size=(7, D))


@pytest.fixture(autouse=True)
def in_float64():
  with jax.enable_x64(True):
    yield


def hyper():
  return sparse_gp.Hyper(jnp.log(jnp.asarray([0.8, 1.5])), jnp.log(jnp.asarray(1.3)), jnp.log(jnp.asarray(0.05)))


def exact():
  """scikit-learn's with the same kernel."""
  kernel = kernels.ConstantKernel(1.3) * kernels.RBF([0.8, 1.5]) + kernels.WhiteKernel(0.05)
  return GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(X, Y)


bound, condition, predict = jax.jit(sparse_gp.bound), jax.jit(sparse_gp.condition), jax.jit(sparse_gp.predict)


def test_with_all_points_as_inducing_points_it_is_the_exact_process():
  of, x = exact(), jnp.asarray(X)
  assert float(bound(hyper(), x, x, jnp.asarray(Y))) == pytest.approx(of.log_marginal_likelihood(), abs=5e-3)
  mean, variance = predict(condition(hyper(), x, x, jnp.asarray(Y)), jnp.asarray(TEST))
  of_mean, of_deviation = of.predict(TEST, return_std=True)
  np.testing.assert_allclose(mean, of_mean, atol=2e-4)
  np.testing.assert_allclose(np.asarray(variance) + 0.05, of_deviation**2, atol=2e-4)


def test_with_fewer_it_is_the_formula_of_the_bound_and_below_the_evidence():
  h, z = hyper(), X[:10]
  k = lambda a, b: np.asarray(sparse_gp.kernel(h, jnp.asarray(a), jnp.asarray(b)))
  q = k(X, z) @ np.linalg.solve(k(z, z) + 1e-6 * 1.3 * np.eye(10), k(z, X))
  cov = q + 0.05 * np.eye(N)
  expected = -0.5 * (N * np.log(2 * np.pi) + np.linalg.slogdet(cov)[1] + Y @ np.linalg.solve(cov, Y))
  expected -= 0.5 * (N * 1.3 - np.trace(q)) / 0.05
  found = float(bound(h, jnp.asarray(z), jnp.asarray(X), jnp.asarray(Y)))
  assert found == pytest.approx(expected, abs=1e-4)
  assert found < exact().log_marginal_likelihood() - 1


def test_blocks_of_rows_change_nothing(monkeypatch):
  args = (hyper(), jnp.asarray(X[:9]), jnp.asarray(X), jnp.asarray(Y))
  whole = jax.jit(lambda *a: sparse_gp.bound(*a))(*args)
  monkeypatch.setattr(sparse_gp, "_ROWS", 25)
  np.testing.assert_allclose(jax.jit(lambda *a: sparse_gp.bound(*a))(*args), whole, rtol=1e-10)


def test_knowing_f_at_further_points_is_conditioning_of_the_exact_process():
  h, x, few = hyper(), jnp.asarray(X), TEST[:2]
  post = condition(h, x, x, jnp.asarray(Y))
  k = lambda a, b: np.asarray(sparse_gp.kernel(h, jnp.asarray(a), jnp.asarray(b)))
  both = np.concatenate([X, few])  # with noise at X, and none at the two points
  cov = k(both, both) + np.diag([0.05] * N + [1e-6 * 1.3] * 2)
  expected = 1.3 - np.sum(k(TEST, both) * np.linalg.solve(cov, k(both, TEST)).T, 1)
  points, used = jnp.asarray(np.concatenate([few, 9 * np.ones((3, D))])), jnp.asarray([True] * 2 + [False] * 3)
  given = jax.jit(sparse_gp.variance_given)
  np.testing.assert_allclose(given(post, jnp.asarray(TEST), points, used), expected, atol=1e-4)
  assert float(given(post, jnp.asarray(TEST), points, used)[0]) < 1e-4
  none = given(post, jnp.asarray(TEST), points, jnp.zeros(5, bool))
  np.testing.assert_allclose(none, predict(post, jnp.asarray(TEST))[1], atol=1e-8)

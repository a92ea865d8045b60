"""One M-step of each kind of covariance, and of Student's t, against formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dgm_jax.models.mixtures import covariances, student_t_mixture

N, D, C, FLOOR = 50, 3, 2, 0.3
RNG = np.random.default_rng(0)
X, MEANS, W = RNG.normal(size=(N, D)), RNG.normal(size=(C, D)), RNG.random((C, N))


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


@pytest.mark.parametrize("kind", covariances.KINDS)
def test_an_update_gives_the_weighted_covariance_plus_the_floor(kind):
  of_kind, mass = covariances.KINDS[kind], W.sum(1) * 1.2

  def step(x, means, w, scale):
    roots = of_kind.start(scale, C)
    return of_kind.update(means, roots, of_kind.moments(x, means, roots, w), mass, FLOOR)

  means, roots = jax.jit(step)(X, MEANS, W, np.array([1.0, 2.0, 0.5]))
  expected = W @ X / W.sum(1, keepdims=True)
  np.testing.assert_allclose(means, expected, rtol=1e-9)
  scatter = np.einsum("cn,cnd,cne->cde", W, *[X - expected[:, None]] * 2)
  if kind == "tied":
    np.testing.assert_allclose(roots @ roots.T, scatter.sum(0) / mass.sum() + FLOOR * np.eye(D), rtol=1e-9)
    return
  each = scatter / mass[:, None, None] + FLOOR * np.eye(D)
  diagonal = np.diagonal(each, axis1=1, axis2=2)
  found = roots @ jnp.swapaxes(roots, 1, 2) if kind == "full" else roots**2
  right = {"full": each, "diagonal": diagonal, "spherical": diagonal.mean(1)}[kind]
  np.testing.assert_allclose(found, right, rtol=1e-9)
  np.testing.assert_allclose(
    jax.jit(of_kind.trace_inverse, static_argnums=1)(roots, D),
    {
      "full": np.trace(np.linalg.inv(each), axis1=1, axis2=2),
      "diagonal": (1 / diagonal).sum(1),
      "spherical": D / diagonal.mean(1),
    }[kind],
    rtol=1e-9,
  )


@pytest.mark.parametrize("v,dim", [(0.7, 1), (4.0, 3), (60.0, 10)])
def test_the_degrees_of_freedom_of_the_data_are_a_fixed_point(v, dim):
  """For x ~ t_v in D dimensions u = (v + D) / (v + |y|^2) is (v + D) / v times a Beta(v/2, D/2): E[u] = 1."""
  psi = scipy.special.digamma
  tail = np.log((v + dim) / v) + psi(v / 2) - psi((v + dim) / 2) - 1
  found = jax.jit(student_t_mixture._most_likely_log_dof)(np.log([v]), np.array([tail]), dim)
  np.testing.assert_allclose(found, np.log(v), atol=1e-9)


def test_the_e_step_of_student_t_weighs_by_the_expected_precision():
  model = student_t_mixture.Model((D,), num_components=1, covariance="spherical", dof=5.0)
  params = {"log_weights": np.zeros(1), "means": MEANS[:1], "roots": np.array([1.5]), "log_dof": np.log([5.0])}
  s, _ = jax.jit(model.e_step)(params, {"x": X}, np.ones(N))
  u = (5 + D) / (5 + ((X - MEANS[0]) ** 2).sum(1) / 1.5**2)
  np.testing.assert_allclose(s.moments.weight, [u.sum()], rtol=1e-9)
  np.testing.assert_allclose(s.tail, [(np.log(u) - u).sum()], rtol=1e-9)

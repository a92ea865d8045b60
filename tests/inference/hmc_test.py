"""Hamiltonian Monte Carlo: its transitions leave the target invariant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.inference import annealing, hmc
from helpers import linear_gaussian as lg

pytestmark = pytest.mark.smoke

N = 40_000  # chains


def test_leapfrog_is_reversible_and_preserves_volume():
  with jax.enable_x64(True):
    gradient = jax.grad(lambda z: -jnp.sum(z**4) - jnp.sum(z[:, 0] * z[:, 1]))
    z, v = np.random.default_rng(0).normal(size=(2, 3, 2))
    flow = lambda z, v: hmc.leapfrog(z, v, gradient, jnp.array([0.1, 0.2, 0.3]), 4)
    z_end, v_end = flow(z, v)
    assert np.abs(z_end - z).min() > 1e-2
    back = flow(z_end, -v_end)
    np.testing.assert_allclose(back[0], z, atol=1e-12)
    np.testing.assert_allclose(back[1], -v, atol=1e-12)
    jacobian = jax.jacobian(lambda a: jnp.stack(flow(a[0], a[1])))(jnp.stack([z, v])).reshape(12, 12)
    assert np.linalg.slogdet(jacobian)[1] == pytest.approx(0.0, abs=1e-10)


def test_hmc_leaves_the_target_invariant_with_half_the_proposals_rejected():
  """A few long steps from exact draws of a correlated posterior: the marginals and the covariance do not change."""
  model = lg.model(2, s=0.2)
  x = lg.draws(model, 1)
  exact = model.exact(x)
  z = np.random.default_rng(0).multivariate_normal(exact.mean[0], exact.covariance, N).astype("f")
  log_prob = lambda z: sum(model.log_joint({"x": jnp.asarray(x, jnp.float32)}, z))

  @jax.jit
  def transitions(key, z):
    for k in jax.random.split(key, 3):
      z, acceptance = hmc.step(k, z, log_prob, jnp.float32(0.27), 3)
    return z, acceptance

  moved, acceptance = transitions(lg.KEY, z)
  assert 0.3 < acceptance.mean() < 0.7
  assert np.abs(moved - z).mean() > 0.1
  centred = (moved - exact.mean) @ np.linalg.inv(np.linalg.cholesky(exact.covariance)).T
  for u in (centred[:, 0], centred[:, 1], centred.sum(1) / np.sqrt(2)):
    assert scipy.stats.kstest(u, "norm").pvalue > 1e-4
  assert (np.abs(lg.in_errors(moved, exact.mean[0])) < 5).all()
  products = centred[:, [0, 0, 1]] * centred[:, [0, 1, 1]]
  assert (np.abs(lg.in_errors(products, [1, 0, 1])) < 5).all()


def test_hmc_rejects_proposals_with_a_nan_density():
  log_prob = lambda z: jnp.where(z[:, 0] > 0, jnp.nan, -jnp.sum(z**2, -1))
  z = jnp.full((50, 1), -0.1)
  moved, acceptance = hmc.step(lg.KEY, z, log_prob, jnp.float32(0.5), 2)
  assert (moved <= 0).all()
  assert (acceptance == 0).any()
  assert (moved < -0.1).any()


def test_hmc_on_a_tree_samples_the_target_of_each_leaf():
  """For a product of two normals, each leaf has its own normal as marginal."""
  z = {"a": jnp.zeros((N, 1)), "b": jnp.full((N, 2), 3.0)}
  log_prob = lambda z: -0.5 * z["a"][:, 0] ** 2 - 2 * jnp.sum((z["b"] - 3) ** 2, -1)
  moves = lambda z, k: (hmc.step(k, z, log_prob, jnp.float32(0.4), 2)[0], None)
  moved, _ = jax.lax.scan(moves, z, jax.random.split(lg.KEY, 12))
  assert np.abs(lg.in_errors(moved["a"][:, 0] ** 2, 1.0)) < 5
  assert (np.abs(lg.in_errors((moved["b"] - 3) ** 2, 0.25)) < 5).all()


def test_schedule_increases_from_0_to_1_and_is_finest_at_the_ends():
  betas = np.asarray(annealing.schedule(10))
  steps = np.diff(betas)
  assert betas[0] == 0 and betas[-1] == 1
  np.testing.assert_allclose(steps, steps[::-1], rtol=1e-5)
  assert (np.diff(steps[:5]) > 0).all()

"""Paths of data and noise: conversions, weights, steps and their variances, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.inference import gaussian_paths as paths

T = jnp.asarray([0.05, 0.3, 0.7, 0.95])[:, None]
X, NOISE = (jnp.asarray(np.random.default_rng(i).normal(size=(4, 3)), jnp.float32) for i in range(2))


@pytest.mark.parametrize("path", paths.PATHS)
def test_ends_and_derivatives_of_a_path(path):
  start, end = (paths.point(path, jnp.asarray(t)) for t in (0.0, 1.0))
  np.testing.assert_allclose([start.alpha, start.sigma, end.alpha, end.sigma], [1, 0, 0, 1], atol=1e-6)
  at = paths.point(path, T)
  for name in ("alpha", "sigma"):
    slope = jax.vmap(jax.grad(lambda t, name=name: getattr(paths.point(path, t), name)))(T[:, 0])
    np.testing.assert_allclose(getattr(at, f"d_{name}")[:, 0], slope, rtol=1e-5)
  if path == "variance_preserving":
    np.testing.assert_allclose(at.alpha**2 + at.sigma**2, 1, rtol=1e-6)


@pytest.mark.parametrize("path", paths.PATHS)
@pytest.mark.parametrize("prediction", paths.PREDICTIONS)
def test_every_prediction_gives_x_noise_and_velocity(path, prediction):
  at = paths.point(path, T)
  x_t, right = at.alpha * X + at.sigma * NOISE, paths.target(prediction, at, X, NOISE)
  x, noise = paths.parts(prediction, at, x_t, right)
  np.testing.assert_allclose(x, X, atol=1e-4)
  np.testing.assert_allclose(noise, NOISE, atol=1e-4)
  np.testing.assert_allclose(
    paths.velocity(prediction, at, x_t, right), at.d_alpha * X + at.d_sigma * NOISE, atol=1e-4, rtol=1e-4
  )
  # an error of the prediction, in the units of the velocity
  wrong = right + 0.1
  gap = paths.velocity(prediction, at, x_t, wrong) - paths.velocity(prediction, at, x_t, right)
  np.testing.assert_allclose(
    jnp.square(gap), 0.01 * paths.velocity_weight(prediction, at) * jnp.ones((4, 3)), rtol=2e-2
  )


@pytest.mark.parametrize("path", paths.PATHS)
def test_the_posterior_variance_is_that_of_the_joint_normal(path):
  """Var(x_s | x_t, x) from the covariance of (x_s, x_t) given x, where x_t is a forward step from x_s."""
  before, now = paths.point(path, T - 0.04), paths.point(path, T)
  shrink = now.alpha / before.alpha
  covariance = shrink * before.sigma**2
  right = before.sigma**2 - covariance**2 / now.sigma**2
  np.testing.assert_allclose(paths.posterior_variance(now, before), right, rtol=1e-4, atol=1e-7)
  step = paths.forward_step(before, now, jnp.zeros(1), jnp.ones(1))
  np.testing.assert_allclose(step**2 + (shrink * before.sigma) ** 2, now.sigma**2, rtol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_reverse_steps_keep_the_marginals_and_add_the_variance_of_eta(eta):
  """From the true x and noise of each x_t, x_s has mean alpha_s x and variance sigma_s^2, whatever eta is."""
  now, before = (paths.point("optimal_transport", jnp.asarray(t)) for t in (0.6, 0.5))
  noise, fresh = jax.random.normal(jax.random.key(0), (2, 200_000))
  x_s = paths.reverse_step(now, before, jnp.full(200_000, 2.0), noise, fresh, eta)
  assert float(x_s.mean()) == pytest.approx(1.0, abs=4 * 0.5 / 200_000**0.5)
  assert float(x_s.var()) == pytest.approx(0.25, rel=4 * (2 / 200_000) ** 0.5)
  given = paths.reverse_step(now, before, jnp.full(200_000, 2.0), jnp.zeros(()), fresh, eta)
  assert float(given.var()) == pytest.approx(
    eta**2 * float(paths.posterior_variance(now, before)), rel=4 * (2 / 200_000) ** 0.5, abs=1e-9
  )


def test_a_path_of_log_snr_preserves_variance():
  gamma = jnp.linspace(-8.0, 8.0, 9)
  at = paths.from_log_snr(gamma)
  np.testing.assert_allclose(at.alpha**2 + at.sigma**2, 1, rtol=1e-5)
  np.testing.assert_allclose(jnp.log(at.sigma**2 / at.alpha**2), gamma, atol=1e-4)
  np.testing.assert_allclose(jax.vmap(jax.grad(lambda g: paths.from_log_snr(g).alpha))(gamma), at.d_alpha, rtol=1e-4)
  np.testing.assert_allclose(jax.vmap(jax.grad(lambda g: paths.from_log_snr(g).sigma))(gamma), at.d_sigma, rtol=1e-4)

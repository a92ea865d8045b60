"""Expected improvement against Monte Carlo, quadrature in float64, and in its tail."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.stats

from dgm_jax.inference import acquisition

MEAN, DEVIATION, BEST = np.array([0.0, 1.0, -0.5, 3.0]), np.array([1.0, 0.5, 2.0, 0.7]), 0.3


def test_it_is_the_mean_of_the_improvement():
  f = MEAN + DEVIATION * np.asarray(jax.random.normal(jax.random.key(0), (200_000, 4)))
  gain = np.maximum(BEST - f, 0)
  error = gain.std(0) / np.sqrt(len(f))
  found = acquisition.expected_improvement(MEAN, DEVIATION, BEST)
  assert (np.abs(gain.mean(0) - found) < 4.5 * error + 1e-7).all()


def test_the_logarithm_is_right_far_below_and_smooth():
  for u in (-1.0, -3.99, -4.01, -6.0, -20.0):
    shift = scipy.stats.norm.logpdf(u)  # E[(u - e)+] / phi(u), in float64
    ratio = lambda t, u=u: t * np.exp(scipy.stats.norm.logpdf(u - t) - scipy.stats.norm.logpdf(u))
    expected = np.log(scipy.integrate.quad(ratio, 0, 40)[0]) + shift
    found = acquisition.log_expected_improvement(jnp.asarray(-u), jnp.asarray(1.0), 0.0)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
  slope = jax.vmap(jax.grad(lambda m: acquisition.log_expected_improvement(m, 1.0, 0.0)))(jnp.linspace(-5.0, 30.0, 50))
  assert bool(jnp.isfinite(slope).all()) and bool((slope < 0).all())

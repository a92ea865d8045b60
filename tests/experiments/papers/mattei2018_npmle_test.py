"""Non-parametric maximum likelihood: EM from below and the certificate from above, against brute force in 1-D."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.experiments.papers.mattei2018 import npmle

FLOOR = 0.2


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def points(n=7, spread=1.0):
  return jnp.asarray(spread * np.random.default_rng(1).normal(size=(n, 1)))


@functools.cache
def brute_force(spread):
  """(the best mean log-likelihood over a fine grid of means and variances, the densities [N, G] of the grid)."""
  x = np.asarray(points(spread=spread))
  grid = np.linspace(x.min(), x.max(), 201)
  mean, variance = (a.ravel() for a in np.meshgrid(grid, FLOOR * np.geomspace(1, 20 * spread**2, 15)))
  density = scipy.stats.norm(mean, np.sqrt(variance)).pdf(x)  # [N, G]
  weight = np.full(len(mean), 1 / len(mean))
  for _ in range(5000):  # EM in the weights alone: concave
    weight = weight * ((density / (density @ weight)[:, None]).mean(0))
  gradient = (density / (density @ weight)[:, None]).mean(0).max()
  assert np.log(gradient) < 4e-3  # the weights are this close to the grid's optimum
  return float(np.log(density @ weight).mean()), density


def test_log_density_matches_scipy():
  rng = np.random.default_rng(0)
  x, mean, variance = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.uniform(0.5, 2, (4, 3))
  weight = rng.dirichlet(np.ones(4))
  each = np.stack([scipy.stats.norm(m, np.sqrt(v)).logpdf(x).sum(1) for m, v in zip(mean, variance, strict=True)], 1)
  mixture = npmle.Mixture(*map(jnp.asarray, (np.log(weight), mean, variance)))
  np.testing.assert_allclose(npmle.log_normal(jnp.asarray(x), mixture.mean, mixture.variance), each, rtol=1e-10)
  np.testing.assert_allclose(
    npmle.log_prob(jnp.asarray(x), mixture, chunk=2), np.log(np.exp(each) @ weight), rtol=1e-10
  )


def test_em_never_lowers_the_likelihood_and_chunks_change_nothing():
  x = jnp.asarray(np.random.default_rng(2).normal(size=(23, 2)))
  mixture = npmle.Mixture(jnp.full(23, -math.log(23)), x, jnp.full_like(x, FLOOR))
  step, whole = (jax.jit(lambda m, c=c: npmle.em_step(x, m, npmle.log_prob(x, m), FLOOR, c)) for c in (5, 23))
  values = []
  for _ in range(30):
    values.append(float(npmle.log_prob(x, mixture).mean()))
    other = whole(mixture)
    mixture = step(mixture)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), mixture, other)
    assert (mixture.variance >= FLOOR).all()
    assert jnp.exp(mixture.log_weight).sum() == pytest.approx(1)
  assert (np.diff(values) > -1e-12).all()
  assert values[-1] > values[0] + 0.01
  found = npmle.fit(x, FLOOR, max_steps=29, tolerance=-1.0)
  assert (float(found.log_px), int(found.steps)) == (pytest.approx(values[-1]), 29)


@pytest.mark.parametrize("spread", [1.0, 4.0])
@pytest.mark.parametrize("steps", [0, 3, 2000])
def test_the_best_mixture_lies_between_em_and_the_certificate(spread, steps):
  """For any G, good or bad: the grid's optimum is at most log-lik(G) + the greatest gradient <= the certificate."""
  x = points(spread=spread)
  best, density = brute_force(spread)
  found = npmle.fit(x, FLOOR, max_steps=steps, tolerance=0.0)
  log_px = npmle.log_prob(x, found.mixture)
  gradient = float(np.log((density / np.exp(np.asarray(log_px))[:, None]).mean(0).max()))  # by brute force
  searched = float(npmle.search(x, log_px, found.mixture, FLOOR, 200))
  certified = float(npmle.certificate(x, log_px, FLOOR))
  assert found.log_px <= best + 2e-3
  assert best <= float(found.log_px) + gradient + 1e-9
  assert gradient <= certified + 1e-9
  assert searched <= certified + 1e-9
  assert searched == pytest.approx(gradient, abs=2e-3)  # in one dimension the climb finds the maximum
  if steps == 2000:
    assert found.log_px == pytest.approx(best, abs=5e-3)
    assert searched < 0.02


def test_points_far_apart_get_a_component_each_and_a_certificate_that_is_tight():
  x = jnp.asarray(np.random.default_rng(3).integers(0, 2, (20, 300)).astype(float))
  found = npmle.fit(x, FLOOR)
  peak = -150 * math.log(2 * math.pi * FLOOR)
  assert float(found.log_px) == pytest.approx(peak - math.log(20))
  assert float(npmle.certificate(x, npmle.log_prob(x, found.mixture), FLOOR)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("reach", [0.5 * FLOOR, 4 * FLOOR, 30 * FLOOR])
def test_the_slope_is_the_greatest_that_bounds_a_pair(reach):
  u = np.linspace(0, reach, 101)[1:]
  s = FLOOR * np.geomspace(1, 100, 20_001)[:, None]
  fall = -(-0.5 * np.log(s / FLOOR) - u / (8 * s)).max(0)  # of the maximum over s, by brute force
  c = float(npmle.slope(reach, FLOOR))
  assert (c * u <= fall + 1e-9).all()
  assert c * reach == pytest.approx(fall[-1], abs=1e-6)


def test_the_pair_bound_holds_for_any_normal():
  """max_i sum_j a_j exp(-c |x_j - x_i|^2) against sum_j a_j N(x_j; m, s) at many random (m, s), unequal a_j."""
  rng = np.random.default_rng(4)
  x = rng.normal(size=(12, 3))
  log_px = rng.normal(-8, 1, 12)
  bound = float(npmle.certificate(jnp.asarray(x), jnp.asarray(log_px), FLOOR))
  mean = np.concatenate([x, 0.5 * (x[:6] + x[6:]), rng.normal(size=(3000, 3))])
  variance = FLOOR * np.exp(rng.exponential(1, (len(mean), 3)) * (np.arange(len(mean))[:, None] % 3 > 0))
  log_n = np.asarray(npmle.log_normal(jnp.asarray(x), jnp.asarray(mean), jnp.asarray(variance)))
  values = np.log(np.exp(log_n - log_px[:, None]).mean(0))
  assert values.max() <= bound + 1e-9
  assert values.max() > bound - 2.0


def test_a_normal_between_two_clusters_is_within_the_bound():
  """It is half as far from each cluster as they are apart: without the factor 1/2 the bound would be too small."""
  x = jnp.asarray(np.repeat([-0.35, 0.35], 5)[:, None])
  log_px = jnp.full(10, -1.0)
  middle = npmle.log_normal(x, jnp.zeros((1, 1)), jnp.full((1, 1), FLOOR))[:, 0]
  value = float(jnp.log(jnp.mean(jnp.exp(middle - log_px))))
  bound = float(npmle.certificate(x, log_px, FLOOR))
  assert value <= bound <= value + 0.2

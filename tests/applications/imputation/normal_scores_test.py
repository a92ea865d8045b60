"""Monotone maps to normal scores: densities, inverses and slopes."""

import numpy as np
import pytest
import scipy.stats

from dgm_jax.applications.imputation import normal_scores

G = np.random.default_rng(0)
SAMPLES = {
  "skewed": G.exponential(size=3000) ** 2,
  "two modes": np.concatenate([G.normal(-3, 0.1, 500), G.normal(4, 2, 500)]),
  "ties": np.round(G.normal(size=2000), 1),
  "three values": np.array([1.0, 1.0, 2.0, 5.0, 5.0, 5.0]),
  "one value": np.full(5, 7.0),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_density_integrates_to_1(name):
  """The integral of N(f(x); 0, 1) f'(x), piece by piece: f is linear between knots."""
  f = normal_scores.fit(SAMPLES[name])
  z = np.concatenate([[-12.0], f.z, [12.0]])
  edges = f.inverse(z)
  assert (np.diff(edges) > 0).all()
  parts = np.linspace(edges[:-1], edges[1:], 201)
  middle, width = (parts[1:] + parts[:-1]) / 2, np.diff(parts, axis=0)
  density = scipy.stats.norm.pdf(f.forward(middle)) * np.exp(f.log_slope(middle))
  assert (density * width).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_inverse_inverts_and_the_slope_is_the_derivative(name):
  f = normal_scores.fit(SAMPLES[name])
  x = np.concatenate([G.choice(SAMPLES[name], 50), [f.x[0] - 3, f.x[-1] + 3]]) + 1e-3 * G.normal(size=52)
  np.testing.assert_allclose(f.inverse(f.forward(x)), x, rtol=1e-9, atol=1e-9)
  step = 1e-8
  apart = np.abs(x[:, None] - f.x).min(1) > 2 * step
  slope = (f.forward(x + step) - f.forward(x - step)) / (2 * step)
  np.testing.assert_allclose(np.log(slope[apart]), f.log_slope(x)[apart], atol=1e-4)


def test_scores_of_a_sample_are_nearly_normal():
  z = normal_scores.fit(SAMPLES["skewed"]).forward(SAMPLES["skewed"])
  assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
  assert scipy.stats.kstest(z, "norm").statistic < 0.01
  assert np.isnan(normal_scores.fit(SAMPLES["skewed"]).forward(np.array([np.nan]))).all()

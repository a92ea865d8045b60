"""The Frechet distance: closed forms, its bias, its standard error and its extrapolation, and degenerate sets."""

import numpy as np
import pytest
import scipy.linalg

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import frechet, moments

RNG = np.random.default_rng(0)


def made(dim, seed):
  rng = np.random.default_rng(seed)
  root = np.eye(dim) + 0.3 * rng.normal(size=(dim, dim))
  return frechet.Moments(rng.normal(size=dim), root @ root.T, 100)


@pytest.mark.parametrize("dim", [1, 3, 20])
def test_equals_the_matrix_root_of_scipy(dim):
  p, q = made(dim, 1), made(dim, 2)
  root = scipy.linalg.sqrtm(p.covariance @ q.covariance).real
  exact = np.sum((p.mean - q.mean) ** 2) + np.trace(p.covariance + q.covariance - 2 * root)
  assert frechet.from_moments(p, q) == pytest.approx(exact, rel=1e-6)
  assert frechet.from_moments(q, p) == pytest.approx(exact, rel=1e-6)


def test_commuting_covariances_have_the_closed_form_whether_or_not_they_are_singular():
  basis = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
  for a, b in (([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]), ([1, 2, 0, 0, 5, 6], [6, 0, 4, 0, 2, 1]), ([0] * 6, [0] * 6)):
    p, q = (frechet.Moments(m * np.ones(6), (basis * v) @ basis.T, 9) for m, v in ((0.5, a), (0.0, b)))
    exact = 1.5 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet.from_moments(p, q) == pytest.approx(exact, abs=1e-7)


def test_both_ways_of_taking_roots_agree():
  p, q = made(8, 3), made(8, 4)
  regular = frechet._regular(p.covariance, q.covariance)
  np.testing.assert_allclose(np.sort(frechet._singular(p.covariance, q.covariance).roots), regular.roots, rtol=1e-9)
  np.testing.assert_allclose(regular.forward @ p.covariance @ regular.forward, q.covariance, atol=1e-9)  # T A T = B
  np.testing.assert_allclose(regular.forward @ regular.backward, np.eye(8), atol=1e-9)
  alone = frechet._regular(p.covariance, q.covariance, maps=False)
  np.testing.assert_allclose(alone.roots, regular.roots, rtol=1e-9)
  assert alone.forward is None


def test_moments_are_those_of_numpy_in_any_blocks(monkeypatch):
  x = (3 + RNG.normal(size=(101, 7))).astype("f")
  monkeypatch.setattr(moments, "ROWS", 40)
  found = moments.moments(x)
  np.testing.assert_allclose(found.mean, x.mean(0, dtype="d"), rtol=1e-12)
  np.testing.assert_allclose(found.covariance, np.cov(x.astype("d").T), rtol=1e-9)


def test_moments_of_the_whole_are_put_together_from_those_of_its_parts():
  x = (30 + RNG.normal(size=(103, 5)) * np.arange(1, 6)).astype("f")
  whole, found = moments.moments(x), moments.divided(x, 4)
  np.testing.assert_allclose(found.whole.mean, whole.mean, rtol=1e-13)
  np.testing.assert_allclose(found.whole.covariance, whole.covariance, rtol=1e-9)
  assert (found.whole.size, [p.size for p in found.parts]) == (103, [26, 26, 26, 25])
  np.testing.assert_array_equal(found.parts[3].covariance, moments.moments(x[78:]).covariance)
  y = RNG.normal(size=(90, 5))
  halves = moments.divided(x, 2), moments.divided(y, 2)
  assert frechet.num_parts(103, 90, 5, 2) == 2
  known = frechet.infinity(x, y, None, *halves, most=2)
  assert known[:3] == pytest.approx(frechet.infinity(x, y, most=2)[:3], rel=1e-9)


@pytest.mark.parametrize("n,repeats", [(500, 40), (2000, 25)])
def test_equal_laws_have_the_bias_of_the_formula_and_none_when_extrapolated(n, repeats):
  """Mean d^2 = 2d/n + d(d + 1)/(2n), and `infinity` is 0."""
  d, values, limits, claimed = 64, [], [], []
  for _ in range(repeats):
    x, y = RNG.normal(size=(2, n, d)).astype("f")
    found = frechet.frechet(x, y)
    limit = frechet.infinity(x, y, found)
    assert found.stderr is None
    assert "below 3 times its bias" in found.why
    assert abs(limit.value) < 4 * limit.stderr
    values.append((found.value, found.bias))
    limits.append(limit.value)
    claimed.append(limit.stderr)
  formula = 2 * d / n + d * (d + 1) / (2 * n)
  error = np.std(values, 0, ddof=1) / repeats**0.5
  assert abs(np.mean(values, 0)[0] - formula) < 3 * error[0]
  assert np.mean(values, 0)[1] == pytest.approx(formula, rel=4 * d / n)  # of estimated eigenvalues
  assert abs(np.mean(limits)) < 3 * np.std(limits, ddof=1) / repeats**0.5
  assert 0.6 < np.mean(claimed) / np.std(limits, ddof=1) < 2.5  # conservative: with a linear term, which vanishes here


@pytest.mark.parametrize("draw", [lambda *s: RNG.normal(size=s), lambda *s: RNG.standard_t(6, size=s)])
def test_the_standard_error_is_the_spread_of_repeats(draw):
  scale = 1 + 0.5 * np.arange(8)
  values, claimed, limits, stated = [], [], [], []
  for _ in range(200):
    x, y = draw(600, 8) * scale + 1.0, draw(900, 8)
    found = frechet.frechet(x, y)
    values.append(found.value)
    claimed.append(found.stderr)
    if len(limits) < 60:
      limit = frechet.infinity(x, y, found)
      limits.append(limit.value)
      stated.append(limit.stderr)
  assert np.mean(claimed) == pytest.approx(np.std(values, ddof=1), rel=0.2)
  assert np.mean(stated) == pytest.approx(np.std(limits, ddof=1), rel=0.35)


def test_both_sides_count_in_the_standard_error():
  """With many real examples the samples' part remains, with many samples the real examples' part."""
  for n, m in ((200, 20_000), (20_000, 200)):
    values, claimed = [], []
    for _ in range(60):
      found = frechet.frechet(1 + 2 * RNG.normal(size=(n, 2)), RNG.normal(size=(m, 2)))
      values.append(found.value)
      claimed.append(found.stderr)
    assert np.mean(claimed) == pytest.approx(np.std(values, ddof=1), rel=0.25)


def test_directions_without_variance_in_either_set_change_nothing():
  x, y = 1 + 2 * RNG.normal(size=(400, 3)), RNG.normal(size=(500, 3))
  plain = frechet.frechet(x, y)
  wide = frechet.frechet(*(np.pad(a, ((0, 0), (0, 4))) for a in (x, y)))
  assert wide.value == pytest.approx(plain.value, rel=1e-9)
  assert wide.stderr == pytest.approx(plain.stderr, rel=1e-5)


def test_degenerate_sets_have_finite_distances_and_say_why_there_is_no_error():
  few, y = RNG.normal(size=(20, 50)).astype("f"), RNG.normal(size=(300, 50)).astype("f")
  constant = np.ones((20, 50), "f")
  for x, real in ((few, y), (few, few), (constant, y), (constant, constant), (y, constant)):
    found = frechet.frechet(x, real)
    assert np.isfinite(found.value)
    assert found.value >= 0
    assert found.stderr is None
    assert "singular" in found.why or x is real
  assert frechet.frechet(few, few).value < 1e-6
  assert frechet.frechet(y, y).value < 1e-6
  collapsed = frechet.frechet(constant, y)
  exact = np.sum((1 - y.mean(0, dtype="d")) ** 2) + np.trace(np.cov(y.astype("d").T))
  assert collapsed.value == pytest.approx(exact, rel=1e-9)
  assert "too few" in frechet.infinity(few, y).why


def test_one_sample_raises_a_user_error():
  with pytest.raises(errors.UserError, match="at least 2 samples; there are 1"):
    frechet.frechet(np.zeros((1, 3)), np.zeros((5, 3)))

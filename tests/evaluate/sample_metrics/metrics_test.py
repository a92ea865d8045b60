"""Kernel distance, precision to coverage, class score, nearest neighbours, memorisation, modes and Parzen windows."""

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity, KNeighborsClassifier

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import classes, distances, kernel, manifold, memorisation, modes, named, parzen
from dgm_jax.evaluate.sample_metrics.embedded import Embedded, Sets

RNG = np.random.default_rng(1)


def test_the_kernel_distance_equals_a_double_loop(monkeypatch):
  x, y = RNG.normal(size=(9, 4)), 0.5 + RNG.normal(size=(7, 4))
  k = lambda a, b: (a @ b / 4 + 1) ** 3
  within = lambda s: np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j])
  exact = within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])
  assert kernel.kernel(x, y).value == pytest.approx(exact, rel=1e-12)
  monkeypatch.setattr(distances, "_BLOCK_BYTES", 8 * 7 * 2)  # two rows at a time
  assert kernel.kernel(x, y).value == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("shift,repeats", [(0.0, 200), (0.7, 200)])
def test_the_kernel_distance_is_unbiased_and_its_error_is_the_spread_of_repeats(shift, repeats):
  found = np.array([kernel.kernel(shift + RNG.normal(size=(80, 3)), RNG.normal(size=(120, 3))) for _ in range(repeats)])
  spread = found[:, 0].std(ddof=1)
  if not shift:
    assert abs(found[:, 0].mean()) < 3 * spread / repeats**0.5
    assert (found[:, 0] < 0).any()
  assert (found[:, 1] ** 2).mean() ** 0.5 == pytest.approx(spread, rel=0.2)


def brute(x, y, k):
  """Precision, recall, density, coverage by loops over all pairs."""
  d = lambda a, b: np.linalg.norm(a[:, None] - b[None], axis=-1)
  radius = lambda s: np.sort(d(s, s), 1)[:, k]  # entry 0 is the point itself
  inside_real, inside_fake = d(x, y) < radius(y), d(y, x) < radius(x)
  shares = inside_real.any(1).mean(), inside_fake.any(1).mean(), inside_real.sum() / k / len(x)
  return *shares, inside_real.any(0).mean()


def test_manifold_equals_a_brute_force_count(monkeypatch):
  x, y = 0.3 + 0.9 * RNG.normal(size=(60, 3)), RNG.normal(size=(80, 3))
  for _ in range(2):
    np.testing.assert_allclose(manifold.manifold(x, y, 3), brute(x, y, 3), rtol=1e-12)
    monkeypatch.setattr(distances, "_BLOCK_BYTES", 8 * 80 * 7)  # seven rows at a time


def test_sets_that_do_not_fit_in_double_precision_give_the_same_numbers(monkeypatch):
  x, y, t = ((30 + RNG.normal(size=(n, 3))).astype("f") for n in (41, 50, 60))
  metrics = (
    lambda: manifold.manifold(x, y, 3),
    lambda: kernel.kernel(x, y),
    lambda: memorisation.memorisation(x, y, t, 2)[:6],
    lambda: classes.nearest(x, np.arange(41) % 3, y, np.arange(50) % 3),
    lambda: memorisation.support(x, 0.5)[:3],
  )
  whole = [f() for f in metrics]
  monkeypatch.setattr(distances, "_WHOLE_BYTES", 0)
  monkeypatch.setattr(distances, "_ROWS", 7)
  monkeypatch.setattr(distances, "_BLOCK_BYTES", 8 * 11)
  for f, expected in zip(metrics, whole, strict=True):
    assert f() == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_a_collapsed_model_has_precision_one_and_recall_zero():
  y, k = RNG.normal(size=(200, 5)) + 50.0, 5
  for i in range(5):
    x = np.repeat(y[i : i + 1], 90, 0)
    d = np.linalg.norm(y[:, None] - y[None], axis=-1)
    c = int((np.sort(d, 1)[:, k] > d[i] + 1e-9).sum())  # real balls that contain the picture
    found = manifold.manifold(x, y, k)
    assert found == pytest.approx((1.0, 0.0, c / k, c / 200), rel=1e-12)


def test_equal_laws_have_density_one_and_the_expected_coverage():
  found = np.array([manifold.manifold(RNG.normal(size=(120, 6)), RNG.normal(size=(90, 6)), 4) for _ in range(150)])
  error = found.std(0, ddof=1) / 150**0.5
  assert abs(found[:, 2].mean() - 1) < 3 * error[2]
  assert abs(found[:, 3].mean() - manifold.expected_coverage(90, 120, 4)) < 3 * error[3]
  assert manifold.expected_coverage(10_000, 10_000, 5) == pytest.approx(1 - 2**-5, abs=1e-3)


def test_class_score_of_known_probabilities():
  sure = np.eye(4)[np.arange(400) % 4]
  assert classes.class_score(sure, 10) == pytest.approx((4.0, 0.0))
  assert classes.class_score(np.full((40, 4), 0.25), 1) == (pytest.approx(1.0), None)
  probs = RNG.dirichlet(np.ones(3), 50)
  information = np.mean(np.sum(probs * np.log(probs), 1)) - np.sum(probs.mean(0) * np.log(probs.mean(0)))
  assert classes.class_score(probs, 1).value == pytest.approx(np.exp(information))


def test_nearest_neighbour_accuracies_are_those_of_scikit_learn():
  y, x = RNG.integers(0, 3, 150), RNG.integers(0, 3, 90)
  real, samples = (c[:, None] + RNG.normal(size=(len(c), 2)) for c in (y, x))
  found = classes.nearest(samples, x, real, y)
  score = lambda a, b, c, d: KNeighborsClassifier(1).fit(a, b).score(c, d)
  assert found.by_samples == pytest.approx(score(samples, x, real, y))
  assert found.of_samples == pytest.approx(score(real, y, samples, x))


def draws(n=500):
  return RNG.normal(size=(n, 8))


@pytest.mark.parametrize("cells", [1, 5])
def test_memorisation_tells_copies_from_fresh_draws(cells):
  z, near = [], []
  for _ in range(20):
    training = draws()
    found = memorisation.memorisation(draws(), draws(), training, cells)
    z.append((found.z, found.mean_z * found.cells**0.5))
    near.append(found.near)
  z = np.array(z)
  assert np.abs(z[:, 0]).max() < 3
  assert abs(z[:, 0].mean()) < 4 / 20**0.5
  assert 0.5 < z[:, 0].std(ddof=1) < 1.6
  assert np.abs(z[:, 1]).max() < 4
  assert abs(np.mean(near) - 0.01) < 0.01
  copies = training + 1e-3 * draws()
  assert memorisation.memorisation(copies, draws(), training, cells).z < -20
  assert memorisation.memorisation(copies, draws(), training, cells).near == 1
  fifth = [
    memorisation.memorisation(np.concatenate([copies[:100], draws(400)]), draws(), training, cells) for _ in range(8)
  ]
  assert np.mean([m.z for m in fifth]) < -3
  assert np.mean([m.near for m in fifth]) == pytest.approx(0.2, abs=0.03)
  assert memorisation.memorisation(1.7 * draws(), draws(), training, cells).z > 10


def test_copies_in_one_cell_are_seen_though_samples_are_too_wide_in_another():
  centre = 20.0 * np.eye(8)[0]
  training = np.concatenate([draws(), centre + draws()])
  held_out = np.concatenate([draws(), centre + draws()])
  samples = np.concatenate([training[:500] + 1e-3, centre + 2 * draws()])
  found = memorisation.memorisation(samples, held_out, training, 2)
  assert found.cells == 2
  assert abs(found.z) < 8  # both faults cancel in the sum
  assert found.least_z < -15 and found.near > 0.4  # but not here
  fair = memorisation.memorisation(np.concatenate([draws(), centre + draws()]), held_out, training, 2)
  assert abs(fair.least_z) < 3.5


def test_closest_pairs_are_those_of_a_brute_force_search():
  training, samples = draws(50), draws(40)
  found = memorisation.memorisation(samples, draws(30), training, num_pairs=3)
  d = np.linalg.norm(samples[:, None] - training[None], axis=-1)
  assert found.pairs[:, 0].tolist() == np.argsort(d.min(1))[:3].tolist()
  assert found.pairs[:, 1].tolist() == d[found.pairs[:, 0]].argmin(1).tolist()
  np.testing.assert_allclose(found.distances, np.sort(d.min(1))[:3])


def test_mann_whitney_of_ties_is_that_of_enumeration():
  excess, variance = memorisation.mann_whitney(np.array([1.0, 2.0, 2.0]), np.array([2.0, 3.0]))
  assert excess == pytest.approx(0.5 * 2 - 3)  # each 2 ties with one 2
  pool, found = [1.0, 2.0, 2.0, 2.0, 3.0], []
  for i in range(5):
    for j in range(i):
      second = [pool[i], pool[j]]
      first = [v for k, v in enumerate(pool) if k not in (i, j)]
      found.append(sum((a > b) + 0.5 * (a == b) for a in first for b in second))
  assert variance == pytest.approx(np.var(found))


def test_the_birthday_test_finds_a_known_support():
  sizes = []
  for _ in range(40):
    found = memorisation.support(RNG.normal(size=(1000, 2))[RNG.integers(0, 1000, 600)], 0.0)
    sizes.append((found.size, found.stderr, found.at_least))
  sizes = np.array(sizes)
  spread = sizes[:, 0].std(ddof=1)
  assert abs((1 / sizes[:, 0]).mean() - 1e-3) < 4 * (1 / sizes[:, 0]).std(ddof=1) / 40**0.5
  assert sizes[:, 1].mean() == pytest.approx(spread, rel=0.35)
  assert (sizes[:, 2] <= 1000).mean() >= 0.85
  none = memorisation.support(draws(100), 1e-6)
  assert (none.size, none.stderr) == (None, None)
  assert none.at_least == pytest.approx(100 * 99 / 2 / 3)


def test_modes_of_points_made_by_hand():
  centres, scales = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]]), np.array([0.1, 0.2])
  samples = np.array([[0.0, 0.0], [0.2, 0.4], [0.31, 0.0], [4.0, 0.59], [4.0, 0.61], [4.0, 4.0]])
  found = modes.of_points(samples, centres, scales)
  share = np.array([2, 1, 1]) / 4
  exact = (3, 4, 4 / 6, np.sum(share * np.log(4 * share)))
  assert found == pytest.approx(exact)
  assert modes.of_points(samples + 100, centres, scales) == pytest.approx((0, 4, 0.0, np.log(4)))
  even = modes.of_points(centres, centres, scales)
  assert even == pytest.approx((4, 4, 1.0, 0.0))


def test_modes_of_classes_made_by_hand():
  found = modes.of_classes(np.array([0, 0, 1, 3]), np.array([10, 10, 20, 0]))
  share = np.array([2, 1]) / 3
  assert found == pytest.approx((2, 3, 0.75, np.sum(share * np.log(share / 0.25))))


def test_modes_of_stacked_digits_are_measured_against_the_uniform_law():
  """Whatever numbers the real examples show: a number that they lack is a mode, too (Lin et al., 2018)."""
  of = lambda mode: Embedded(np.zeros((len(mode), 1)), mode=np.asarray(mode), labels=np.asarray(mode))
  sets = Sets(of([0, 0, 1, 3]), of([0, 0, 0, 1]))
  found = named.of_samples(("modes",), sets, named.Options(uniform=4))
  share = np.array([2, 1, 1]) / 4
  assert (found["modes"], found["modes_total"], found["modes_share"]) == (3, 4, 1.0)
  assert found["modes_reverse_kl"] == pytest.approx(np.sum(share * np.log(4 * share)))


def test_parzen_windows_are_those_of_scikit_learn(monkeypatch):
  centres, x = RNG.random((50, 6)), RNG.random((20, 6))
  monkeypatch.setattr(distances, "_BLOCK_BYTES", 8 * 50 * 3)
  found = parzen.parzen(centres, x)
  assert found.shape == (10, 20)
  for sigma, row in zip(parzen.SIGMAS, found, strict=True):
    known = KernelDensity(bandwidth=sigma, rtol=1e-12).fit(centres).score_samples(x)
    np.testing.assert_allclose(row, known, rtol=1e-9)
  values, best = parzen.chosen(centres, x[:10], x[10:])
  assert best == parzen.SIGMAS[found[:, :10].mean(1).argmax()]
  np.testing.assert_allclose(values, found[parzen.SIGMAS.index(best), 10:])


@pytest.mark.parametrize("call,named", [
  (lambda: kernel.kernel(np.ones((1, 2)), np.ones((3, 2))), "at least 2 samples and 2 real examples"),
  (lambda: manifold.manifold(np.ones((5, 2)), np.ones((9, 2)), 5), "neighbours = 5; it must be 1 to 4"),
  (lambda: classes.class_score(np.ones((5, 2)), 6), "splits = 6; it must be 1 to 5"),
  (lambda: memorisation.memorisation(draws(9), draws(2), draws(9)), "5 or more samples and held-out examples"),
  (lambda: memorisation.memorisation(draws(9), draws(9), draws(9), 10), "cells = 10; it must be 1 to 9"),
])  # fmt: skip
def test_sets_that_are_too_small_raise_user_errors(call, named):
  with pytest.raises(errors.UserError, match=named):
    call()

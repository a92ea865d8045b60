"""Measures of colours against hand-made pictures and plain loops, and the numbers of answers that know nothing."""

import itertools

import numpy as np
import pytest

from dgm_jax.core import colour_spaces
from dgm_jax.data.sets import cifar10
from dgm_jax.distributions import colour_bins
from dgm_jax.evaluate import colour_measures

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 6, 7, 3), np.uint8)
TRUE = colour_measures.lab_of_levels(RGB)
ONES = np.ones(colour_bins.NUM_BINS)


def test_the_area_of_a_pixel_is_that_of_the_curve():
  distance = np.concatenate([[0.0, 1.0, 149.5, 150.0, 150.5], RNG.exponential(20, 500)])
  curve = [(distance <= t).mean() for t in range(151)]
  by_trapezoids = sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / 150
  np.testing.assert_allclose(colour_measures.area(distance).mean(), by_trapezoids, rtol=1e-12)


def test_colourfulness_of_pictures_by_hand():
  grey = np.full((1, 4, 4, 3), 0.3)
  red = np.zeros((1, 4, 4, 3))
  red[..., 0] = 1.0
  halves = red.copy()
  halves[:, :2] = 0.0  # black and red: rg and yb have means 127.5, 63.75 and standard deviations of the same size
  expected = [0.0, 0.3 * np.hypot(255, 127.5), 1.3 * np.hypot(127.5, 63.75)]
  found = [colour_measures.colourfulness(x)[0] for x in (grey, red, halves)]
  np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_truth_is_perfect_and_known_errors_have_their_size():
  perfect = colour_measures.per_image(TRUE[..., 1:], RGB, ONES)
  np.testing.assert_allclose(
    [perfect[k].mean() for k in ("within_2", "within_5", "auc", "clipped")], [100, 100, 100, 0]
  )
  np.testing.assert_allclose(perfect["mae"], 0, atol=1e-5)
  assert colour_measures.summary(perfect)["psnr"] == pytest.approx(100, abs=0.1)  # the least error that is measured
  moved = TRUE[..., 1:] + [3.0, -3.9]
  far = colour_measures.per_image(moved, RGB, ONES)
  np.testing.assert_allclose(far["auc"], 100 * (150.5 - 5) / 150)  # 4 < |(3, -3.9)| < 5
  assert far["within_5"].mean() == 100


def test_numbers_equal_plain_loops():
  ab = TRUE[..., 1:] + RNG.normal(0, 8, (5, 6, 7, 2))
  found = colour_measures.per_image(ab, RGB, ONES)
  lab = np.concatenate([TRUE[..., :1], ab], -1)
  raw = colour_spaces.rgb_of_lab(lab, np)
  for i in range(5):
    shown, near, clipped = np.clip(raw[i], 0, 1), {2: 0, 5: 0}, 0
    for level in near:
      for p, t in zip(lab[i].reshape(-1, 3), TRUE[i].reshape(-1, 3), strict=True):
        off = abs(np.round(p) - np.round(t))
        near[level] += off[0] <= level and off[1] <= 2.2 * level and off[2] <= 2.2 * level
      assert found[f"within_{level}"][i] == pytest.approx(100 * near[level] / 42)
    clipped = sum(any(c < -1 / 510 or c > 1 + 1 / 510 for c in p) for p in raw[i].reshape(-1, 3))
    assert found["clipped"][i] == pytest.approx(100 * clipped / 42)
    assert found["mae"][i] == pytest.approx(100 * abs(shown - RGB[i] / 255).mean())
    assert found["square_error"][i] == pytest.approx(((shown - RGB[i] / 255) ** 2).mean())


def test_equal_weights_make_the_rebalanced_area_the_plain_one_and_others_count_pixels():
  ab = TRUE[..., 1:] + RNG.normal(0, 8, (5, 6, 7, 2))
  plain = colour_measures.summary(colour_measures.per_image(ab, RGB, 3 * ONES))
  assert plain["auc_rebalanced"] == pytest.approx(plain["auc"])
  assert plain["auc_rebalanced_stderr"] == pytest.approx(plain["auc_stderr"])
  bins = np.asarray(colour_bins.nearest(TRUE[..., 1:].astype(np.float32)))
  one = np.where(np.arange(colour_bins.NUM_BINS) == bins[0, 0, 0], 1.0, 0.0)
  areas = colour_measures.area(np.linalg.norm(ab - TRUE[..., 1:], axis=-1))
  weighted = colour_measures.summary(colour_measures.per_image(ab, RGB, one))
  assert weighted["auc_rebalanced"] == pytest.approx(100 * areas[bins == bins[0, 0, 0]].mean())


def test_the_weights_of_bins_are_inverse_frequencies():
  w = colour_measures.bin_weights(TRUE[..., 1:])
  p = np.asarray(colour_bins.smoothed(colour_bins.frequencies(TRUE[..., 1:].astype(np.float32))))
  counted = np.maximum(p, 1 / (5 * 6 * 7))
  np.testing.assert_allclose(w * counted, (w * counted)[0], rtol=1e-3)


def test_the_rebalanced_area_is_a_number_where_the_photographs_knew_one_hue_alone():
  weights = colour_measures.bin_weights(np.zeros((1000, 2)))
  found = colour_measures.summary(colour_measures.per_image(TRUE[..., 1:] + 1.0, RGB, weights))
  assert 90 < found["auc_rebalanced"] < 100


def test_answers_that_know_nothing():
  train = RNG.integers(0, 256, (4, 6, 7, 3), np.uint8)
  train[2] = RGB[3]
  found = colour_measures.answers(colour_measures.ANSWERS, RGB, train)
  assert (found["grey"] == 0).all()
  known = colour_measures.lab_of_levels(train)[..., 1:]
  np.testing.assert_allclose(found["median"][4, 2, 3], np.median(known.reshape(-1, 2), 0))
  np.testing.assert_allclose(found["another"], known[[0, 1, 2, 3, 0]])
  np.testing.assert_allclose(found["nearest"][3], TRUE[3, ..., 1:])


def test_grey_and_other_colours_of_the_first_test_images_of_cifar10(raw_data):
  """Reference values to the digits fix accuracies before clipping, rounding, and the mean of PSNR over images."""
  folder = raw_data / "cifar10_subset"
  if not folder.is_dir():
    pytest.skip(f"{folder} is missing")
  train, test = (cifar10._sheet(folder / f"cifar10_batch_{i}.png") for i in (0, 50))
  weights, found = np.ones(colour_bins.NUM_BINS), {}
  for name, ab in colour_measures.answers(("grey", "another", "median"), test, train).items():
    found[name] = colour_measures.summary(colour_measures.per_image(ab, test, weights))
  digits = {"within_2": 1, "within_5": 1, "mae": 2, "psnr": 2, "auc": 1, "colourfulness": 1, "psnr_pooled": 2}
  expected = {
    "grey": [25.7, 55.0, 5.02, 24.99, 90.2, 0.0, 21.59],
    "another": [9.6, 34.7, 7.25, 20.65, 85.5, 33.1, 19.11],
    "median": [23.5, 57.3, 4.93, 24.30, 90.5, 3.2, 21.88],
  }
  for name, values in expected.items():
    assert [round(found[name][k], d) for k, d in digits.items()] == values
  assert round(float(colour_measures.colourfulness(test / 255).mean()), 1) == 33.9

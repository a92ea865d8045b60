"""Bins of colours: which there are, their weights, and the annealed mean between the mode and the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import colour_spaces
from dgm_jax.distributions import colour_bins

CENTRES = np.asarray(colour_bins.centres())


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_the_bins_are_those_that_hold_a_colour(step):
  """Of all colours in 8 bits; every third level of each channel misses two bins at most."""
  levels, found = np.arange(0, 256, step, np.float32) / 255, set()
  for red in levels:
    rgb = np.stack(np.meshgrid([red], levels, levels), -1).reshape(-1, 3)
    found |= set(map(tuple, np.unique(np.round(colour_spaces.lab_of_rgb(rgb, np)[:, 1:] / 10), axis=0)))
  bins = set(map(tuple, CENTRES / 10))
  assert found <= bins and len(bins - found) <= (2 if step > 1 else 0)
  assert len(bins) == colour_bins.NUM_BINS == 261


def test_nearest_is_the_nearest_centre():
  ab = np.random.default_rng(0).uniform(-105, 105, (3000, 2)).astype(np.float32)
  inside = colour_spaces.rgb_of_lab(np.concatenate([np.full((3000, 1), 60.0), ab], -1), np)
  ab = ab[((inside > 0) & (inside < 1)).all(-1)]
  exact = ((ab[:, None] - CENTRES) ** 2).sum(-1).argmin(-1)
  np.testing.assert_array_equal(colour_bins.nearest(jnp.asarray(ab)), exact)
  np.testing.assert_array_equal(colour_bins.nearest(jnp.asarray(CENTRES)), np.arange(261))


def test_weights_are_as_defined():
  ab = jnp.asarray(np.random.default_rng(1).normal(0, 25, (5000, 2)), jnp.float32)
  p = colour_bins.frequencies(ab)
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
  smooth = colour_bins.smoothed(p)
  np.testing.assert_allclose(smooth.sum(), 1, rtol=1e-5)
  assert (smooth > 0).sum() > (p > 0).sum()
  for mix in (0.0, 0.5, 1.0):
    w = colour_bins.weights(smooth, mix, 5000)
    np.testing.assert_allclose((smooth * w).sum(), 1, rtol=1e-4)
    mixed = w * np.maximum((1 - mix) * smooth + mix / 261, 1 / 5000)
    np.testing.assert_allclose(mixed, mixed[0], rtol=1e-4)
  np.testing.assert_allclose(colour_bins.weights(smooth, 1.0, 5000), 1, rtol=1e-4)


def test_colours_of_one_hue_leave_the_weights_of_all_bins_finite():
  """Bins far from all colours have a smoothed frequency of 0 in float32; they weigh as much as one colour's."""
  ab = jnp.asarray(np.random.default_rng(3).normal(0, 3, (4000, 2)), jnp.float32)
  smooth = colour_bins.smoothed(colour_bins.frequencies(ab))
  assert (smooth == 0).any()
  w = colour_bins.weights(smooth, 0.0, 4000)
  np.testing.assert_allclose((smooth * w).sum(), 1, rtol=1e-4)
  far = np.linalg.norm(CENTRES, axis=-1) > 60
  np.testing.assert_allclose(w[far], 4000 * w.min() * smooth.max(), rtol=1e-4)
  assert bool((w > 0).all()) and bool(jnp.isfinite(w).all())


def test_the_annealed_mean_lies_between_the_mode_and_the_mean():
  logits = jnp.asarray(np.random.default_rng(2).normal(0, 2, (7, 261)), jnp.float32)
  mean = jax.nn.softmax(logits, -1) @ CENTRES
  np.testing.assert_allclose(colour_bins.annealed_mean(logits, 1.0), mean, atol=1e-3)
  np.testing.assert_allclose(colour_bins.annealed_mean(logits, 1e-4), CENTRES[logits.argmax(-1)], atol=1e-3)


def test_cross_entropy_is_least_at_the_soft_target():
  ab = jnp.asarray([[3.0, -12.0], [40.0, 31.0]])
  target = colour_bins.soft(ab)
  distances = ((np.asarray(ab)[:, None] - CENTRES) ** 2).sum(-1)
  exact = np.exp(-distances / 50)
  np.testing.assert_allclose(target, exact / exact.sum(-1, keepdims=True), rtol=1e-3, atol=1e-6)
  at = jnp.log(target + 1e-12)
  entropy = -(target * at).sum(-1)
  np.testing.assert_allclose(colour_bins.cross_entropy(at, ab), entropy, rtol=1e-4)
  gradient = jax.grad(lambda l: colour_bins.cross_entropy(l, ab).sum())(at)
  np.testing.assert_allclose(gradient, 0, atol=1e-5)

"""Lab agrees with scikit-image, comes back, has gradients at black, and grey pictures hold no colours."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color

from dgm_jax.core import colour_spaces

CORNERS = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
COLOURS = np.concatenate([CORNERS, np.random.default_rng(0).random((100_000, 3))])


@pytest.mark.parametrize("xp", [np, jnp])
def test_lab_is_that_of_scikit_image(xp):
  found = np.asarray(colour_spaces.lab_of_rgb(xp.asarray(COLOURS), xp))
  np.testing.assert_allclose(found, skimage.color.rgb2lab(COLOURS), atol=1e-3)
  np.testing.assert_allclose(
    colour_spaces.lightness_of_rgb(xp.asarray(COLOURS), xp), skimage.color.rgb2lab(COLOURS)[:, 0], atol=1e-3
  )


@pytest.mark.parametrize("xp", [np, jnp])
def test_colours_come_back(xp):
  lab = colour_spaces.lab_of_rgb(xp.asarray(COLOURS), xp)
  np.testing.assert_allclose(colour_spaces.rgb_of_lab(lab, xp), COLOURS, atol=1 / 512)


def test_grey_levels_of_training_are_those_of_the_application():
  """Compiled by JAX and by NumPy; a level that lies half-way may be rounded to either side."""
  levels = np.round(255 * COLOURS).astype(np.uint8)
  off = np.abs(np.asarray(jax.jit(colour_spaces.grey_levels)(levels), int) - colour_spaces.grey_levels(levels, np))
  assert off.max() <= 1 and off.mean() < 1e-3


@pytest.mark.slow
def test_gradients_are_finite_at_black_and_those_of_finite_differences_elsewhere():
  for f in (colour_spaces.lab_of_rgb, colour_spaces.rgb_of_lab):
    assert np.isfinite(jax.jacobian(f)(jnp.zeros(3))).all()
  grey = jax.grad(colour_spaces.grey_of_lightness)(0.0)
  assert np.isfinite(grey) and grey > 0
  rgb, step = np.array([0.3, 0.02, 0.9]), 1e-6
  moved = lambda i: colour_spaces.lab_of_rgb(rgb + step * np.eye(3)[i], np)
  slopes = np.stack([(moved(i) - colour_spaces.lab_of_rgb(rgb, np)) / step for i in range(3)], -1)
  np.testing.assert_allclose(jax.jacobian(colour_spaces.lab_of_rgb)(jnp.asarray(rgb)), slopes, rtol=1e-3, atol=1e-2)


def test_a_and_b_of_srgb_are_below_the_scale():
  every = np.stack(np.meshgrid(*[np.linspace(0, 1, 40)] * 3), -1)
  assert np.abs(colour_spaces.lab_of_rgb(every, np)[..., 1:]).max() < colour_spaces.AB_SCALE


def test_grey_levels_keep_grey_and_lightness_and_know_no_colour():
  levels = np.arange(256, dtype=np.uint8)
  for xp in (np, jnp):
    np.testing.assert_array_equal(colour_spaces.grey_levels(xp.asarray(np.stack([levels] * 3, -1)), xp), levels)
  rgb = np.random.default_rng(1).integers(0, 256, (50_000, 3), np.uint8)
  grey = colour_spaces.grey_levels(rgb, np)
  np.testing.assert_array_equal(colour_spaces.grey_levels(jnp.asarray(rgb)), grey)
  np.testing.assert_array_equal(colour_spaces.grey_levels(np.stack([grey] * 3, -1), np), grey)
  steps = np.diff(colour_spaces.lightness_of_grey(levels, np))
  off = np.abs(colour_spaces.lightness_of_grey(grey, np) - colour_spaces.lab_of_rgb(rgb / 255, np)[:, 0])
  assert (off <= 0.51 * steps[np.clip(grey, 1, 254)] + 0.02).all()

"""Colours of photographs: none leak in, lightness stays, every size works, and no photograph changes another's."""

import jax
import numpy as np
import pytest
import skimage.data
import sklearn.datasets
from PIL import Image

from dgm_jax.applications.colour import photographs
from dgm_jax.applications.colour.colouriser import Colouriser, put
from dgm_jax.core import colour_spaces, errors
from dgm_jax.core.system import TrainState
from dgm_jax.models.adversarial import colouriser


def made(size=None, gain=30.0, **args):
  """A colouriser with random weights, and a last layer that makes strong colours."""
  nets = {"channels": (4, 6, 6), "discriminator_channels": (4,)} | args
  model = colouriser.Model(data_shape=(16, 16, 2), **nets)
  like = {"x": np.zeros((1, 16, 16, 2), np.float32), "y": np.zeros((1, 16, 16, 1), np.float32)}
  variables = dict(jax.jit(model.init)(jax.random.key(0), like))
  params = variables.pop("params")
  last = params["generator"]["last"]
  params["generator"]["last"] = jax.tree.map(lambda a: gain * a, last)
  return Colouriser(model, TrainState(0, params, None, variables, {}), size)


MADE = made()
PHOTOS = {name: getattr(skimage.data, name)()[::4, ::4] for name in ("astronaut", "coffee", "cat", "rocket")} | {
  name: sklearn.datasets.load_sample_image(f"{name}.jpg")[::5, ::5] for name in ("china", "flower")
}


@pytest.mark.parametrize("name", PHOTOS)
def test_no_colour_leaks_in(name):
  """The bytes of a photograph's result are those of its grey picture's, and depend on the grey levels."""
  photo = np.ascontiguousarray(PHOTOS[name])
  grey = colour_spaces.grey_levels(photo, np)
  assert (photo != grey[..., None]).any()
  found = MADE.colourise(photo)
  for same in (grey, np.stack([grey] * 3, -1), Image.fromarray(grey)):
    np.testing.assert_array_equal(MADE.colourise(same).rgb, found.rgb)
  assert found.colourfulness[0] > 1
  assert np.abs(MADE.colourise(255 - grey).ab - found.ab).max() > 0.1


def test_lightness_is_the_photographs_within_a_grey_level_where_srgb_has_the_colour():
  grey = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
  a, b = np.meshgrid(np.linspace(-60, 60, 16), np.linspace(-60, 60, 16))
  ab = np.stack([a, b], -1).astype(np.float32)
  rgb, clipped = put(grey, ab)
  lab = np.concatenate([
    colour_spaces.lightness_of_grey(grey, np)[..., None],
    np.stack([photographs.resized(ab[..., i], 64, 256) for i in range(2)], -1),
  ], -1)  # fmt: skip
  exact = 255 * colour_spaces.rgb_of_lab(lab, np)
  inside = ((exact >= -0.5) & (exact <= 255.5)).all(-1)
  off = np.abs(colour_spaces.grey_levels(rgb, np).astype(int) - grey)
  assert off[inside].max() <= 1 < off[~inside].max()
  assert clipped == pytest.approx(100 * (1 - inside.mean()))
  assert 20 < clipped < 80


@pytest.mark.parametrize("height,width", [(1, 1), (1, 500), (33, 17), (2, 3000), (97, 64)])
def test_sizes_are_kept(height, width):
  photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
  found = MADE.colourise(photo)
  assert found.rgb.shape == (1, height, width, 3)
  h, w = found.ab.shape[1:3]
  assert h % 4 == w % 4 == 0 and max(h, w) <= 64 * 4
  assert MADE.worked_at(2000, 3000) == (12, 20)  # about 16 x 16 pixels, in the photograph's shape


def test_a_large_photograph_is_done_in_strips():
  photo = np.zeros((3000, 2000), np.uint8)
  photo[1000:] = 180
  found = MADE.colourise(photo)
  assert found.rgb.shape == (1, 3000, 2000, 3)
  rows = photographs.strips(3000, 2000)
  assert len(rows) > 3 and sum(len(range(*r.indices(3000))) for r in rows) == 3000
  whole, _ = put(photo[:600], found.ab[0])
  parts = photographs.strips
  try:
    photographs.strips = lambda height, width: [slice(i, i + 7) for i in range(0, height, 7)]
    np.testing.assert_array_equal(put(photo[:600], found.ab[0])[0], whole)
  finally:
    photographs.strips = parts


def test_equal_frames_get_equal_colours_and_noise_changes_them_a_little():
  frames = [PHOTOS["cat"], PHOTOS["rocket"], PHOTOS["cat"]]
  found = [MADE.colourise(np.ascontiguousarray(f)) for f in frames]
  np.testing.assert_array_equal(found[0].rgb, found[2].rgb)
  assert 0 < found[0].flicker < 5
  assert made(gain=0.0).colourise(frames[0]).flicker == 0


def test_several_answers():
  noisy = made(latent_dim=4)
  photo = np.ascontiguousarray(PHOTOS["china"])
  found = noisy.colourise(photo, samples=3)
  assert found.rgb.shape[0] == 3
  assert min(np.abs(found.ab[i] - found.ab[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.1
  np.testing.assert_array_equal(noisy.colourise(photo, samples=3).rgb, found.rgb)
  assert np.abs(noisy.colourise(photo, samples=1, seed=1).ab - found.ab[:1]).max() > 0.1
  dropped = made(dropout=0.5).colourise(photo, samples=2)
  assert np.abs(dropped.ab[0] - dropped.ab[1]).max() > 0.1
  with pytest.raises(errors.UserError, match="samples = 2; The run gives one answer"):
    MADE.colourise(photo, samples=2)


def test_numbers_against_the_photographs_own_colours():
  photo = photographs.of_array(np.ascontiguousarray(PHOTOS["coffee"]))
  true = colour_spaces.lab_of_rgb(photo.rgb / 255, np)[..., 1:].astype(np.float32)
  found = MADE.against(photo, true)
  assert found["mae"] < 1e-3 and found["auc"] > 99.6 and found["within_2"] == 100
  assert found["mae_grey"] > 3 and found["auc_grey"] < 95
  assert found["colourfulness_truth"] > 20
  assert MADE.against(photographs.of_array(photo.grey), true) == {}


def test_a_size_is_rounded_to_what_the_model_halves():
  assert made(size=33).size == 32
  assert made(size=1).size == 4
  with pytest.raises(errors.UserError, match="size = 0; it must be 1 to 4096 pixels"):
    made(size=0)


@pytest.mark.parametrize("x", [np.zeros((3, 4)), np.zeros((3, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_is_no_photograph_is_refused(x):
  with pytest.raises(errors.UserError, match="must be uint8 of shape"):
    MADE.colourise(x)


def test_another_model_is_refused():
  with pytest.raises(errors.UserError, match="runs/vae is not a colouriser"):
    Colouriser(object(), TrainState(0, {}, None, {}, {}), name="runs/vae")

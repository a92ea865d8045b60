"""The transform `lightness`: L and (a, b) of photographs, and no colour in what the model is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import colour_spaces, errors
from dgm_jax.data import pipeline

RGB = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)


def apply(x, names=("lightness",)):
  made = pipeline.make(names, {"x": RGB})
  return made.evaluate(jax.random.key(0), {"x": jnp.asarray(x), "index": jnp.arange(len(x))}), made


@pytest.mark.slow
def test_the_photograph_comes_back_but_for_the_rounding_of_its_grey_picture():
  batch, made = apply(RGB)
  lab = np.asarray(colour_spaces.lab_of_model(batch["context"], batch["x"]))
  exact = colour_spaces.lab_of_rgb(RGB / 255, np)
  np.testing.assert_allclose(lab[..., 1:], exact[..., 1:], atol=1e-2)
  np.testing.assert_allclose(lab[..., 0], exact[..., 0], atol=0.35)  # half a grey level
  assert made.statistics.mean.shape == (4, 5, 2)
  np.testing.assert_allclose(made.statistics.mean, batch["x"].mean(0), atol=1e-6)
  assert -1 < made.statistics.range[0] < made.statistics.range[1] < 1
  assert not made.keeps_levels


def test_the_context_of_a_photograph_is_that_of_its_grey_picture():
  """Exact L would tell of the colours: photographs with one grey picture have one context, bit for bit."""
  grey = np.stack([colour_spaces.grey_levels(RGB, np)] * 3, -1)
  assert (grey != RGB).any()
  np.testing.assert_array_equal(apply(RGB)[0]["context"], apply(grey)[0]["context"])
  np.testing.assert_allclose(apply(grey)[0]["x"], 0, atol=1e-4)


@pytest.mark.parametrize("x,sentence", [
  (RGB[..., :1], r"takes colours, uint8 \[H, W, 3\]; x is uint8 of shape \[4, 5, 1\]"),
  (RGB.astype(np.float32), "takes colours, uint8"),
  (np.repeat(RGB[..., :1], 3, -1), "takes photographs with colours; the first 6 training images are all grey"),
])  # fmt: skip
def test_other_data_are_refused(x, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    pipeline.make(("lightness",), {"x": x})

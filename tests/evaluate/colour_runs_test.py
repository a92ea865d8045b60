"""evaluate.colour of a model: names, differences paired by image, the ceiling, and mistakes."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dgm_jax.core import colour_spaces, errors, system
from dgm_jax.data import pipeline
from dgm_jax.evaluate import colour, colour_measures
from dgm_jax.evaluate.sample_features import features

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (n, 8, 8, 3), np.uint8) for n in (30, 20))


class Shrinks(nn.Module):
  """Knows the photographs: their (a, b) by their grey picture, times a factor."""

  factor: float = 1.0

  def latent(self, key, n):
    return jnp.zeros((n, 1))

  def colours(self, z, y):
    known = jnp.asarray(TEST)
    lightness = colour_spaces.lightness_of_grey(colour_spaces.grey_levels(known))
    context = colour_spaces.context_of_lightness(lightness)
    which = jnp.argmin(jnp.abs(context[None] - y[:, None]).sum((2, 3, 4)), 1)
    return self.factor * colour_spaces.lab_of_rgb(known.astype(jnp.float32) / 255)[which, ..., 1:]


@pytest.fixture(autouse=True, scope="module")
def few_features():
  """Three features in place of the 224 of the random net, whose covariances take longer than all the rest."""
  few = features.Features("means", lambda x: {"features": x.mean((1, 2))})
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(colour.choose, "make", lambda name, shape: few)
    colour._embedder.cache_clear()
    yield
  colour._embedder.cache_clear()


TRANSFORMS = pipeline.make(("lightness",), {"x": TRAIN})


@functools.cache
def found(factor, **options):
  splits = types.SimpleNamespace(train={"x": TRAIN})
  made = types.SimpleNamespace(model=Shrinks(factor), splits=splits, transforms=TRANSFORMS)
  arrays = {"x": TEST, "index": np.arange(len(TEST), dtype=np.int32)}
  return colour.evaluate(made, system.TrainState(0, {}, (), {}, {}), jax.random.key(0), arrays, batch_size=8, **options)


def test_a_model_that_knows_the_colours_is_perfect_and_one_that_knows_none_is_grey():
  perfect, grey = found(1.0), found(0.0)
  assert perfect["colour_mae"] < 1e-4 and perfect["colour_within_2"] == 100
  assert perfect["colour_colourfulness"] == pytest.approx(perfect["colour_colourfulness_truth"], rel=1e-4)
  assert perfect["colour_frechet"] == pytest.approx(0, abs=1e-6)
  for name in ("mae", "within_5", "psnr", "auc", "auc_rebalanced", "colourfulness", "frechet"):
    assert grey[f"colour_{name}"] == pytest.approx(grey[f"colour_{name}_grey"], rel=1e-4, abs=1e-4)
  assert grey["colour_mae_below_grey"] == pytest.approx(0, abs=1e-6)
  assert grey["values"]["colour_mae"].shape == (20,)
  np.testing.assert_allclose(grey["values"]["colour_mae"].mean(), grey["colour_mae"])


def test_differences_are_paired_by_image():
  half, grey = found(0.5), found(0.0)
  each = grey["values"]["colour_mae"] - half["values"]["colour_mae"]
  assert half["colour_mae_below_grey"] == pytest.approx(each.mean(), rel=1e-4)
  assert half["colour_mae_below_grey_stderr"] == pytest.approx(each.std(ddof=1) / np.sqrt(20), rel=1e-3)
  assert half["colour_mae_below_grey_stderr"] < half["colour_mae_stderr"]
  area = half["values"]["colour_auc"] - grey["values"]["colour_auc"]
  assert half["colour_auc_above_grey"] == pytest.approx(area.mean(), rel=1e-4)


def test_the_names_are_those_that_are_promised():
  for answers in (colour_measures.ANSWERS, ("another",)):
    promised = set(colour.names(answers=answers))
    numbers = {k for k, v in found(0.5, answers=answers).items() if isinstance(v, float)}
    plain = {k for k in numbers if "_stderr" not in k}
    assert promised <= plain and plain - promised == {"colour_colourfulness_truth"}


def test_above_the_ceiling_no_state_is_chosen():
  free, bounded = found(0.0), found(0.0, ceiling=1e-3)
  assert free["colour_frechet_within"] == free["colour_frechet"]
  assert bounded["colour_frechet_within"] == pytest.approx(1e6 + free["colour_frechet"])


@pytest.mark.parametrize("options,sentence", [
  ({"batch_size": 0}, "batch_size = 0; it must be 1 or more"),
  ({"ceiling": 0.0}, "ceiling = 0.0; it must be positive"),
  ({"answers": ("gray",)}, "Unknown answer evaluate.colour.answers 'gray'. Did you mean 'grey'"),
])  # fmt: skip
def test_mistakes_get_one_sentence(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    colour.check(**options)

"""Columns of a table as a context: they leave x, by moments of the training set; mistakes in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.data import pipeline, stored, units
from dgm_jax.data.splits import Splits

G = np.random.default_rng(0)
NAMES = ("a", "b", "c", "d")
TABLE = (G.normal(size=(200, 4)) @ G.normal(size=(4, 4)) * [1, 10, 100, 0.1] + 5).astype(np.float32)
OTHER = TABLE[:50] * 3 - 20  # another mean and scale than those of the training set


def batch(x, **more):
  return {"x": jnp.asarray(x), "index": jnp.arange(len(x)), **more}


def made(names, x=TABLE, **more):
  return pipeline.make(names, {"x": x, **more}, columns=NAMES)


def test_columns_leave_x_and_are_standardised_by_the_training_set():
  found = made(("condition:columns=d+b", "standardize")).evaluate(jax.random.key(0), batch(OTHER))
  rest, given = TABLE[:, [0, 2]], TABLE[:, [3, 1]]
  np.testing.assert_allclose(found["context"], (OTHER[:, [3, 1]] - given.mean(0)) / given.std(0), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(found["x"], (OTHER[:, [0, 2]] - rest.mean(0)) / rest.std(0), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(found["log_det"], -np.log(rest.std(0)).sum(), rtol=1e-5)  # the scale of c has no part


def test_indices_and_names_mean_the_same_and_the_statistics_are_those_of_x():
  by_name, by_index = made(("condition:b+d",)), made(("condition:columns=1+-1",))
  for name in ("x", "context"):
    np.testing.assert_array_equal(*(p.train(jax.random.key(0), batch(TABLE))[name] for p in (by_name, by_index)))
  assert by_name.statistics.shape == (2,) and by_name.given_columns == (1, 3)
  np.testing.assert_allclose(by_name.statistics.mean, TABLE[:, [0, 2]].mean(0), rtol=1e-5)


def test_the_mask_loses_the_columns_that_are_given():
  mask = (G.random(TABLE.shape) < 0.7).astype(np.float32)
  mask[:, 1] = 1
  p = made(("condition:b", "standardize"), mask=mask)
  found = p.evaluate(jax.random.key(0), batch(TABLE, mask=jnp.asarray(mask)))
  rest, seen = TABLE[:, [0, 2, 3]], mask[:, [0, 2, 3]]
  np.testing.assert_array_equal(found["mask"], seen)
  mean = (rest * seen).sum(0) / seen.sum(0)
  std = np.sqrt((seen * (rest - mean) ** 2).sum(0) / seen.sum(0))
  np.testing.assert_allclose(found["x"], seen * (rest - mean) / std, rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(found["log_det"], -(seen * np.log(std)).sum(1), rtol=1e-4, atol=1e-4)
  mask[3, 1] = 0
  with pytest.raises(errors.UserError, match=r"Column 'b', which the transform 'condition' gives .* missing entries"):
    made(("condition:b",), mask=mask)


def test_numbers_far_from_zero_count_once_in_the_density_and_not_at_all_where_they_are_given():
  times = 1.7e9 + 10 * G.normal(size=(100, 3))
  parts = Splits({"x": times}, None, {"x": times[:5]}, {"columns": NAMES[:3]})
  names = ("condition:a", "standardize")
  reduced = units.reduced(parts, names)
  p = pipeline.make(names, reduced.train, **pipeline.of_about(reduced.about))
  found = p.evaluate(jax.random.key(0), batch(reduced.train["x"]))
  np.testing.assert_allclose(found["x"], (times[:, 1:] - times[:, 1:].mean(0)) / times[:, 1:].std(0), atol=1e-4)
  np.testing.assert_allclose(found["log_det"], -np.log(times[:, 1:].std(0)).sum(), atol=1e-4)


def test_what_is_stored_of_the_data_makes_the_same_transforms():
  parts = Splits({"x": TABLE}, None, {"x": OTHER}, {"columns": list(NAMES)})
  names = ("condition:columns=c", "standardize")
  _, again = stored.stand_in(names, *stored.describe(names, parts))
  found, expected = (p.evaluate(jax.random.key(0), batch(OTHER)) for p in (again, made(names)))
  for name in ("x", "context", "log_det"):
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
  assert again.given_columns == (2,)


@pytest.mark.parametrize("names,sentence", [
  (("condition:columns=alcohol",), "Unknown column of transform 'condition' 'alcohol'. Choices: a, b, c, d"),
  (("condition:columns=4",), "Unknown column of transform 'condition' '4'"),
  (("condition:columns=a+0",), r"columns=a\+0 names a column twice"),
  (("condition:columns=a+b+c+d",), "are all columns; none is left for x"),
  (("standardize", "condition:columns=a"), "'condition:columns=a' must come first, before 'standardize'"),
  (("condition:columns=a", "condition"), "Transform 'condition' is named twice"),
])  # fmt: skip
def test_mistakes_are_one_sentence(names, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    made(names)


def test_images_have_no_columns():
  with pytest.raises(errors.UserError, match=r"takes tables, x of shape \[N, D\]; x has shape \[4, 4, 1\]"):
    made(("condition:columns=0",), np.zeros((5, 4, 4, 1), np.float32))

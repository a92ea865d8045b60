"""Transforms built from recorded statistics, without the data, are those that were built from the data."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.data import pipeline, stored
from dgm_jax.data.splits import Splits

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (60, 4, 4, 1)).astype(np.uint8)
TABLE = RNG.normal(3, [1, 2, 5, 0.1], (60, 4)).astype("f")
CLASSES, NUMBERS = np.arange(60).astype("i4") % 3, RNG.normal(7, 2, 60).astype("f")


@pytest.mark.parametrize("names,arrays", [
  (("binarize:static,seed=2",), {"x": GREY}),
  (("dequantize", "logit:alpha=0.05", "standardize"), {"x": GREY}),
  (("scale", "mar_top"), {"x": GREY}),
  (("standardize", "mcar:rate=0.3"), {"x": TABLE}),
  (("standardize", "mar:rate=0.4"), {"x": TABLE}),
  (("mnar:rate=0.2",), {"x": TABLE}),
  (("above_mean",), {"x": TABLE, "mask": (TABLE < 5).astype("f")}),
  (("standardize", "standardize_targets"), {"x": TABLE, "y": NUMBERS}),
  (("standardize", "condition"), {"x": TABLE, "y": CLASSES}),
])  # fmt: skip
def test_transforms_are_the_same_without_the_data(names, arrays):
  arrays = arrays | {"index": np.arange(60, dtype="i4")}
  part = lambda rows: {k: a[rows] for k, a in arrays.items()}
  splits = Splits(part(slice(0, 40)), part(slice(40, 50)), part(slice(50, 60)), {"columns": ["a"]})
  original = pipeline.make(names, splits.train, [splits.valid, splits.test])
  described, kept = stored.describe(names, splits)
  blank, again = stored.stand_in(names, json.loads(json.dumps(described)), kept)
  key, batch = jax.random.key(3), {k: jnp.asarray(a) for k, a in part(slice(50, 60)).items()}
  expected, got = original.evaluate(key, batch), again.evaluate(key, batch)
  assert expected.keys() == got.keys()
  for name in expected:
    np.testing.assert_array_equal(got[name], expected[name])
  np.testing.assert_array_equal(again.statistics.mean, original.statistics.mean)
  assert again.statistics.range == original.statistics.range
  for name, outline in splits.parts().items():
    shapes = {k: (a.shape, a.dtype) for k, a in blank.parts()[name].items()}
    assert shapes == {k: (a.shape, a.dtype) for k, a in outline.items()}
  assert not any(a.any() for k, a in blank.train.items() if k != "y")
  assert blank.about == {"columns": ["a"]}


def test_no_example_is_kept():
  """All stored arrays together are smaller than the data, and none has a row for each example."""
  splits = Splits({"x": TABLE[:40]}, None, {"x": TABLE[40:]})
  _, kept = stored.describe(("standardize", "mar:rate=0.4"), splits)
  assert sum(a.size for a in kept.values()) < TABLE.size / 4
  assert not any(40 in a.shape or 60 in a.shape for a in kept.values())


def test_data_that_are_not_there_are_missed_in_one_sentence():
  blank = stored.NoData("The model in m.dgm", {"classes": ["a", "b"]})
  assert blank.about["classes"] == ["a", "b"]
  for ask in (lambda: blank.test, lambda: blank.train, blank.parts):
    with pytest.raises(errors.UserError, match=r"The model in m.dgm comes without the data"):
      ask()

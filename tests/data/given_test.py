"""Further examples get the type of the training set, on the same scale, or are refused."""

import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.data import pipeline
from dgm_jax.data.given import without_missing

GREY = np.arange(12, dtype="u1").reshape(3, 4) * 20
COUNTS = np.arange(12, dtype="i4").reshape(3, 4)
TABLE = np.linspace(-3, 900, 12, dtype="f").reshape(3, 4)


@pytest.mark.parametrize(
  ("trained", "names", "given", "expected"),
  [
    (GREY, ("standardize",), GREY.astype(float), GREY),
    (GREY, ("flip", "dequantize"), GREY.astype("i8"), GREY),
    (GREY, ("dequantize",), GREY > 99, np.where(GREY > 99, 255, 0)),
    (GREY > 99, (), (GREY > 99).astype("u1"), GREY > 99),
    (GREY > 99, ("binarize:static",), GREY, GREY),
    (COUNTS, (), COUNTS.astype("f8"), COUNTS),
    (COUNTS.astype("u2"), (), COUNTS.astype("i8"), COUNTS),
    (TABLE, ("standardize",), COUNTS, COUNTS.astype("f")),
    (TABLE / 900, ("binarize:static",), np.abs(TABLE) / 900, np.abs(TABLE / 900)),
    (GREY, ("standardize",), GREY / 255, "trained on grey levels: uint8"),
    (GREY, ("dequantize", "logit"), GREY / 127.5 - 1, "trained on grey levels: uint8"),
    (COUNTS, (), COUNTS + 0.5, r"trained on whole numbers \(int32\)"),
    (COUNTS, ("dequantize:levels=12",), COUNTS + 1, r"takes integers 0 .. 11; x is int32 in \[1, 12\]"),
    (np.abs(TABLE) / 900, ("logit:alpha=0.05",), TABLE, r"takes numbers in \[0, 1\]; x is in \[-3, 900\]"),
  ],
)
def test_the_type_of_the_training_set_or_a_sentence(trained, names, given, expected):
  trained = trained if names[:1] != ("binarize:static",) or trained.dtype != "f" else np.abs(trained)
  image = lambda x: x.reshape(3, 2, 2, 1) if "flip" in names else x
  made = pipeline.make(names, {"x": image(trained)})
  if isinstance(expected, str):
    with pytest.raises(errors.UserError, match=expected):
      made.given({"x": image(given)})
    return
  found, _ = made.given({"x": image(given)})
  np.testing.assert_array_equal(found["x"], image(expected))
  assert found["x"].dtype == (trained.dtype if given.dtype.kind != "u" or trained.dtype == bool else given.dtype) or (
    names == ("binarize:static",)
  )


def test_hidden_values_do_not_count_and_nan_elsewhere_is_refused():
  x = np.array([[1.0, np.nan], [np.inf, 2.0]])
  found = without_missing({"x": x, "mask": np.array([[1, 0], [0, 1]])}, takes_mask=True)
  np.testing.assert_array_equal(found["x"], [[1, 0], [0, 2]])
  with pytest.raises(errors.UserError, match="takes no mask"):
    without_missing({"x": x, "mask": np.array([[1, 0], [0, 1]])}, takes_mask=False)
  for takes_mask, sentence in ((True, "with mask = 0 there"), (False, "does not support missing ones")):
    with pytest.raises(errors.UserError, match=f"x has 1 entries that are NaN; .*{sentence}"):
      without_missing({"x": x}, takes_mask)

"""Inferred kinds of columns, and the encoding of their entries as numbers."""

import numpy as np
import pytest

from dgm_jax.applications.imputation import columns
from dgm_jax.core import errors

pytestmark = pytest.mark.smoke


def infer(cells, kind=None):
  values = np.array(cells, dtype=object if isinstance(cells[0], str) else None)
  missing = np.array([c in ("", "gone") or c != c for c in cells])
  return columns.infer("c", values, missing, kind), values, missing


@pytest.mark.parametrize(
  ("cells", "kind", "expected", "classes"),
  [
    (["1.5", "", "2", "3"], None, "real", ()),
    (["1", "", "-2", "+3"], None, "integer", ()),
    ([1.0, 2.0, 3.0, np.nan], None, "integer", ()),
    ([1.5, 2.0, 3.0], None, "real", ()),
    (["1", "", "0", "1"], None, "binary", ("0", "1")),
    (["10", "9", "10"], None, "binary", ("9", "10")),
    (["b", "a", "", "b"], None, "binary", ("a", "b")),
    (["c", "a", "b", "c", "a", "b", "", "a", "b", "c", "c"], None, "categorical", ("a", "b", "c")),
    (["10", "9", "8"], "categorical", "categorical", ("8", "9", "10")),
    (["0", "1", "1"], "numeric", "integer", ()),
    (["x", "", "x"], None, "constant", ("x",)),
    (["2", "2.0"], None, "constant", ("2",)),
    (["1", "2.0", "1.0", "2"], None, "binary", ("1", "2.0")),
    (["True", "false", "", "true"], None, "binary", ("True", "false")),
    ([2**53, 2**53 + 1, 2**53], None, "binary", (2**53, 2**53 + 1)),
    (["1,5", "2,5"], "categorical", "binary", ("1,5", "2,5")),
    (["", "gone"], None, "empty", ()),
    (["p", "q", "r"], "ignored", "ignored", ()),
  ],
)
def test_inferred_kinds(cells, kind, expected, classes):
  column, *_ = infer(cells, kind)
  assert (column.kind, column.classes) == (expected, classes)


@pytest.mark.parametrize(
  ("cells", "kind", "sentence"),
  [
    (["1", "2.5", "?", "3"], None, "numbers as well as '[?]': --missing=[?] marks .* --categorical=c treats all"),
    ([str(i) + "x" for i in range(30)], None, "30 different texts in 30 entries: --ignore=c"),
    ([str(i) for i in range(101)], "categorical", "101 classes; at most 100 are supported"),
    (["1", "two", "3"], "numeric", "is declared numeric but holds 'two'"),
    (["0,5", "1,5", "0,5", "1,5"], None, "holds '0,5', '1,5': the option decimal=, .* --categorical=c treats"),
    (["12%", "", "30 %", "12%"], None, "leave out the percent signs"),
    (["1,200", "3,400.5", "1,200"], "numeric", "declared numeric but holds .*separators of thousands"),
    (["1", "", "-inf"], None, "infinite in row 3; --missing=-inf"),
    ([1.0, np.inf], None, "infinite in row 2"),
  ],
)
def test_invalid_columns_raise_errors_that_name_a_remedy(cells, kind, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    infer(cells, kind)


@pytest.mark.parametrize(
  ("fitted", "cells", "codes", "classes"),
  [
    (["0", "1", "1"], ["1.0", "0.0", "", "2.0"], [1, 0, np.nan, np.nan], ("0.0", "1.0")),
    (["0", "1", "1"], [0.0, 1.0, np.nan], [0, 1, np.nan], (0.0, 1.0)),
    (["True", "False", "True"], ["false", "TRUE"], [0, 1], ("false", "TRUE")),
    ([1, 0, 1], ["01", "x"], [1, np.nan], (0, "01")),
  ],
)
def test_a_class_is_known_in_any_spelling_and_written_as_in_the_table(fitted, cells, codes, classes):
  column, *_ = infer(fitted)
  values = np.array(cells, dtype=object if isinstance(cells[0], str) else None)
  missing = np.array([c == "" or c != c for c in cells])
  np.testing.assert_array_equal(columns.encode([column], [values], [missing])[:, 0], codes)
  assert columns.spelled(column, values, missing).classes == classes


def test_encoded_entries_are_restored():
  rng = np.random.default_rng(0)
  cells = [np.round(1e6 + 100 * rng.normal(size=50), 3), rng.poisson(5, 50).astype(float), rng.integers(0, 4, 50) * 2.0]
  missing = [rng.random(50) < 0.3 for _ in cells]
  found = [
    columns.infer("abc"[j], c, m, [None, None, "categorical"][j])
    for j, (c, m) in enumerate(zip(cells, missing, strict=True))
  ]
  assert [c.kind for c in found] == ["real", "integer", "categorical"]
  x = columns.encode(found, cells, missing)
  np.testing.assert_array_equal(np.isnan(x), np.stack(missing, 1))
  scaled = columns.scaled(found, x)
  z = columns.standardise(scaled, x)
  np.testing.assert_allclose(np.nanmean(z[:, :2], 0), 0, atol=1e-5)
  np.testing.assert_allclose(np.nanstd(z[:, :2], 0), 1, rtol=1e-5)
  row, column = np.nonzero(~np.isnan(x))
  back = columns.restore(scaled, z[row, column], column)
  np.testing.assert_allclose(back, x[row, column], atol=2e-4)
  np.testing.assert_array_equal(back[column > 0], x[row, column][column > 0])
  codes = x[~missing[2], 2].astype(int)
  np.testing.assert_array_equal(np.array(found[2].classes)[codes], cells[2][~missing[2]])


def test_restored_values_stay_in_the_observed_range_and_integers_are_whole():
  x = np.array([[0.5, 0.0], [2.5, 10.0], [np.nan, np.nan]])
  scaled = columns.scaled([columns.Column("r", "real"), columns.Column("i", "integer")], x)
  got = columns.restore(scaled, np.array([-50.0, 0.1, -50.0, 0.11]), np.array([0, 0, 1, 1]))
  np.testing.assert_allclose(got, [0.5, 1.6, 0.0, 6.0])


def test_an_unknown_class_counts_as_missing_and_a_text_among_numbers_is_an_error():
  known, *_ = infer(["a", "b", "c", "a", "b", "c"])
  x = columns.encode([known], [np.array(["c", "new", ""], dtype=object)], [np.array([False, False, True])])
  np.testing.assert_array_equal(x, [[2], [np.nan], [np.nan]])
  with pytest.raises(errors.UserError, match="'n' is numeric but holds 'low'"):
    columns.encode([columns.Column("n", "real")], [np.array(["1", "low"], dtype=object)], [np.zeros(2, bool)])

"""Tables in .parquet files: observed cells of every type come back equal, and filled ones in the column's type."""

import datetime
import decimal

import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import Options

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
BIG, NANO = 2**53, 10**18


@pytest.mark.parametrize(
  ("kind", "values", "fills", "filled"),
  [
    (pa.int64(), [None, BIG + 1, BIG + 3, None], [5, BIG + 1], [5, BIG + 1]),
    (pa.uint64(), [None, 2**64 - 1, 2**63 + 1, None], [5, 6], [5, 6]),
    (pa.int16(), [None, 1, -999, 2], [4, 5], [4, 5]),
    (pa.float32(), [None, 1.5, float("nan"), 0.1], [2.5, 3.5], [2.5, 3.5]),
    (pa.float16(), [None, np.float16(0.1), np.float16(2), None], [0.5, 1.5], [0.5, 1.5]),
    (pa.decimal128(12, 2), [None, decimal.Decimal("1.10"), decimal.Decimal("-3.00"), None], [2.346, 7],
     [decimal.Decimal("2.35"), decimal.Decimal("7.00")]),
    (pa.timestamp("ns"), [None, NANO + 1, NANO + 3, None], ["2001-09-09 01:46:40.000000003", "1970-01-01 00:00:00"],
     [NANO + 3, 0]),
    (pa.date32(), [None, datetime.date(2020, 1, 2), datetime.date(2020, 1, 3), None], ["2020-01-02", "2021-01-01"],
     [datetime.date(2020, 1, 2), datetime.date(2021, 1, 1)]),
    (pa.string(), [None, "1.10", "2.5", None], [0.123456789, 7], ["0.123457", "7"]),
    (pa.dictionary(pa.int8(), pa.string()), [None, "a", "b", None], ["b", "new"], ["b", "new"]),
    (pa.bool_(), [None, True, False, None], ["True", "false"], [True, False]),
    (pa.list_(pa.float64()), [None, [0.5], [0.25, 1.0], None], ["[0.5]", "[0.25, 1.0]"], [[0.5], [0.25, 1.0]]),
  ],
  ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)  # fmt: skip
def test_observed_cells_come_back_equal_and_filled_ones_in_the_type(tmp_path, kind, values, fills, filled):
  flat = pa.chunked_array([pa.array(values[:2], kind), pa.array(values[2:], kind)])
  held = pa.table({"x": flat, "other": [1, 2, 3, 4]})
  parquet.write_table(held, tmp_path / "t.parquet")
  table = tables.read(tmp_path / "t.parquet", Options(missing=("-999",)))
  gone = table.missing[0]
  assert gone.sum() == 2
  table.write(tmp_path / "o.parquet", {0: fills})
  found = parquet.read_table(tmp_path / "o.parquet")
  assert found.schema == held.schema
  plain = lambda t: (t["x"].cast(pa.int64()) if pa.types.is_timestamp(kind) else t["x"]).to_pylist()
  fills = iter(filled)
  assert plain(found) == [next(fills) if g else v for g, v in zip(gone, plain(held), strict=True)]
  assert found["other"].to_pylist() == [1, 2, 3, 4]


def test_integers_are_read_exactly_and_decimals_as_numbers(tmp_path):
  prices = [decimal.Decimal("1.10"), None, decimal.Decimal("-3.25")]
  parquet.write_table(pa.table({"id": [BIG + 1, None, BIG + 3], "price": prices}), tmp_path / "t.parquet")
  ids, read = tables.read(tmp_path / "t.parquet").values
  assert ids.tolist() == [BIG + 1, 0, BIG + 3]
  assert read.tolist() == [1.1, 0.0, -3.25]


def test_a_value_that_the_type_cannot_hold_raises_one_sentence(tmp_path):
  parquet.write_table(pa.table({"x": [[0.5], None]}), tmp_path / "t.parquet")
  table = tables.read(tmp_path / "t.parquet")
  with pytest.raises(errors.UserError, match=r"Column 'x' holds list.* which cannot be 'new'; --ignore=x copies it"):
    table.write(tmp_path / "o.parquet", {0: ["new"]})


def test_the_index_that_pandas_wrote_is_recognised(tmp_path):
  import pandas as pd

  pd.DataFrame({"a": [1.0, None]}, index=[7, 9]).to_parquet(tmp_path / "t.parquet")
  table = tables.read(tmp_path / "t.parquet")
  assert [table.names[j] for j in table.index] == ["__index_level_0__"]
  pd.DataFrame({"a": [1.0, None]}).to_parquet(tmp_path / "t.parquet")
  assert tables.read(tmp_path / "t.parquet").index == ()

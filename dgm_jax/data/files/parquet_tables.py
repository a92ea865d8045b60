"""Tables in .parquet files: their columns as numbers or texts, and the same file with the missing cells filled.

Observed cells never leave Arrow, so that they come back equal whatever their type: integers beyond 2^53, nanoseconds,
decimals, lists.
"""

import decimal
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import readers
from dgm_jax.data.files.table_options import key, marked, written


def _is_number(kind: Any) -> bool:
  import pyarrow as pa

  return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _held(column: Any, null: np.ndarray) -> np.ndarray:
  """The values [N] of a column: integers exactly, decimals as float64, everything else as texts; 0 or None if null."""
  import pyarrow as pa

  kind = column.type
  if pa.types.is_decimal(kind):
    return column.cast(pa.float64()).fill_null(0.0).to_numpy()
  if _is_number(kind):
    return column.fill_null(0).to_numpy()
  if pa.types.is_temporal(kind):
    texts = [t and re.sub(r"\.0+$", "", t) for t in column.cast(pa.string()).to_pylist()]  # nanoseconds are no datetime
  else:
    texts = [None if v is None else str(v) for v in column.to_pylist()]
  return np.array([None if gone else text for gone, text in zip(null, texts, strict=True)], dtype=object)


def _made(value: Any, kind: Any, name: str) -> Any:
  """A value, a number or a text, in the type of a column."""
  import pyarrow as pa

  if pa.types.is_dictionary(kind):
    kind = kind.value_type
  try:
    if pa.types.is_decimal(kind):
      return decimal.Decimal(repr(float(value))).quantize(decimal.Decimal(1).scaleb(-kind.scale))
    if pa.types.is_integer(kind):
      return round(float(value)) if isinstance(value, str) and "." in value else int(value)
    if pa.types.is_floating(kind):
      return float(value)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
      return value if isinstance(value, str) else written(value)
    return pa.array([str(value)]).cast(kind)[0].as_py()
  except (ArithmeticError, ValueError, TypeError, pa.ArrowException):
    raise errors.UserError(
      f"Column {name!r} holds {kind}, which cannot be {value!r}; --ignore={name} copies it."
    ) from None


def _filled(column: Any, gone: np.ndarray, values: Sequence[Any], held: np.ndarray, name: str) -> Any:
  """The column with `values` in place of the entries `gone`; a text that occurs in it is taken from that row."""
  import pyarrow as pa

  rows = np.arange(len(column))
  known: dict[Any, int] = {}
  if held.dtype == object:
    for i in rows[~gone]:
      known.setdefault(key(held[i]), i)
  new = [v for v in values if key(v) not in known]
  ends = iter(range(len(column), len(column) + len(new)))
  rows[gone] = [known[key(v)] if key(v) in known else next(ends) for v in values]
  chunks = column.chunks
  coded = pa.types.is_dictionary(column.type)
  if new:
    made = pa.array([_made(v, column.type, name) for v in new], type=column.type.value_type if coded else column.type)
    chunks = [*chunks, made.dictionary_encode().cast(column.type) if coded else made]
  whole = pa.chunked_array(chunks, type=column.type)
  return (whole.unify_dictionaries() if coded else whole).combine_chunks().take(pa.array(rows))


def _index(table: Any) -> tuple[int, ...]:
  """The columns that pandas wrote as the index of a DataFrame."""
  known = (table.schema.pandas_metadata or {}).get("index_columns", [])
  return tuple(table.column_names.index(name) for name in known if name in table.column_names)


def read(
  path: pathlib.Path, markers: Sequence[str]
) -> tuple[tuple[str, ...], list[np.ndarray], list[np.ndarray], Callable[..., None], tuple[int, ...]]:
  """The fields of a Table."""
  readers.extra("pyarrow", path)
  import pyarrow as pa
  from pyarrow import parquet

  table = parquet.read_table(path)
  null = [np.asarray(column.is_null()) for column in table.columns]
  values = [_held(column, gone) for column, gone in zip(table.columns, null, strict=True)]
  missing = [gone | marked(held, markers) for gone, held in zip(null, values, strict=True)]

  def write(path: pathlib.Path, fills: dict[int, Sequence[Any]]) -> None:
    columns = list(table.columns)
    for j, filling in fills.items():
      columns[j] = _filled(columns[j], missing[j], filling, values[j], table.column_names[j])
    with files.whole(path) as temporary:
      parquet.write_table(pa.table(columns, schema=table.schema), temporary)

  return tuple(table.column_names), values, missing, write, _index(table)

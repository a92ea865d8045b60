"""Reads tables with missing entries (.csv, .tsv, .parquet, .npz), and writes the same files with the entries filled.

The rest is written unchanged: the cells of text files byte for byte, the column types of the other formats.
"""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import readers

SUFFIXES = (".csv", ".npz", ".parquet", ".tsv")
_MISSING = ("", "NA", "NaN", "nan")
_SEPARATORS = (",", ";", "\t", "|")


class Table(NamedTuple):
  """The columns of a table in a file.

  Attributes:
    names: names of the columns.
    values: of each column [N], numbers, or objects (strings without their quotes).
    missing: of each column bool [N], true at missing entries.
    write: (path, {column index: values of its missing entries, in order}) -> None; writes the filled file.
  """

  names: tuple[str, ...]
  values: list[np.ndarray]
  missing: list[np.ndarray]
  write: Callable[[pathlib.Path, dict[int, Sequence[Any]]], None]

  @property
  def num_rows(self) -> int:
    return len(self.values[0])


def read(path: pathlib.Path, markers: Sequence[str] = (), separator: str = "", header: bool = True) -> Table:
  """Reads the table in a file.

  Args:
    path: a file with one of SUFFIXES.
    markers: strings or numbers that mark missing entries, in addition to empty cells, NA, NaN and null.
    separator: column separator of a text file; "" to detect it.
    header: whether the first line of a text file has the column names; else they are column_1, column_2, ...

  Raises:
    UserError: the file cannot be read, or is not such a table.
  """
  errors.require(path.suffix in SUFFIXES, f"{path}: its name must end in one of {', '.join(SUFFIXES)}.")
  with readers.reading(path, f"a {path.suffix} table"):
    if path.suffix == ".parquet":
      table = _read_parquet(path, markers)
    elif path.suffix == ".npz":
      table = _read_npz(path, markers)
    else:
      table = _read_text(path, markers, separator or ("\t" if path.suffix == ".tsv" else ""), header)
  errors.require(len(table.names) > 0 and table.num_rows > 0, f"{path} has no rows.")
  twice = sorted({name for name in table.names if table.names.count(name) > 1})
  errors.require(not twice, f"{path} has two columns named {twice[0]!r}." if twice else "")
  return table


def _marked(values: np.ndarray, markers: Sequence[str]) -> np.ndarray:
  """bool [N], true where a number or string marks a missing entry."""
  numbers = [float(m) for m in markers if _number(m) is not None]
  if values.dtype.kind in "fiub":
    return np.isnan(values) | np.isin(values, numbers)
  texts = {*_MISSING, *markers}
  return np.fromiter(
    (v is None or v in texts or (numbers and _number(v) in numbers) for v in values), bool, len(values)
  )


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None


def _split(text: str, separator: str, newline: str) -> list[list[str]]:
  """The raw cells of each line; a quoted cell may hold separators and line ends."""
  s = re.escape(separator)
  cell = re.compile(rf'(?:^|{s})((?:"[^"]*"|[^{s}"])*)')
  rows, begun = [], ""
  for line in text.split(newline):
    line = begun + line
    begun = line + newline if line.count('"') % 2 else ""
    if not begun:
      rows.append(cell.findall(line) if '"' in line else line.split(separator))
  errors.require(not begun, f"a quote is not closed: {begun[:40]!r}")
  return rows


def _plain(cell: str) -> str:
  """The text of a raw cell."""
  cell = cell.strip()
  return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _read_text(path: pathlib.Path, markers: Sequence[str], separator: str, header: bool) -> Table:
  text = path.read_bytes().decode("utf-8")
  mark, newline = "\ufeff" if text.startswith("\ufeff") else "", "\r\n" if "\r\n" in text else "\n"
  text = text.removeprefix(mark)
  end = re.search(rf"({newline})*\Z", text)[0]
  text = text.removesuffix(end)
  first = text.partition(newline)[0]
  separator = separator or max(_SEPARATORS, key=first.count)
  rows = _split(text, separator, newline)
  for i, row in enumerate(rows):
    errors.require(
      len(row) == len(rows[0]),
      f"{path}: line {i + 1} has {len(row)} cells, but the first line has {len(rows[0])}, with the separator "
      f"{separator!r}; all lines must have the same number, or choose another --separator.",
    )
  top = rows[:1] if header else []
  names = tuple(map(_plain, rows[0])) if header else tuple(f"column_{j + 1}" for j in range(len(rows[0])))
  errors.require(
    not header or any(_number(name) is None for name in names),
    f"{path}: the first line holds numbers, where column names are expected; use --no_header if there are none.",
  )
  cells = [np.array(column, dtype=object) for column in zip(*rows[len(top) :], strict=True)] or [np.array([])]
  del rows, text
  values = [np.array([_plain(c) for c in column], dtype=object) for column in cells]
  missing = [_marked(column, markers) for column in values]

  def write(path, fills):
    parts = enumerate(zip(cells, missing, strict=True))
    filled = [_filled(column, gone, fills[j], separator) if j in fills else column for j, (column, gone) in parts]
    with files.whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as f:
      f.write(mark + newline.join(separator.join(row) for row in (*top, *zip(*filled, strict=True))) + end)

  return Table(names, values, missing, write)


def _filled(cells: np.ndarray, missing: np.ndarray, values: Sequence[Any], separator: str) -> np.ndarray:
  """The raw cells [N] with `values` in place of the missing ones."""
  raw = {_plain(c): c for c in cells[~missing]}  # a class is written as in other rows, e.g. in quotes
  cells = cells.copy()
  cells[missing] = [raw.get(v) or _quoted(v, separator) if isinstance(v, str) else _written(v) for v in values]
  return cells


def _quoted(text: str, separator: str) -> str:
  special = any(c in text for c in (separator, '"', "\n")) or text != text.strip()
  return '"{}"'.format(text.replace('"', '""')) if special else text


def _written(value: float) -> str:
  """Six significant digits; integers in full."""
  return str(int(value)) if isinstance(value, int | np.integer) else f"{value:.6g}"


def _read_parquet(path: pathlib.Path, markers: Sequence[str]) -> Table:
  readers.extra("pyarrow", path)
  import pyarrow as pa
  from pyarrow import parquet

  table = parquet.read_table(path)
  values, missing, known = [], [], []
  for column in table.columns:
    null = np.asarray(column.is_null())
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numeric:
      held = column.to_numpy()
    else:
      objects = column.to_pylist()
      known.append({str(v): v for v in objects if v is not None})
      held = np.array([None if v is None else str(v) for v in objects], dtype=object)
    known += [{}] if numeric else []
    values.append(held)
    missing.append(null | _marked(held, markers))

  def write(path, fills):
    columns = []
    for j, column in enumerate(table.columns):
      if j in fills:
        objects = column.to_numpy(zero_copy_only=False).astype(object)
        objects[missing[j]] = [known[j].get(v, v) for v in fills[j]]
        column = pa.array(objects.tolist(), type=column.type)
      columns.append(column)
    with files.whole(path) as temporary:
      parquet.write_table(pa.table(columns, schema=table.schema), temporary)

  return Table(tuple(table.column_names), values, missing, write)


def _read_npz(path: pathlib.Path, markers: Sequence[str]) -> Table:
  with np.load(path) as found:
    arrays = dict(found)
  errors.require("x" in arrays, f"{path} holds {', '.join(arrays) or 'nothing'}; the table is expected as 'x'.")
  x, mask = arrays["x"], arrays.get("mask")
  errors.require(x.ndim == 2 and x.dtype.kind in "fiub", f"{path}: x is {x.dtype} {list(x.shape)}, not numbers [N, D].")
  errors.require(
    mask is None or mask.shape == x.shape, f"{path}: mask must have x's shape {list(x.shape)}, 1 where x is observed."
  )
  missing = [_marked(column, markers) for column in x.T]
  if mask is not None:
    missing = [gone | (m == 0) for gone, m in zip(missing, mask.T, strict=True)]

  def write(path, fills):
    filled = x.copy()
    for j, values in fills.items():
      filled[missing[j], j] = values
    with files.whole(path) as temporary, open(temporary, "wb") as f:
      np.savez(f, **(arrays | {"x": filled}))

  return Table(tuple(f"x{j}" for j in range(x.shape[1])), list(x.T), missing, write)

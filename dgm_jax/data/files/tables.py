"""Reads tables with missing entries (.csv, .tsv, .parquet, .npz), and writes the same files with the entries filled.

The rest is written unchanged: the cells of text files byte for byte, the column types of the other formats.  The data
set `array` and `dgm_jax impute` read their tables here, with the options of table_options.py.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import delimited, parquet_tables, readers
from dgm_jax.data.files.table_options import Options, marked

SUFFIXES = (".csv", ".npz", ".parquet", ".tsv")
_DEFAULTS = Options()


class Table(NamedTuple):
  """The columns of a table in a file.

  Attributes:
    names: names of the columns.
    values: of each column [N], numbers, or objects (strings without their quotes).
    missing: of each column bool [N], true at missing entries.
    write: (path, {column index: values of its missing entries, in order}) -> None; writes the filled file.
    index: the columns that hold the index of a data frame, which numbers or names the rows: no features.
  """

  names: tuple[str, ...]
  values: list[np.ndarray]
  missing: list[np.ndarray]
  write: Callable[[pathlib.Path, dict[int, Sequence[Any]]], None]
  index: tuple[int, ...] = ()

  @property
  def num_rows(self) -> int:
    return len(self.values[0])


def read(path: pathlib.Path, options: Options = _DEFAULTS) -> Table:
  """Reads the table in a file: all its columns, whatever options.columns and options.target are.

  Args:
    path: a file with one of SUFFIXES; a text file may also be gzipped (.csv.gz, .tsv.gz).
    options: see table_options.Options.

  Raises:
    UserError: the file cannot be read, or is not such a table.
  """
  *inner, suffix = path.suffixes[-2:] or [""]
  if suffix == ".gz" and inner and inner[0].lower() in (".csv", ".tsv"):
    suffix = inner[0]
  suffix = suffix.lower()
  errors.require(
    suffix in SUFFIXES,
    f"{path}: its name must end in one of {', '.join(SUFFIXES)}.",
  )
  readers.require_file(path)
  with readers.reading(path, f"a {suffix} table"):
    if suffix == ".parquet":
      table = Table(*parquet_tables.read(path, options.markers))
    elif suffix == ".npz":
      table = _read_npz(path, options.markers)
    else:
      table = Table(*delimited.read(path, options))
  errors.require(len(table.names) > 0 and table.num_rows > 0, f"{path} is empty: it has no rows.")
  twice = sorted({name for name in table.names if table.names.count(name) > 1})
  errors.require(not twice, f"{path} has two columns named {twice[0]!r}." if twice else "")
  return table


def _read_npz(path: pathlib.Path, markers: Sequence[str]) -> Table:
  with np.load(path) as found:
    arrays = dict(found)
  errors.require("x" in arrays, f"{path} holds {', '.join(arrays) or 'nothing'}; the table is expected as 'x'.")
  x, mask = arrays["x"], arrays.get("mask")
  errors.require(x.ndim == 2 and x.dtype.kind in "fiub", f"{path}: x is {x.dtype} {list(x.shape)}, not numbers [N, D].")
  errors.require(
    mask is None or mask.shape == x.shape, f"{path}: mask must have x's shape {list(x.shape)}, 1 where x is observed."
  )
  missing = [marked(column, markers) for column in x.T]
  if mask is not None:
    missing = [gone | (m == 0) for gone, m in zip(missing, mask.T, strict=True)]

  def write(path, fills):
    filled = x.copy()
    for j, values in fills.items():
      filled[missing[j], j] = values
    with files.whole(path) as temporary, open(temporary, "wb") as f:
      np.savez(f, **(arrays | {"x": filled}))

  return Table(tuple(f"x{j}" for j in range(x.shape[1])), list(x.T), missing, write)

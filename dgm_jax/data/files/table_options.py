"""How a table is read: the options that `config.data` of the data set `array` and `dgm_jax impute` share."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors

# Texts that mark a missing entry in every table: those of pandas, and NaT, as which it writes a missing time.
MISSING = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
           "NA", "NULL", "NaN", "NaT", "None", "n/a", "nan", "null")  # fmt: skip
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f])\d{3}(\1\d{3})*([.,]\d+)?")
_SHOWN = 30  # names in an error message, at most


class Options(NamedTuple):
  """How a table is read.

  Attributes:
    separator: what separates the columns of a text file, a character or "tab"; "" to detect it.
    decimal: the decimal mark of a text file, "." or ","; "," is detected where another character separates the columns.
    missing: texts and numbers that mark a missing entry, in addition to MISSING: "A,B" or a sequence.
    columns: names or indices (from 0; -1 is the last) of the columns to use: "A,B" or a sequence; or a sequence of a
      bool for each column; all but an index if empty.
    target: name or index of the column that is y; "" for none.
    header: whether the first line of a text file holds the names of the columns; None: unless it holds only numbers.
  """

  separator: str = ""
  decimal: str = "."
  missing: str | Sequence[Any] = ()
  columns: str | Sequence[Any] = ()
  target: str | int = ""
  header: bool | None = None

  @property
  def markers(self) -> tuple[str, ...]:
    """`missing` as texts."""
    return listed(self.missing)


def listed(given: str | Sequence[Any] | None) -> tuple[str, ...]:
  """The entries of "A,B" or of a sequence, as texts."""
  parts = (given or "").split(",") if isinstance(given, str | None) else map(str, given)
  return tuple(part.strip() for part in parts if part.strip())


def number(text: Any) -> float | None:
  """The number that a text is, or None."""
  try:
    return None if "_" in str(text) else float(text)  # Python takes 1_000 for a number
  except (TypeError, ValueError):
    return None


def key(value: Any) -> Any:
  """What two spellings of one value have in common: 1, "1" and "1.0"; "True" and "true"; else the value itself."""
  if isinstance(value, bool | np.bool_) or (isinstance(value, str) and value.lower() in ("true", "false")):
    return str(value).lower()
  if isinstance(value, str):
    if _WHOLE.fullmatch(value):
      return int(value)  # exact, also beyond 2^53
    found = number(value)
    return value if found is None else found
  return value


def keys(values: Any) -> np.ndarray:
  """The key of each of [N] values: numbers as they are, else objects."""
  import pandas as pd

  if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
    return values
  codes, distinct = pd.factorize(np.asarray(values, object), use_na_sentinel=False)
  found = np.empty(len(distinct), object)
  found[:] = [key(value) for value in distinct]
  return found[codes]


def written(value: float) -> str:
  """A number as text: six significant digits; integers in full."""
  return str(int(value)) if isinstance(value, int | np.integer) else f"{value:.6g}"


def notation(text: Any) -> str:
  """What is unusual in a text that is written like a number, and what to do about it; "" if it is none."""
  found = str(text).strip()
  if not isinstance(text, str) or number(found) is not None:
    return ""
  thousands = "leave out the separators of thousands"
  if _THOUSANDS.fullmatch(found):
    return (
      f"{thousands}, or read decimal commas by the option decimal=,"
      if re.fullmatch(r"[+-]?\d+,\d+", found)
      else thousands
    )
  if re.fullmatch(r"[+-]?\d*,\d+", found):
    return "the option decimal=, reads decimal commas, in a file with another separator"
  if re.fullmatch(r"[+-]?[\d.,]+\s*%", found):
    return "leave out the percent signs"
  return "leave out the currency" if re.fullmatch(r"[$€£¥]\s*[+-]?[\d.,]+|[+-]?[\d.,]+\s*[$€£¥]", found) else ""


def marked(values: np.ndarray, markers: Sequence[str]) -> np.ndarray:
  """bool, true where a number (of any shape) or one of [N] texts marks a missing entry."""
  numbers = [n for n in map(number, markers) if n is not None]
  if values.dtype.kind in "fiub":
    # -999.1 in the type of the values: float32 rounds it
    return np.isnan(values) | np.isin(values, np.array(numbers, values.dtype if values.dtype.kind == "f" else float))
  import pandas as pd

  texts = pd.Series(values, dtype=object)
  found = texts.isna() | texts.isin([*MISSING, *markers])
  if numbers:
    found |= pd.to_numeric(texts, errors="coerce").isin(numbers)
  return found.to_numpy(bool)


def index(names: Sequence[str], given: Any, what: str, path: Any) -> int:
  """The index of a column that is given by its name or its index.

  Args:
    names: the columns of the table.
    given: a name or an index, or an index as text; names come first.
    what: "column" or "target", for the error message.
    path: the table, for the error message.

  Raises:
    UserError: there is no such column; the message lists the nearest.
  """
  text = str(given)
  if text in names:
    return list(names).index(text)
  if text.lstrip("-").isdigit() and -len(names) <= int(text) < len(names):
    return int(text) % len(names)
  near = names if len(names) <= _SHOWN else difflib.get_close_matches(text, names, n=5, cutoff=0.3)
  raise errors.unknown(f"{what} of {path}", text, near or names[:_SHOWN])


def _used(names: Sequence[str], given: Sequence[str], path: Any) -> list[int]:
  """The indices of columns that are given by name, by index, or by a mask of True and False."""
  if not given or not set(given) <= {"True", "False"} - set(names):
    return [index(names, text, "column", path) for text in given]
  errors.require(
    len(given) == len(names), f"{path}: the option columns is a mask of {len(given)} columns; there are {len(names)}."
  )
  return [j for j, text in enumerate(given) if text == "True"]


def chosen(
  names: Sequence[str], options: Options, path: Any, left_out: Sequence[int] = ()
) -> tuple[list[int], int | None]:
  """(indices of the columns to use, without the target; index of the target, or None).

  Args:
    names: all columns of the table.
    options, path: of the table.
    left_out: columns that are used only if options.columns names them.

  Raises:
    UserError: there is no such column, one is listed twice, or none is left.
  """
  target = None if options.target in ("", None) else index(names, options.target, "target", path)
  used = _used(names, listed(options.columns), path)
  twice = next((names[j] for i, j in enumerate(used) if j in used[:i]), None)
  errors.require(twice is None, f"{path}: the option columns lists {twice!r} twice.")
  used = [j for j in used or (j for j in range(len(names)) if j not in left_out) if j != target]
  errors.require(len(used) > 0, f"{path} has no column besides the target {names[target or 0]!r}.")
  return used, target

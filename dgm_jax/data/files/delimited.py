"""Tables in text files (.csv, .tsv, also gzipped): their cells, and the same file with the missing cells filled."""

import gzip
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files.table_options import Options, marked, number, written

_SEPARATORS = (";", "\t", "|", ",")
_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_GROUP = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)  # 1,234
_POINT = re.compile(r"[+-]?\d*\.\d+", re.ASCII)
_INDEX = re.compile(r"|Unnamed: 0(\.\d+)?|__index_level_\d+__")
_HEAD = 2**16  # characters in which the separator is detected


def read(
  path: pathlib.Path, options: Options
) -> tuple[tuple[str, ...], list[np.ndarray], list[np.ndarray], Callable[..., None], tuple[int, ...]]:
  """The fields of a Table.  Text is UTF-8; cells may be quoted; empty lines between rows of several cells are skipped.

  Raises:
    UserError: the lines do not have the same number of cells, or the separator does not occur.
  """
  raw = path.read_bytes()
  text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
  mark = "\ufeff" if text.startswith("\ufeff") else ""
  newline = next((end for end in ("\r\n", "\n", "\r") if end in text), "\n")
  text = text.removeprefix(mark)
  end = re.search(rf"({newline})*\Z", text)[0]
  text = text.removesuffix(end)
  separator = _separator(text, newline, options, path)
  lines = _split(text, separator, newline, path)
  width = len(lines[0])
  blank = [width > 1 and len(row) == 1 and not row[0].strip() for row in lines]
  rows = [row for row, gap in zip(lines, blank, strict=True) if not gap]
  _check_widths(lines, blank, separator, path)
  decimal = _decimal(rows, separator, options)
  header = _has_header(rows[0], options.header, decimal, path)
  top = rows[:1] if header else []
  plain = [_plain(cell) if header else "" for cell in rows[0]]
  names = tuple(name or f"column_{j + 1}" for j, name in enumerate(plain))
  cells = [np.array(column, dtype=object) for column in zip(*rows[len(top) :], strict=True)] or [np.array([])]
  gaps = {i: lines[i][0] for i, gap in enumerate(blank) if gap}
  values = [np.array([_text(c, decimal) for c in column], dtype=object) for column in cells]
  _check_thousands(names, cells, decimal, path)
  missing = [marked(column, options.markers) for column in values]
  del lines, rows, text

  def write(path: pathlib.Path, fills: dict[int, Sequence[Any]]) -> None:
    style, parts = (separator, decimal), enumerate(zip(cells, missing, strict=True))
    filled = [_filled(column, gone, fills[j], *style) if j in fills else column for j, (column, gone) in parts]
    lines = [separator.join(row) for row in (*top, *zip(*filled, strict=True))]
    for i, gap in gaps.items():
      lines.insert(i, gap)
    with files.whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as f:
      f.write(mark + newline.join(lines) + end)

  return names, values, missing, write, _index(plain if header else names, values, missing)


def _separator(text: str, newline: str, options: Options, path: pathlib.Path) -> str:
  """The given separator, or the one that occurs equally often in each line, the most often if there are several."""
  given = {"tab": "\t", "\\t": "\t"}.get(options.separator, options.separator)
  errors.require(options.decimal in (".", ","), f"The option decimal = {options.decimal!r}; it must be '.' or ','.")
  head = re.sub('"[^"]*"', "", text[:_HEAD]).split(newline)
  lines = [line for line in (head[:-1] if len(text) > _HEAD and len(head) > 1 else head) if line]
  if given:
    errors.require(
      len(given) == 1 and given not in ('"', "\n", options.decimal),
      f"The option separator = {given!r}; it must be one character, or tab, and differ from the decimal mark.",
    )
    errors.require(
      not lines or given in lines[0],
      f"{path}: the separator {given!r} does not occur in the first line, {lines[0][:60] if lines else ''!r}; without "
      "the option separator it is detected.",
    )
    return given
  counts = {s: [line.count(s) for line in lines] for s in _SEPARATORS if s != options.decimal}
  if not lines or not any(c[0] for c in counts.values()):
    return "," if options.decimal == "." else ";"
  even = [s for s, c in counts.items() if c[0] and len(set(c)) == 1]
  return max(even or counts, key=lambda s: counts[s][0])


def _index(names: Sequence[str], values: list[np.ndarray], missing: list[np.ndarray]) -> tuple[int, ...]:
  """The columns that pandas or R wrote as an index: nameless and first, or "Unnamed: 0", with no value twice."""
  found = (j for j, name in enumerate(names) if _INDEX.fullmatch(name) and (name or j == 0) and len(names) > 1)
  return tuple(j for j in found if not missing[j].any() and len(set(values[j])) == len(values[j]))


def _decimal(rows: list[list[str]], separator: str, options: Options) -> str:
  """The decimal mark: "," if no number has a point, and some have a comma, which separates no columns or thousands."""
  if options.decimal != "." or separator == ",":
    return options.decimal
  plain = {_plain(cell) for row in rows for cell in row}
  commas = [cell for cell in plain if _COMMA.fullmatch(cell)]
  is_mark = any(not _GROUP.fullmatch(cell) for cell in commas) and not any(_POINT.fullmatch(cell) for cell in plain)
  return "," if is_mark else "."


def _check_thousands(names: Sequence[str], cells: list[np.ndarray], decimal: str, path: pathlib.Path) -> None:
  """Raises UserError if 1.234 stands in a column of numbers with decimal commas: a thousand, or a part of one?"""
  for name, column in zip(names, cells, strict=False):
    plain = [_plain(cell) for cell in column] if decimal == "," else []
    points = [cell for cell in plain if _POINT.fullmatch(cell)]
    errors.require(
      not points or not any(_COMMA.fullmatch(cell) for cell in plain),
      f"{path}: column {name!r} holds {points and points[0]!r}, but its decimal mark is ','; leave out the separators "
      "of thousands, or write all numbers with one decimal mark.",
    )


def _split(text: str, separator: str, newline: str, path: pathlib.Path) -> list[list[str]]:
  """The raw cells of each line; a quoted cell may hold separators and line ends."""
  s = re.escape(separator)
  cell = re.compile(rf'(?:^|{s})((?:"[^"]*"|[^{s}"])*)')
  rows, begun, start = [], "", 0
  for i, line in enumerate(text.split(newline)):
    start = start if begun else i + 1
    line = begun + line
    begun = line + newline if line.count('"') % 2 else ""
    if not begun:
      rows.append(cell.findall(line) if '"' in line else line.split(separator))
  errors.require(not begun, f"{path}: a quote in line {start} is not closed: {begun[:40]!r}")
  return rows


def _check_widths(lines: list[list[str]], blank: list[bool], separator: str, path: pathlib.Path) -> None:
  for i, (row, gap) in enumerate(zip(lines, blank, strict=True)):
    errors.require(
      gap or len(row) == len(lines[0]),
      f"{path}: line {i + 1} has {len(row)} cells, but the first line has {len(lines[0])}, with the separator "
      f"{separator!r}; all lines must have the same number, or choose another separator.",
    )


def _has_header(first: list[str], given: bool | None, decimal: str, path: pathlib.Path) -> bool:
  plain = [_text(cell, decimal) for cell in first]
  only_numbers = any(plain) and all(number(cell) is not None for cell in plain if cell)
  errors.require(
    not (given and only_numbers),
    f"{path}: the first line holds numbers, where column names are expected; use --no_header "
    "(header=False in config.data) if there are none.",
  )
  return not only_numbers if given is None else given


def _plain(cell: str) -> str:
  """The text of a raw cell."""
  cell = cell.strip()
  return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _text(cell: str, decimal: str) -> str:
  """The text of a raw cell, with a decimal point if it is a number."""
  plain = _plain(cell)
  if decimal == "," and "," in plain and number(point := plain.replace(",", ".")) is not None:
    return point
  return plain


def _filled(cells: np.ndarray, missing: np.ndarray, values: Sequence[Any], separator: str, decimal: str) -> np.ndarray:
  """The raw cells [N] with `values` in place of the missing ones."""
  raw = {_text(c, decimal): c for c in cells[~missing]}  # a class is written as in other rows, e.g. in quotes
  cells = cells.copy()
  cells[missing] = [
    raw.get(v) or _quoted(v, separator) if isinstance(v, str) else written(v).replace(".", decimal) for v in values
  ]
  return cells


def _quoted(text: str, separator: str) -> str:
  special = any(c in text for c in (separator, '"', "\n")) or text != text.strip()
  return '"{}"'.format(text.replace('"', '""')) if special else text

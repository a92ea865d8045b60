"""Reads files into arrays.  An error is one sentence with the file's name and what was expected.

Pickles are never loaded, because they can run any code.
"""

import contextlib
import gzip
import io
import pathlib
import re
import unicodedata
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files.table_options import notation

_TRUTH = {text: truth for truth in (False, True) for text in (str(truth), str(truth).lower(), str(truth).upper())}


@contextlib.contextmanager
def reading(path: Any, expected: str) -> Iterator[None]:
  """Turns any exception of a parser into a UserError that names the file and what was expected."""
  try:
    yield
  except errors.UserError:
    raise
  except OSError as e:
    if e.errno is not None:  # from the system, e.g. no permission; gzip and PIL set no errno
      raise errors.UserError(f"{path} cannot be read: {e.strerror}.") from e
    raise errors.UserError(f"{path} is not {expected}: {_reason(e)}.") from e
  except Exception as e:  # parsers raise all kinds of exceptions on damaged files
    raise errors.UserError(f"{path} is not {expected}: {_reason(e)}.") from e


def _reason(e: Exception) -> str:
  text = re.sub(r"<_io\.BytesIO[^>]*>", "it", " ".join(str(e).split())) or type(e).__name__
  if "allow_pickle" in text:  # numpy's advice to allow it
    text = "it holds Python objects, or is not a NumPy file"
  return (text if len(text) <= 200 else f"{text[:200]} ...").rstrip(".")


def require_file(path: pathlib.Path) -> None:
  """Raises UserError if the path is neither a file nor a folder: reading from a pipe may wait for ever."""
  errors.require(
    not path.exists() or path.is_file() or path.is_dir(), f"{path} is a pipe or a device; copy its content to a file."
  )


def extra(name: str, path: Any) -> ModuleType:
  """Imports a package that a file needs; the UserError says how to install a missing one."""
  return errors.import_package(name, str(path))


def idx(path: pathlib.Path) -> np.ndarray:
  """A gzipped idx file: two zero bytes, type (8: uint8), rank, big-endian shape, data."""
  with reading(path, "a gzipped idx file of uint8"):
    with gzip.open(path) as f:
      raw = f.read()
    if raw[:3] != b"\0\0\x08":
      raise ValueError(f"it begins with {raw[:3].hex()} instead of 000008")
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def digits(path: pathlib.Path, columns: int) -> np.ndarray:
  """Lines of `columns` single digits, separated by spaces: uint8 [N, columns]."""
  with reading(path, f"lines of {columns} zeros and ones"):
    found = np.frombuffer(path.read_bytes().translate(None, b" \r\n"), np.uint8) - ord("0")
    if found.size == 0 or found.max() > 1:
      raise ValueError("it holds other values")
    return found.reshape(-1, columns)


def array(path: pathlib.Path) -> np.ndarray:
  """A memory-mapped .npy file; raises UserError on object arrays, which are pickles."""
  with reading(path, "a .npy file of numbers (object arrays are pickles and never loaded)"):
    found = np.load(path, "r", allow_pickle=False)
    if not isinstance(found, np.ndarray):
      raise ValueError("it is a .npz file")
    return found


def archive(path: pathlib.Path) -> dict[str, np.ndarray]:
  """All arrays of a .npz file; raises UserError on object arrays, which are pickles."""
  expected = "a .npz file of numbers and strings (object arrays are pickles and never loaded)"
  with reading(path, expected), np.load(path, allow_pickle=False) as found:
    return {name: found[name] for name in found.files}


def mat(path: pathlib.Path, *names: str) -> list[np.ndarray]:
  """The variables `names` of a MATLAB file (up to version 7.2)."""
  import scipy.io

  with reading(path, f"a MATLAB file with {', '.join(names)}"):
    found = scipy.io.loadmat(path)
    if missing := [n for n in names if n not in found]:
      raise ValueError(f"{missing[0]!r} is missing; it has {', '.join(k for k in found if not k.startswith('__'))}")
    return [found[n] for n in names]


def composed(text: str) -> str:
  """The text in composed form (NFC), which has one spelling of every accented letter."""
  return text if text.isascii() else unicodedata.normalize("NFC", text)


def lines(path: pathlib.Path) -> list[str]:
  """The lines of a text file in UTF-8, also with a byte order mark, in composed form; gzipped if its name ends in .gz;
  without empty ones."""
  with reading(path, "lines of text in UTF-8"):
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    return [line for line in (s.strip() for s in composed(text).split("\n")) if line]


def text_files(path: pathlib.Path) -> list[pathlib.Path]:
  """The text files (.txt, .txt.gz) in a folder and its sub-folders, by name; a file is its own list.

  Raises:
    UserError: there is no such file, or no text in the folder.
  """
  errors.require(path.exists(), f"data.path {str(path)!r} does not exist.")
  require_file(path)
  if not path.is_dir():
    return [path]
  found = sorted(f for f in path.rglob("*") if f.name.lower().endswith((".txt", ".txt.gz")) and f.is_file())
  errors.require(bool(found), f"data.path {path} holds no text files (.txt, .txt.gz).")
  return found


def table(path: Any, expected: str = "a table", **options: Any) -> Any:
  """A pandas DataFrame of a .csv, .tsv, .data, .txt, .parquet, .xls or .xlsx file; all but the last three may be .gz.

  Args:
    path: the file.
    expected: what it should be, for the error message.
    **options: of pandas' reader, e.g. header=None, sep=";".  Without options, a first line of only numbers is data.
  """
  import pandas as pd

  suffix = pathlib.Path(str(path).removesuffix(".gz")).suffix.lower()
  if package := {".parquet": "pyarrow", ".xls": "xlrd", ".xlsx": "openpyxl"}.get(suffix):
    extra(package, path)
  with reading(path, expected), warnings.catch_warnings():
    if suffix == ".parquet":
      return pd.read_parquet(path, **options)
    if suffix in (".xls", ".xlsx"):
      return pd.read_excel(path, **options)
    warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
    if not options:
      options = {"sep": "\t" if suffix == ".tsv" else ",", "index_col": False}
      first = pd.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0].dropna()
      if len(first) and pd.to_numeric(first, errors="coerce").notna().all():
        options["header"] = None
    return pd.read_csv(path, **options)


def numbers(frame: Any, path: Any) -> np.ndarray:
  """The values of a DataFrame as float64, NaN where one is missing; the UserError on a string names column and row."""
  import pandas as pd

  columns = []
  for name in frame.columns:
    kind = frame[name].dtype
    errors.require(
      pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind),
      f"{path}: column {str(name)!r} holds {kind}, where numbers are expected; leave the column out.",
    )
    values = frame[name]
    if pd.api.types.is_object_dtype(kind) and values.dropna().isin(_TRUTH).all():
      values = values.map(_TRUTH)
    found = pd.to_numeric(values, errors="coerce")
    bad = found.isna() & values.notna()
    if bad.any():
      row = int(np.flatnonzero(bad)[0])
      text = values.iloc[row]
      hint = notation(text) or (
        "choose the columns to use by data.columns, or this one as data.target, or mark the value by data.missing"
      )
      raise errors.UserError(
        f"{path}: column {str(name)!r} holds {text!r} in row {row + 1}, where numbers are expected; {hint}."
      )
    exact = pd.to_numeric(values.dropna(), errors="coerce")
    errors.require(
      not pd.api.types.is_integer_dtype(exact) or exact.nunique() == exact.astype(np.float64).nunique(),
      f"{path}: different integers of column {str(name)!r} become equal as floating-point numbers, exact up to 2^53 "
      "only: subtract an offset from them, or leave the column out.",
    )
    columns.append(found.to_numpy(np.float64))
  return np.stack(columns, 1) if columns else np.zeros((len(frame), 0))


def image(raw: bytes, path: Any, size: tuple[int, int] | None, grey: bool = False, crop: int | None = None):
  """A decoded image: uint8 [H, W, 1 or 3].  Transparent pixels are composited on black.

  Args:
    raw: the file's contents.
    path: its name, for the error message.
    size: (height, width) to resize to, by averaging (Pillow's box filter, exact for integer factors); None
      keeps the size.
    grey: whether to convert to one channel.
    crop: side of the central square that is cut out first; 0 for the largest square, None for no crop.
  """
  from PIL import Image, ImageOps

  with reading(path, "an image of 8 bits that Pillow can decode"):
    picture = Image.open(io.BytesIO(raw))
    picture = ImageOps.exif_transpose(picture)  # as a viewer shows it: phones store pictures lying on their side
    if picture.mode.startswith(("I", "F")):
      raise ValueError(f"its pixels are {picture.mode}, more than 8 bits; save it with 8 bits")
    if picture.has_transparency_data:
      picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture.convert("RGBA"))
    picture = picture.convert("L" if grey else "RGB")
    width, height = picture.size
    if crop is not None:
      side = crop or min(width, height)
      left, top = (width - side) // 2, (height - side) // 2
      picture = picture.crop((left, top, left + side, top + side))
    if size is not None and picture.size != size[::-1]:
      picture = picture.resize(size[::-1], Image.Resampling.BOX)
    pixels = np.asarray(picture, np.uint8)
    return pixels[..., None] if grey else pixels

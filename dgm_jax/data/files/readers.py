"""Files into arrays.  Whatever is wrong with one is told in a sentence that names it and what was expected.

Nothing here ever loads a pickle: that runs whatever code the file holds.
"""

import contextlib
import gzip
import importlib
import io
import pathlib
import re
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from dgm_jax.core import errors


@contextlib.contextmanager
def reading(path: Any, expected: str) -> Iterator[None]:
  """Turns what a parser raises on a file into a UserError that names the file and what was expected."""
  try:
    yield
  except errors.UserError:
    raise
  except OSError as e:
    if e.errno is not None:  # the system's, e.g. no permission; gzip's and PIL's have none
      raise errors.UserError(f"{path} cannot be read: {e.strerror}.") from e
    raise errors.UserError(f"{path} is not {expected}: {_reason(e)}.") from e
  except Exception as e:  # parsers raise anything at all on a damaged file
    raise errors.UserError(f"{path} is not {expected}: {_reason(e)}.") from e


def _reason(e: Exception) -> str:
  text = re.sub(r"<_io\.BytesIO[^>]*>", "it", " ".join(str(e).split())) or type(e).__name__
  if "allow_pickle" in text:  # numpy's advice to allow it
    text = "it holds Python objects, or something else altogether"
  return (text if len(text) <= 200 else f"{text[:200]} ...").rstrip(".")


def extra(name: str, path: Any) -> ModuleType:
  """A module of the extra [data], or a sentence that says how to install it."""
  try:
    return importlib.import_module(name)
  except ImportError:
    raise errors.UserError(f"{path} needs the package {name}: pip install 'dgm_jax[data]'.") from None


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
      raise ValueError("it holds something else")
    return found.reshape(-1, columns)


def array(path: pathlib.Path) -> np.ndarray:
  """A .npy file, mapped into memory; object arrays, which are pickles, are refused."""
  with reading(path, "a .npy file of numbers (object arrays are pickles and never loaded)"):
    found = np.load(path, "r", allow_pickle=False)
    if not isinstance(found, np.ndarray):
      raise ValueError("it is a .npz file")
    return found


def archive(path: pathlib.Path) -> dict[str, np.ndarray]:
  """A .npz file, all of it; object arrays, which are pickles, are refused."""
  expected = "a .npz file of numbers and strings (object arrays are pickles and never loaded)"
  with reading(path, expected), np.load(path, allow_pickle=False) as found:
    return {name: found[name] for name in found.files}


def mat(path: pathlib.Path, *names: str) -> list[np.ndarray]:
  """These variables of a MATLAB file (up to version 7.2)."""
  import scipy.io

  with reading(path, f"a MATLAB file with {', '.join(names)}"):
    found = scipy.io.loadmat(path)
    if missing := [n for n in names if n not in found]:
      raise ValueError(f"{missing[0]!r} is missing; it has {', '.join(k for k in found if not k.startswith('__'))}")
    return [found[n] for n in names]


def lines(path: pathlib.Path) -> list[str]:
  """The lines of a text file in UTF-8, gzipped if its name ends in .gz; empty ones are left out."""
  with reading(path, "lines of text in UTF-8"):
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return [line for line in (s.strip() for s in text.split("\n")) if line]


def table(path: Any, expected: str = "a table", **options: Any) -> Any:
  """A pandas DataFrame of a .csv, .tsv, .data, .txt, .parquet, .xls or .xlsx file; all but the last three may be .gz.

  Args:
    path: the file.
    expected: what it should be, for the error message.
    **options: of pandas' reader, e.g. header=None, sep=";".  Without any, a first line of nothing but numbers is data.
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
    warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows longer than the line of names
    if not options:
      options = {"sep": "\t" if suffix == ".tsv" else ",", "index_col": False}
      first = pd.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0].dropna()
      if len(first) and pd.to_numeric(first, errors="coerce").notna().all():
        options["header"] = None
    return pd.read_csv(path, **options)


def numbers(frame: Any, path: Any) -> np.ndarray:
  """The values of a DataFrame as float64, NaN where one is missing; strings are refused by column and row."""
  import pandas as pd

  columns = []
  for name in frame.columns:
    kind = frame[name].dtype
    errors.require(
      pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind),
      f"{path}: column {str(name)!r} holds {kind}, where numbers belong; leave the column out.",
    )
    found = pd.to_numeric(frame[name], errors="coerce")
    bad = found.isna() & frame[name].notna()
    if bad.any():
      row = int(np.flatnonzero(bad)[0])
      raise errors.UserError(
        f"{path}: column {str(name)!r} holds {frame[name].iloc[row]!r} in row {row + 1}, where numbers belong; "
        "leave the column out, or name it as data.label."
      )
    columns.append(found.to_numpy(np.float64))
  return np.stack(columns, 1) if columns else np.zeros((len(frame), 0))


def image(raw: bytes, path: Any, size: tuple[int, int] | None, grey: bool = False, crop: int | None = None):
  """A picture, decoded: uint8 [H, W, 1 or 3].

  Args:
    raw: the file's contents.
    path: its name, for the error message.
    size: (height, width) to resize to, by averaging (Pillow's box filter, exact where the factor is whole); None
      leaves it as it is.
    grey: to one channel.  Transparent pixels are put on black.
    crop: first cuts the square of this side out of the middle; 0 for the largest square.
  """
  from PIL import Image

  with reading(path, "an image of 8 bits that Pillow can decode"):
    picture = Image.open(io.BytesIO(raw))
    if picture.mode.startswith(("I", "F")):
      raise ValueError(f"its pixels are {picture.mode}, more than 8 bits; save it with 8")
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

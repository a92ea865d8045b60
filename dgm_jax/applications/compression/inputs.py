"""Files of integers and of text, as what a codec takes, and back."""

import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_jax.core import errors, files

KINDS = ("text", "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
TABLES, TEXTS = (".npy", ".npz", ".csv"), (".txt", ".text")
_SPECIAL = ("<pad>", "<unk>", "<end>")  # of a vocabulary whose rows are lines, each with an end
_END = 2


def read_array(path: pathlib.Path) -> np.ndarray:
  """The numbers of a .npy file, of the array x of a .npz file, or of a .csv file without a header.

  Raises:
    UserError: the file is missing, damaged or holds no numbers.
  """
  errors.require(
    path.suffix in TABLES,
    f"{path}: a file of {', '.join(TABLES)} is expected; a text ({', '.join(TEXTS)}) is for a model of text.",
  )
  errors.require(path.is_file(), f"{path} does not exist.")
  try:
    if path.suffix == ".csv":
      rows = [line.split(",") for line in path.read_text("utf-8").split()]
      return np.array(rows, np.int64)
    found = np.load(path, "r" if path.suffix == ".npy" else None, allow_pickle=False)
    if path.suffix == ".npy":
      return found
    with found:
      return found["x"]
  except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as e:
    what = {".csv": "lines of integers with commas between them, without a header", ".npz": "an array x"}
    raise errors.UserError(f"{path} is not a file of {what.get(path.suffix, 'an array')}: {e}.") from e


def kind_of(x: np.ndarray, what: str) -> int:
  """The number of an array's type in KINDS.  Raises UserError for another one."""
  errors.require(x.dtype.name in KINDS, f"{what} has numbers of type {x.dtype}; choose one of {', '.join(KINDS[1:])}.")
  return KINDS.index(x.dtype.name)


def write_array(path: pathlib.Path, x: np.ndarray) -> None:
  """Writes an array in the format that the suffix of `path` names.  Raises UserError for another suffix."""
  errors.require(path.suffix in TABLES, f"--out {path}: this is of integers; choose a file of {', '.join(TABLES)}.")
  if path.suffix == ".npz":
    files.save_arrays(path, x=x)
  elif path.suffix == ".csv":
    lines = [",".join(map(str, row)) for row in x.reshape(len(x), -1).astype(np.int64).tolist()]
    files.write_text(path, "".join(f"{line}\n" for line in lines))
  else:
    files.save_array(path, x)


class Text:
  """The tokens of a text for a model whose data set has about["vocabulary"].

  Where the data set has an example for each line, every line of a text is a row that ends with <end>; where it has
  windows of a text, the text is cut into rows of the model's length, of which the last may be shorter, and <end> is a
  line break.

  Args:
    about: metadata of the data set.
    length: T, tokens of a row.

  Raises:
    UserError: the model is not of text, or of words, which do not determine the white space between them.
  """

  def __init__(self, about: Mapping[str, Any], length: int):
    vocabulary = tuple(about.get("vocabulary", ()))
    errors.require(len(vocabulary) > 0 and "tokens" in about, "This run is not of text; name a file of integers.")
    errors.require(
      about["tokens"] != "word", "This run is of words, which do not determine the white space between them."
    )
    has_end = vocabulary[: len(_SPECIAL)] == _SPECIAL
    self.by_line = has_end and "windows" not in about
    if has_end and not self.by_line:
      vocabulary = (*vocabulary[:_END], "\n", *vocabulary[_END + 1 :])
    own = vocabulary[_END + self.by_line :] if has_end else vocabulary
    self._vocabulary, self._length = vocabulary, length
    self._ids = {token: i for i, token in enumerate(vocabulary) if token in set(own)}
    longest_first = sorted(own, key=len, reverse=True)
    self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.DOTALL)

  @property
  def end(self) -> int | None:
    """The token after which a row ends."""
    return _END if self.by_line else None

  def _tokens(self, text: str, what: str) -> list[int]:
    found = self._pattern.findall(text)
    if sum(map(len, found)) != len(text):
      unknown = self._pattern.sub("", text)[:1]
      raise errors.UserError(f"{what} has the character {unknown!r}, which the vocabulary of the run lacks.")
    return [self._ids[token] for token in found]

  def encode(self, text: str, what: str = "the text") -> tuple[np.ndarray, int]:
    """(rows of tokens [N, T], the number of rows, or where rows are no lines of tokens).

    Raises:
      UserError: an unknown character, a line that is too long, or an empty text.
    """
    errors.require(len(text) > 0, f"{what} is empty.")
    if not self.by_line:
      ids = self._tokens(text, what)
      rows = np.zeros(-(-len(ids) // self._length) * self._length, np.int32)
      rows[: len(ids)] = ids
      return rows.reshape(-1, self._length), len(ids)
    errors.require(text.endswith("\n"), f"{what} must end with a line break: the run is of lines.")
    lines = text[:-1].split("\n")
    rows = np.zeros((len(lines), self._length), np.int32)
    for i, line in enumerate(lines):
      ids = [*self._tokens(line, what), _END]
      errors.require(
        len(ids) <= self._length,
        f"{what}: line {i + 1} has {len(ids) - 1} tokens; the run is of lines of at most {self._length - 1}.",
      )
      rows[i, : len(ids)] = ids
    return rows, len(lines)

  def lengths(self, count: int) -> np.ndarray:
    """[N], how many tokens of each row are encoded at most, for the count that `encode` returned."""
    if self.by_line:
      return np.full(count, self._length)
    rows = -(-count // self._length)
    return np.minimum(self._length, count - self._length * np.arange(rows))

  def decode(self, rows: np.ndarray, count: int) -> str:
    """The text of rows of tokens [N, T]."""
    if not self.by_line:
      return "".join(self._vocabulary[i] for i in rows.ravel()[:count].tolist())
    lines = []
    for row in rows:
      ids = row.tolist()
      lines.append("".join(self._vocabulary[i] for i in (ids[: ids.index(_END)] if _END in ids else ids)))
    return "".join(f"{line}\n" for line in lines)

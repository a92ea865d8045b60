"""Sentences that a user gives, as token ids of a run; codes in .csv files."""

import csv
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import tokens


def fingerprint(about: Mapping[str, Any]) -> str:
  """Eight hexadecimal digits of a run's vocabulary."""
  return f"{zlib.crc32(chr(0).join(about['vocabulary']).encode()):08x}"


def read(path: pathlib.Path) -> list[str]:
  """The lines of a text file.  Raises UserError: no such file, not UTF-8, or without a line."""
  errors.require(path.is_file(), f"{path} does not exist, or is a folder.")
  try:
    lines = path.read_bytes().decode("utf-8").splitlines()
  except UnicodeDecodeError as e:
    raise errors.UserError(f"{path} is not a text in UTF-8: {e}.") from e
  errors.require(bool(lines), f"{path} has no lines.")
  return lines


def encode(lines: Sequence[str], about: Mapping[str, Any], width: int, what: str = "sentence") -> dict[str, np.ndarray]:
  """{x int32 [N, T], length int32 [N]} of sentences, whose words outside the vocabulary are <unk>.

  Args:
    lines: N sentences.
    about: the metadata of the run's data set, with its vocabulary.
    width: T of the run.
    what: what a line is called in messages, before its number.

  Raises:
    UserError: there are none; or one is empty, longer than the run's sentences, or of unknown words alone.  Names it.
  """
  errors.require(len(lines) > 0, f"There is no {what}.")
  for i, line in enumerate(lines, 1):
    errors.require(bool(line.strip()), f"{what} {i} is empty.")
    errors.require("\n" not in line, f"{what} {i} has a line break; give one sentence at a time.")
    row = tokens.rows_of([line], about, 1 + 2 * len(line))
    count = int(row["length"][0]) - 1
    errors.require(count > 0, f"{what} {i} has no words: {line[:60]!r}.")
    errors.require(
      count < width,
      f"{what} {i} has {count} tokens; the run's sentences have at most {width - 1}, which data.max_length set.",
    )
    errors.require(
      bool((row["x"][0, :count] != tokens.UNK).any()),
      f"{what} {i} has no word of the run's vocabulary: {line[:60]!r}.",
    )
  return tokens.rows_of(list(lines), about, width)


def write_csv(path: pathlib.Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
  """Writes a .csv file beside its name, then renames it."""
  with files.whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
    writer = csv.writer(f)
    writer.writerow(header)
    writer.writerows(rows)


def read_codes(path: pathlib.Path, latent_dim: int, vocabulary: str) -> np.ndarray:
  """z float32 [N, L] of a .csv file that the command `encode` wrote.

  Raises:
    UserError: another kind of file, another run's codes, or a number that is none; names the line.
  """
  errors.require(path.is_file(), f"{path} does not exist, or is a folder.")
  try:
    with open(path, newline="", encoding="utf-8") as f:
      rows = list(csv.reader(f))
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.UserError(f"{path} is no .csv file: {e}.") from e
  header = rows[0] if rows else []
  columns = [header.index(f"z{i + 1}") if f"z{i + 1}" in header else -1 for i in range(latent_dim)]
  errors.require(
    "vocabulary" in header and min(columns) >= 0 and f"z{latent_dim + 1}" not in header,
    f"{path} has no codes of {latent_dim} dimensions with their vocabulary, as the command encode writes them.",
  )
  errors.require(len(rows) > 1, f"{path} has no codes.")
  found = np.empty((len(rows) - 1, latent_dim), np.float32)
  for i, row in enumerate(rows[1:]):
    errors.require(len(row) == len(header), f"{path}, line {i + 2}: {len(row)} cells, not {len(header)}.")
    errors.require(
      row[header.index("vocabulary")] == vocabulary,
      f"{path}, line {i + 2}: the code is of a run with another vocabulary ({row[header.index('vocabulary')]}, not "
      f"{vocabulary}).",
    )
    try:
      found[i] = [float(row[c]) for c in columns]
    except ValueError as e:
      raise errors.UserError(f"{path}, line {i + 2}: {e}.") from e
    errors.require(bool(np.isfinite(found[i]).all()), f"{path}, line {i + 2}: a number is not finite.")
  return found

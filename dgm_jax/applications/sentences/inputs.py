"""Sentences that a user gives, as token ids of a run; codes in .csv files."""

import csv
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import tokens


def fingerprint(about: Mapping[str, Any], variables: Any) -> str:
  """Eight hexadecimal digits of a model: its vocabulary, parameters and other variables."""
  found = zlib.crc32(chr(0).join(about["vocabulary"]).encode())
  for leaf in jax.tree.leaves(jax.device_get(variables)):
    found = zlib.crc32(np.ascontiguousarray(leaf), found)
  return f"{found:08x}"


def read(path: pathlib.Path) -> list[str]:
  """The lines of a text file, divided as those of training sets are, with the empty ones.

  Raises:
    UserError: no such file, not UTF-8, or without a line.
  """
  errors.require(path.is_file(), f"{path} does not exist, or is a folder.")
  try:
    lines = [line.strip() for line in path.read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")]
  except UnicodeDecodeError as e:
    raise errors.UserError(f"{path} is not a text in UTF-8: {e}.") from e
  errors.require(any(lines), f"{path} has no lines.")
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
  for i, (line, ids) in enumerate(zip(lines, tokens.ids_of_lines(lines, about), strict=True), 1):
    errors.require(bool(ids), f"{what} {i} has no words: {line[:60]!r}.")
    errors.require(
      len(ids) < width,
      f"{what} {i} has {len(ids)} tokens; the run's sentences have at most {width - 1}.",
    )
    errors.require(
      any(token != tokens.UNK for token in ids),
      f"{what} {i} has no word of the run's vocabulary: {line[:60]!r}.",
    )
  return tokens.rows_of(list(lines), about, width)


def write_csv(path: pathlib.Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
  """Writes a .csv file beside its name, then renames it."""
  with files.whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
    writer = csv.writer(f)
    writer.writerow(header)
    writer.writerows(rows)


def read_codes(path: pathlib.Path, latent_dim: int, model: str) -> np.ndarray:
  """z float32 [N, L] of a .csv file that the command `encode` wrote.

  Raises:
    UserError: another kind of file, codes of another model, or what is no finite number; names the line.
  """
  errors.require(path.is_file(), f"{path} does not exist, or is a folder.")
  try:
    with open(path, newline="", encoding="utf-8-sig") as f:  # spreadsheets write a byte order mark
      rows = list(csv.reader(f))
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.UserError(f"{path} is no .csv file: {e}.") from e
  header = rows[0] if rows else []
  columns = [header.index(f"z{i + 1}") if f"z{i + 1}" in header else -1 for i in range(latent_dim)]
  errors.require(
    "model" in header and min(columns) >= 0 and f"z{latent_dim + 1}" not in header,
    f"{path} has no codes of {latent_dim} dimensions with their model, as the command encode writes them.",
  )
  errors.require(len(rows) > 1, f"{path} has no codes.")
  found = np.empty((len(rows) - 1, latent_dim), np.float32)
  for i, row in enumerate(rows[1:]):
    errors.require(len(row) == len(header), f"{path}, line {i + 2}: {len(row)} cells, not {len(header)}.")
    errors.require(
      row[header.index("model")] == model,
      f"{path}, line {i + 2}: the code is of another model ({row[header.index('model')]}, not {model}): of another "
      "run, checkpoint or vocabulary.",
    )
    try:
      found[i] = [float(row[c]) for c in columns]
    except ValueError as e:
      raise errors.UserError(f"{path}, line {i + 2}: {e}.") from e
    errors.require(bool(np.isfinite(found[i]).all()), f"{path}, line {i + 2}: a number is not finite.")
  return found

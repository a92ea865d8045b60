"""Token ids of lines by a vocabulary that exists, and the texts of token ids; tokenisation.py makes the vocabulary.

Ids are 0 <pad>, 1 <unk>, 2 <end>, then the tokens of the training split, the most frequent first (ties in the order of
the tokens themselves).  Tokens that do not occur in the training split are <unk>.  A line ends with <end>, and <pad>
fills its row.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import derivations, readers, selfies_text, sentences

SPECIAL = ("<pad>", "<unk>", "<end>")
PAD, UNK, END = range(3)
KINDS = ("character", "letter", "word", "atom", "rule", "selfies")
OF_LINES = ("rule", "selfies")  # not of windows of a text
BETWEEN = 20 * "-"  # the line between texts of several lines
ATOM = re.compile(r"\[[^\]\n]*\]|Br|Cl|@@|%\d\d")  # tokens of SMILES with more than one character


def letters(text: str) -> str:
  """The text in the 27 symbols of Shannon (1951): a to z, and one space for each run of other characters."""
  return re.sub("[^a-z]+", " ", text.lower()).strip()


def rows(ids: np.ndarray, counts: np.ndarray, width: int) -> np.ndarray:
  """Ids of all lines as int32 [N, width], each line followed by <end> and <pad>."""
  x = np.full((len(counts), width), PAD, np.int32)
  x[np.arange(width) < counts[:, None]] = ids
  x[np.arange(len(counts)), counts] = END
  return x


def token_counts(train: Arrays, size: int) -> np.ndarray:
  """How often each of `size` tokens occurs in x of the training set, int64 [size]; without <pad> behind a line."""
  x = train["x"]
  inside = np.ones(x.shape, bool) if "length" not in train else np.arange(x.shape[1]) < train["length"][:, None]
  return np.bincount(x[inside].astype(np.int64).ravel(), minlength=size)


def _pieces(text: str, kind: str) -> list[str]:
  """The tokens of a text without line breaks."""
  if kind == "word":
    return text.split()
  if kind == "atom":
    return re.findall(f"{ATOM.pattern}|.", text)
  if kind == "selfies":
    return selfies_text.symbols(text).split()
  return list(letters(text) if kind == "letter" else text)


def ids_of(text: str, about: Mapping[str, Any]) -> np.ndarray:
  """The token ids of a text [T], int32: the inverse of `decode`.

  Args:
    text: what a sequence begins with.
    about: as in decode.

  Raises:
    UserError: the text has no token, or tokens that are not in the vocabulary.
  """
  vocabulary, kind = about["vocabulary"], about["tokens"]
  errors.require(kind not in OF_LINES, f"Sequences of the tokens {kind!r} cannot be begun by a text.")
  known = {token: i for i, token in enumerate(vocabulary)}
  ends = tuple(vocabulary[: len(SPECIAL)]) == SPECIAL
  text = "\n".join(map(sentences.separated, text.split("\n"))) if about.get("separated") else text
  lines = [_pieces(line, kind) for line in text.split("\n")] if ends else [list(text)]
  pieces = lines[0] + [token for line in lines[1:] for token in (SPECIAL[END], *line)]
  errors.require(bool(pieces), "The text to begin with is empty; give at least one token.")
  unknown = [*dict.fromkeys(token for token in pieces if token not in known)]
  some = " ".join(repr(token)[1:-1] for token in vocabulary[len(SPECIAL) * ends :][:100])
  errors.require(
    not unknown,
    f"The text to begin with has {kind}s that are not in the vocabulary of the model: "
    f"{', '.join(map(repr, unknown[:10]))}. Choose from: {some}{' ...' if len(vocabulary) > 103 else ''}",
  )
  return np.array([known[token] for token in pieces], np.int32)


def ids_of_lines(lines: Sequence[str], about: Mapping[str, Any]) -> list[list[int]]:
  """The token ids of lines as tokenisation.encode has them, without <end>; those outside the vocabulary are <unk>.

  In a line <pad> and <end> are words as others: they are no marks.
  """
  vocabulary = about["vocabulary"]
  marks = (PAD, END) if tuple(vocabulary[: len(SPECIAL)]) == SPECIAL else ()
  known = {token: i for i, token in enumerate(vocabulary) if i not in marks}
  lines = [readers.composed(line) for line in lines]
  lines = [sentences.separated(line) for line in lines] if about.get("separated") else lines
  return [[known.get(token, UNK) for token in _pieces(line, about["tokens"])] for line in lines]


def rows_of(lines: Sequence[str], about: Mapping[str, Any], width: int) -> dict[str, np.ndarray]:
  """{x int32 [N, T], length int32 [N]}: lines of text by a vocabulary that exists, as tokenisation.encode has them.

  Args:
    lines: N strings without line breaks; tokens outside the vocabulary are <unk>.
    about: as in decode, of lines rather than of windows.
    width: T.

  Raises:
    UserError: no lines, or a line that is too long.
  """
  errors.require(len(lines) > 0, "There is no line of text.")
  if about["tokens"] == "rule":
    return derivations.rows_of(lines, about, width)
  ids = ids_of_lines(lines, about)
  for i, line in enumerate(ids):
    errors.require(
      len(line) < width, f"Line {i + 1} has {len(line)} tokens; the model's lines have at most {width - 1}."
    )
  counts = np.array([len(line) for line in ids], np.int64)
  joined = np.array([token for line in ids for token in line], np.int32)
  return {"x": rows(joined, counts, width), "length": (counts + 1).astype(np.int32)}


def decode(x: np.ndarray, about: Mapping[str, Any]) -> list[str]:
  """The strings of token ids [N, T], up to the first <end> or <pad>; words are joined by a space.

  In windows of a text, <end> is the end of a line, after which the next one follows.  A derivation that is not
  complete is <incomplete>; SELFIES become SMILES.

  Args:
    x: token ids.
    about: `about` of the splits that they come from, with the vocabulary.
  """
  vocabulary = about["vocabulary"]
  if about["tokens"] == "rule":
    return derivations.strings(x, about)
  if "windows" in about:
    return [_text(row, vocabulary, about["tokens"]) for row in np.asarray(x)]
  stops = (PAD, END) if tuple(vocabulary[: len(SPECIAL)]) == SPECIAL else ()
  ends = np.concatenate([np.isin(x, stops), np.ones((len(x), 1), bool)], 1).argmax(1)
  joint = " " if about["tokens"] == "word" else ""
  rows = [[vocabulary[i] for i in row[:end].tolist()] for row, end in zip(np.asarray(x), ends, strict=True)]
  if about["tokens"] == "selfies":
    return [selfies_text.smiles([piece for piece in row if piece not in SPECIAL]) for row in rows]
  return [joint.join(row) for row in rows]


def listed(texts: Sequence[str]) -> str:
  """Texts below each other: a line for each, or several lines with BETWEEN between the texts."""
  return (f"\n{BETWEEN}\n" if any("\n" in text for text in texts) else "\n").join(texts)


def _text(row: np.ndarray, vocabulary: Sequence[str], kind: str) -> str:
  """The text of token ids [T]."""
  joint = " " if kind == "word" else ""
  if tuple(vocabulary[: len(SPECIAL)]) != SPECIAL:
    return joint.join(vocabulary[i] for i in row.tolist())
  lines = np.split(row, np.flatnonzero(row == END))
  names = ([vocabulary[i] for i in line.tolist() if i not in (PAD, END)] for line in lines)
  return "\n".join(joint.join(line) for line in names)

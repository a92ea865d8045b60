"""Sentences of a text, and its words in lower case with punctuation marks as words of their own."""

import itertools
import re
from collections.abc import Sequence

from dgm_jax.core import errors

UNITS = ("line", "sentence")
_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|\Z)")  # a sentence's last mark, with the quotes and brackets that it closes
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")  # don't and o'clock are one word each
_CLOSING = re.compile(r" ([.,;:!?)\]’”])")


def separated(text: str) -> str:
  """The words of a text in lower case, separated by single spaces; every punctuation mark is a word.

  Words of angle brackets, such as <unk>, stay.
  """
  pieces = re.split(r"(<[a-z]+>)", text.lower())
  return " ".join(
    word
    for piece in pieces
    for word in ([piece] if piece[:1] == "<" and piece[1:2].isalpha() else _WORD.findall(piece))
  )


def readable(text: str) -> str:
  """Words that `separated` gave, without the spaces before punctuation marks."""
  return _CLOSING.sub(r"\1", text).replace("( ", "(").replace("[ ", "[")


def split(lines: Sequence[str], what: str) -> list[str]:
  """The sentences of a text: each ends with a full stop, an exclamation or a question mark, and white space; quotes
  and brackets that close behind the mark belong to it.

  A sentence may go on over several lines; what follows the last mark is a sentence, too.

  Raises:
    UserError: no line has such a mark; `what` names the text.
  """
  text = " ".join(lines)
  ends = [match.end() for match in _END.finditer(text)]
  errors.require(
    bool(ends), f"{what} has no sentence end: no word of it ends with one of . ! and ?; choose data.unit=line."
  )
  pieces = (text[a:b].strip() for a, b in itertools.pairwise([0, *ends, len(text)]))
  return [piece for piece in pieces if piece]

"""text: your own text, one example in each line of a file in UTF-8 (.txt, or gzipped .txt.gz), or of all in a folder.

The splits are drawn at random by line; for windows of the whole text (seq_len), the last lines are held out.
Perplexities are comparable only for the same lines, splits, tokens and vocabulary: a smaller vocabulary or more <unk>
makes a text easier.
"""

import pathlib

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import readers, sentences, tokenisation
from dgm_jax.data.splits import Splits, at_random, in_order


def load(
  path: str,
  tokens: str = "word",
  vocabulary_size: int = 0,
  max_length: int = 0,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
  seq_len: int = 0,
  stride: int = 0,
  unit: str = "line",
  separate: bool = False,
  grammar: str = "",
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N], see tokenisation.encode; or windows of it, x int32 [N, seq_len].

  Args:
    path: a text file, or a folder of them; empty lines and white space at both ends of a line are ignored.
    tokens: "word", "character", "letter" for a to z and spaces, "atom" for SMILES, "selfies", or "rule".
    vocabulary_size, max_length: see tokenisation.encode.
    valid_fraction, test_fraction, split_seed: see splits.at_random; with seq_len, the last lines are for testing, and
      those before them for validation.
    seq_len: 0 for an example in each line; else tokens in each window of the text, whose lines are joined by <end>.
    stride: tokens from one window to the next; 0 for windows that do not overlap.
    unit: "line", or "sentence": the text is divided at . ! and ?, also within lines and over several.
    separate: whether words are taken in lower case, with punctuation marks as words of their own.
    grammar: for tokens = "rule": equations, smiles, or a file of rules in the notation of core/grammars.py.
  """
  errors.choose("value of data.unit", unit, sentences.UNITS)
  errors.require(not (separate and tokens != "word"), f"data.separate is for words; data.tokens = {tokens!r}.")
  lines = [line for file in readers.text_files(pathlib.Path(path).expanduser()) for line in readers.lines(file)]
  errors.require(bool(lines), f"{path} is empty: it has no lines of text.")
  errors.require(not any("\0" in line for line in lines), f"{path} is not lines of text in UTF-8: it holds NUL bytes.")
  if unit == "sentence":
    lines = sentences.split(lines, path)
  if separate:
    lines = [line for line in map(sentences.separated, lines) if line]
  arrays, more = {"text": np.array(lines, object)}, {"separated": True} if separate else {}
  if seq_len:
    splits = in_order(arrays, valid_fraction, test_fraction)._replace(about=more)
    return tokenisation.encode_windows(splits, tokens, seq_len, stride, vocabulary_size)
  splits = at_random(arrays, valid_fraction, test_fraction, split_seed)._replace(about=more)
  return tokenisation.encode(splits, tokens, vocabulary_size, max_length, grammar)

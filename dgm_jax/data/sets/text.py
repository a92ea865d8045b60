"""text: your own text, one example in each line of a file in UTF-8 (.txt, or gzipped .txt.gz), or of all in a folder.

The splits are drawn at random by line.  Perplexities are comparable only for the same lines, splits, tokens and
vocabulary: a smaller vocabulary or more <unk> makes a text easier.
"""

import pathlib

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import readers
from dgm_jax.data.files import tokens as tokenisation
from dgm_jax.data.splits import Splits, at_random


def load(
  path: str,
  tokens: str = "word",
  vocabulary_size: int = 0,
  max_length: int = 0,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N]; see tokens.encode.

  Args:
    path: a text file, or a folder of them; empty lines and white space at both ends of a line are ignored.
    tokens: "word", "character", "letter" for a to z and spaces, or "atom" for SMILES.
    vocabulary_size, max_length: see tokens.encode.
    valid_fraction, test_fraction, split_seed: see splits.at_random.
  """
  lines = [line for file in readers.text_files(pathlib.Path(path).expanduser()) for line in readers.lines(file)]
  errors.require(bool(lines), f"{path} is empty: it has no lines of text.")
  errors.require(not any("\0" in line for line in lines), f"{path} is not lines of text in UTF-8: it holds NUL bytes.")
  arrays = {"text": np.array(lines, object)}
  splits = at_random(arrays, valid_fraction, test_fraction, split_seed)
  return tokenisation.encode(splits, tokens, vocabulary_size, max_length)

"""bag_of_words: your own text, as word counts of each document, in UTF-8 (.txt, .txt.gz).

In a folder each file is a document; in a single file each line or group of lines is one.

The splits are drawn at random by document.  Perplexities are comparable only for the same documents, splits
and vocabulary.
"""

import itertools
import pathlib
import re

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import bags_of_words, readers
from dgm_jax.data.splits import Splits, at_random


def _documents(lines: list[str], pattern: str) -> list[str]:
  try:
    starts = re.compile(pattern)
  except re.error as e:
    raise errors.UserError(f"data.documents = {pattern!r} is not a regular expression: {e}.") from e
  if not pattern:
    return lines
  begins = [match[0] if (match := starts.match(line)) else "" for line in lines]
  groups = itertools.groupby(zip(begins, lines, strict=True), lambda pair: pair[0])
  return ["\n".join(line[len(begin) :] for begin, line in group) for _, group in groups]


def load(
  path: str,
  documents: str = "",
  vocabulary_size: int = 2_000,
  min_documents: int = 5,
  max_share: float = 0.5,
  stop_words: str = "",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
) -> Splits:
  """x uint16 [N, V], counts of words; see bags_of_words.bags.

  Args:
    path: a text file, or a folder of them; empty lines are ignored.
    documents: "": each file of a folder, or each line of a single file, is a document; else a regular expression:
      consecutive lines that begin with the same match are a document, without the match itself.  With "[^:]*:" the line
      'Ge1:1 In the beginning' is in document 'Ge1:'.
    vocabulary_size, min_documents, max_share, stop_words: see bags_of_words.bags.
    valid_fraction, test_fraction, split_seed: see splits.at_random.
  """
  given = pathlib.Path(path).expanduser()
  files = [readers.lines(file) for file in readers.text_files(given)]
  errors.require(any(files), f"{path} is empty: it has no lines of text.")
  if given.is_dir() and not documents:
    found = ["\n".join(lines) for lines in files if lines]
  else:
    found = [document for lines in files for document in _documents(lines, documents)]
  arrays = {"text": np.array(found, object)}
  splits = at_random(arrays, valid_fraction, test_fraction, split_seed)
  return bags_of_words.bags(splits, vocabulary_size, min_documents, max_share, stop_words)

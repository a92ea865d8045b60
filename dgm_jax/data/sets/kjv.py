"""kjv: the King James Bible as word counts, 1,189 chapters or 31,102 verses, or as sentences of words, a verse each.

The text is that which Debian's bible-kjv prints.

Word counts leave out stop words: scikit-learn's English list and those of the translation's English ("thou", "hath",
"unto").  No split is published: documents are split at random.
"""

import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import bags_of_words, readers, sentences, tokenisation
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import TEXT, DataSet, File
from dgm_jax.data.splits import Splits, at_random

DOCUMENTS = ("chapter", "verse")
STOP_WORDS = (
  "art away behold came come cometh didst doth dost did done doest doeth forth gave go goeth hadst hast hath let lo "
  "made make neither nor saith said saying say shall shalt spake speak thee thereof therein therefore thine thing "
  "things thou thus thy thyself till took unto upon went wherefore whither wilt yea ye"
)
_VERSE = re.compile(r"([^\s:]+:)(\d+) (.+)")


def _chapters(path: pathlib.Path) -> Iterator[dict]:
  """Yields the chapters, with a verse in each line."""
  with readers.reading(path, "lines 'Ge1:1 In the beginning ...'"):
    found = [_VERSE.fullmatch(line) for line in readers.lines(path)]
    if None in found:
      raise ValueError(f"line {1 + found.index(None)} is not of this form")
    for _, verses in itertools.groupby(found, lambda match: match[1]):
      yield {"text": "\n".join(match[3] for match in verses)}


DATA_SETS = (
  DataSet(
    name="kjv",
    description="The King James Bible, whose chapters are the records, with a verse in each line.",
    homepage="https://packages.debian.org/stable/bible-kjv",
    license="public domain",
    citation="The Holy Bible, Authorized King James Version, 1611 (1769).",
    files={
      "text": File(
        "", "kjv.txt", made_by='Debian\'s bible-kjv and bible-kjv-text print it: bible -f "Genesis1:1-Revelation22:21"'
      )
    },
    features={"text": ((), TEXT)},
    sizes={"train": 1_189},
    read=lambda files: {"train": _chapters(files["text"])},
  ),
)


def load(
  data_dir: str | None = None,
  manual_dir: str | None = None,
  documents: str = "chapter",
  vocabulary_size: int = 2_000,
  min_documents: int = 5,
  max_share: float = 0.5,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
  tokens: str = "",
  max_length: int = 0,
) -> Splits:
  """x uint16 [N, V], counts of words; see bags_of_words.bags.  With tokens, x int32 [N, T], see tokenisation.encode.

  Args:
    data_dir, manual_dir: see prepare.prepared.
    documents: "chapter" or "verse".
    vocabulary_size, min_documents, max_share: see bags_of_words.bags.
    valid_fraction, test_fraction, split_seed: see splits.at_random.
    tokens: "" for counts; "word" or "character" for the sequence of the words, in lower case with punctuation marks as
      words of their own, or of the characters; min_documents, max_share and stop words have no meaning there.
    max_length: see tokenisation.encode.
  """
  errors.choose("value of data.documents", documents, DOCUMENTS)
  errors.choose("value of data.tokens", tokens, ("", "word", "character"))
  errors.require(tokens or not max_length, f"data.max_length = {max_length} is for sequences: give data.tokens, too.")
  chapters = [text.decode() for text in prepared(DATA_SETS[0], data_dir, manual_dir)["train"]["text"].tolist()]
  texts = chapters if documents == "chapter" else [verse for text in chapters for verse in text.split("\n")]
  if tokens:
    texts = [sentences.separated(text) if tokens == "word" else text.replace("\n", " ") for text in texts]
    splits = at_random({"text": np.array(texts, object)}, valid_fraction, test_fraction, split_seed)
    splits = splits._replace(about={"separated": True} if tokens == "word" else {})
    return tokenisation.encode(splits, tokens, vocabulary_size, max_length)
  splits = at_random({"text": np.array(texts, object)}, valid_fraction, test_fraction, split_seed)
  return bags_of_words.bags(splits, vocabulary_size, min_documents, max_share, STOP_WORDS)

"""Bags of words: the word counts of documents."""

import functools
import re
import unicodedata

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import take
from dgm_jax.data.splits import Splits

_MOST = 2**16 - 1


@functools.cache
def _token() -> str:
  """The pattern of a word: a run of two or more letters, their marks and digits, with a letter in it.

  Python's \\w lacks the combining marks, which are vowels of Indic scripts and Thai, and accents elsewhere, and the
  joiners within words of Persian and Marathi.
  """
  found = (chr(c) for c in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)))
  marks = "\u200c\u200d" + "".join(c for c in found if unicodedata.category(c)[0] == "M" and not re.match(r"\w", c))
  # possessive: a run without a letter fails at once, however long it is
  return rf"(?<![\w{marks}])(?=[\d{marks}]*+[^\W\d_])(?:[^\W_]|[{marks}]){{2,}}+(?![\w{marks}])"


def bags(
  splits: Splits, vocabulary_size: int, min_documents: int = 1, max_share: float = 1.0, stop_words: str = ""
) -> Splits:
  """Replaces `text` by x uint16 [N, V], the number of times each word occurs in each document.

  Words are runs of two or more letters, their marks and digits, in lower case; numbers alone are none.  The vocabulary
  is that of the training split: about["vocabulary"] lists the words that are kept, the most frequent first.  Documents
  without any of them are dropped, and about["dropped"] has their number in each split.

  Args:
    splits: each part has the feature `text`, [N] strings.
    vocabulary_size: V, at most.
    min_documents: words in fewer documents are left out.
    max_share: words in a greater share of the documents are left out.
    stop_words: words left out in addition to scikit-learn's English list of 318, separated by spaces.

  Raises:
    UserError: an invalid value, an empty vocabulary, or a split without any of its words.
  """
  from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

  errors.require(vocabulary_size >= 1, f"data.vocabulary_size = {vocabulary_size}; it must be 1 or more.")
  errors.require(min_documents >= 1, f"data.min_documents = {min_documents}; it must be 1 or more.")
  errors.require(0 < max_share <= 1, f"data.max_share = {max_share}; it must be more than 0, at most 1.")
  stop = sorted(ENGLISH_STOP_WORDS | set(unicodedata.normalize("NFC", stop_words.lower()).split()))
  stop = [word for word in stop if re.fullmatch(_token(), word)]  # scikit-learn warns about others
  counter = CountVectorizer(
    token_pattern=_token(), stop_words=stop, min_df=min_documents, max_df=float(max_share), max_features=vocabulary_size
  )
  try:
    counter.fit(splits.train["text"])
  except ValueError as e:  # no word is left
    raise errors.UserError(f"data.min_documents = {min_documents}, data.max_share = {max_share}: {e}") from e
  counted = {part: counter.transform(arrays["text"]) for part, arrays in splits.parts().items()}
  order = np.argsort(-np.asarray(counted["train"].sum(0)).ravel(), kind="stable")
  found, dropped = {}, {}
  for part, arrays in splits.parts().items():
    x = np.minimum(counted[part][:, order].toarray(), _MOST).astype(np.uint16)
    keep = x.any(1)
    errors.require(bool(keep.any()), f"No document of the {part} split contains any of the {len(order)} words.")
    found[part] = take({"x": x} | {k: a for k, a in arrays.items() if k != "text"}, keep)
    dropped[part] = int((~keep).sum())
  words = counter.get_feature_names_out()[order].tolist()
  about = {"vocabulary": tuple(words), "dropped": dropped}
  return splits._replace(**found, about=dict(splits.about) | about)

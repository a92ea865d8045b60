"""newsgroups: the 20 newsgroups as word counts, 11,269 + 7,505 documents, later ones for testing (Lang, 1995; Rennie).

The published counts are for 61,188 words.  The 5,000 words that are most frequent in the training documents are kept,
without stop words (scikit-learn's English list of 318) and single letters; `vocabulary_size` takes the first of them.

Perplexity is exp of the nats per word.  It depends on the vocabulary, which differs between papers: NVIL and NVDM (Mnih
& Gregor, 2014; Miao et al., 2016) use 2,000 stemmed words of 11,314 + 7,531 documents, ProdLDA (Srivastava & Sutton,
2017) 1,995 words.  Their perplexities are similar to those on this set, but not strictly comparable.
"""

import io
import pathlib

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, size, take
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.sets.ptb import members
from dgm_jax.data.splits import Splits, hold_out_last, permutation

CLASSES = (
  "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware",
  "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey",
  "sci.crypt", "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns",
  "talk.politics.mideast", "talk.politics.misc", "talk.religion.misc",
)  # fmt: skip
_WORDS = 5_000  # a dense row of all 61,188 would be too long
_URL = "https://qwone.com/~jason/20Newsgroups/"


def _triples(files: dict[str, pathlib.Path], part: str, num_words: int) -> tuple[np.ndarray, np.ndarray]:
  """((document, word, count) int64 [n, 3], labels int64 [N]) of a part; all indices start at 0."""
  path = files["archive"]
  names = [f"20news-bydate/matlab/{part}.{kind}" for kind in ("data", "label")]
  raw = members(path, names)
  with readers.reading(path, f"an archive with lines 'document word count' in {names[0]} and labels in {names[1]}"):
    triples, labels = (np.loadtxt(io.BytesIO(r), np.int64, ndmin=d) for r, d in zip(raw, (2, 1), strict=True))
    for name, found, most in (
      ("a document", triples[:, 0], len(labels)),
      ("a word", triples[:, 1], num_words),
      ("a count", triples[:, 2], 2**16 - 1),
      ("a label", labels, len(CLASSES)),
    ):
      if found.min() < 1 or found.max() > most:
        raise ValueError(f"{name} is not within 1 .. {most}")
    return triples - [1, 1, 0], labels - 1


def _vocabulary(files: dict[str, pathlib.Path]) -> tuple[list[str], np.ndarray]:
  """(all words, the indices of the words that are kept, the most frequent first)."""
  readers.extra("sklearn", files["vocabulary"])
  from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

  words = readers.lines(files["vocabulary"])
  triples, _ = _triples(files, "train", len(words))
  frequency = np.bincount(triples[:, 1], triples[:, 2], len(words))
  ranked = np.argsort(-frequency, kind="stable")
  kept = [i for i in ranked if len(words[i]) > 1 and words[i] not in ENGLISH_STOP_WORDS][:_WORDS]
  errors.require(len(kept) == _WORDS, f"{files['vocabulary']} has {len(kept)} words to keep; expected {_WORDS}.")
  return words, np.array(kept)


def _read(files: dict[str, pathlib.Path]) -> dict:
  words, kept = _vocabulary(files)
  column = np.full(len(words), -1)
  column[kept] = np.arange(_WORDS)
  parts = {}
  for part in ("train", "test"):
    triples, y = _triples(files, part, len(words))
    triples = triples[column[triples[:, 1]] >= 0]
    x = np.zeros((len(y), _WORDS), np.uint16)
    x[triples[:, 0], column[triples[:, 1]]] = triples[:, 2]
    parts[part] = {"x": x, "y": y}
  return parts


def _about(files: dict[str, pathlib.Path]) -> dict:
  words, kept = _vocabulary(files)
  return {"vocabulary": [words[i] for i in kept]}


DATA_SETS = (
  DataSet(
    name="newsgroups",
    description="The 20 newsgroups by date: counts of the 5,000 most frequent words that are no stop words.",
    homepage="https://qwone.com/~jason/20Newsgroups/",
    license="none stated; messages of their authors",
    citation="Lang: NewsWeeder: learning to filter netnews, ICML 1995; prepared by Jason Rennie.",
    files={
      "archive": File(f"{_URL}20news-bydate-matlab.tgz", "20news-bydate-matlab.tgz"),
      "vocabulary": File(f"{_URL}vocabulary.txt", "vocabulary.txt"),
    },
    features={"x": ((_WORDS,), "uint16"), "y": ((), "int32")},
    sizes={"train": 11_269, "test": 7_505},
    read=_read,
    about=_about,
  ),
)


def _counts(arrays: Arrays, vocabulary_size: int) -> Arrays:
  return {"x": arrays["x"][:, :vocabulary_size].astype(np.int32), "y": arrays["y"]}


def load(
  data_dir: str | None = None,
  manual_dir: str | None = None,
  vocabulary_size: int = 2_000,
  valid_size: int = 0,
  split_seed: int = 0,
) -> Splits:
  """x int32 [N, vocabulary_size] counts, y int32 [N] the group, an index into about["classes"].

  Documents without any of the words are dropped; about["dropped"] has their number in each split.

  Args:
    data_dir, manual_dir: see prepare.prepared.
    vocabulary_size: at most 5,000; about["vocabulary"] lists the words.
    valid_size: number of training documents held out (0: none), at random because they are sorted by group.
    split_seed: seed of numpy's RandomState for this draw.
  """
  errors.require(
    1 <= vocabulary_size <= _WORDS, f"data.vocabulary_size = {vocabulary_size}; it must be between 1 and {_WORDS}."
  )
  parts = prepared(DATA_SETS[0], data_dir, manual_dir)
  train = _counts(parts["train"], vocabulary_size)
  if valid_size:
    train = take(train, permutation(size(train), split_seed))
  train, valid = hold_out_last(train, valid_size)
  splits = Splits(train, valid, _counts(parts["test"], vocabulary_size)).parts()
  keep = {part: arrays["x"].any(1) for part, arrays in splits.items()}
  splits = {part: take(arrays, keep[part]) for part, arrays in splits.items()}
  return Splits(splits["train"], splits.get("valid"), splits["test"], {
    "vocabulary": tuple(parts.about["vocabulary"][:vocabulary_size]),
    "classes": CLASSES,
    "dropped": {part: int((~kept).sum()) for part, kept in keep.items()},
  })  # fmt: skip

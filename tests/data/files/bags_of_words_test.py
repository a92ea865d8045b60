"""Bags of words: hand-checked counts, documents of lines, the Bible, and documents drawn from known topics."""

import collections
import re

import numpy as np
import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data.files import bags_of_words
from dgm_jax.data.sets import bars, kjv
from dgm_jax.data.splits import Splits

pytestmark = pytest.mark.smoke

_TRAIN = ["The ark, the Ark of X", "ark dove dove 12 345", "raven and dove", "raven's olive", "the of"]


def _bags(train=_TRAIN, test=("olive olive whale", "whale"), size=10, **options):
  part = lambda texts: {"text": np.array(texts, object), "y": np.arange(len(texts))}
  return bags_of_words.bags(Splits(part(train), None, part(list(test))), size, **options)


def test_the_vocabulary_is_that_of_the_training_split():
  """Stop words, numbers and single letters are left out; other words are sorted by frequency, then alphabetically."""
  found = _bags(test=("olive ark ark", "whale"), stop_words="Olive")
  assert found.about["vocabulary"] == ("ark", "dove", "raven")
  np.testing.assert_array_equal(found.train["x"], [[2, 0, 0], [1, 2, 0], [0, 1, 1], [0, 0, 1]])
  np.testing.assert_array_equal(found.test["x"], [[2, 0, 0]])
  assert found.train["x"].dtype == np.uint16
  np.testing.assert_array_equal(found.train["y"], range(4))
  assert found.about["dropped"] == {"train": 1, "test": 1}


def test_combining_marks_and_joiners_belong_to_their_word(tmp_path):
  """Devanagari, Arabic with vowels, Persian with a joiner, Thai (a run without spaces), Hebrew with points."""
  words = ["भारतीय", "शिंदे", "मुख्यमंत्री", "पोलीस", "دِيوَان", "می\u200cخواهم", "ที่นี่", "שָׁלוֹם"]
  assert set(_bags([" ".join(words), "_cd 12 1_000"], [words[0]]).about["vocabulary"]) == set(words)
  (tmp_path / "t.txt").write_text("größe schön\n" * 6 + "gro\u0308ße scho\u0308n\n" * 6)
  for name in ("bag_of_words", "text"):
    loaded = data.load(name, path=str(tmp_path / "t.txt"), **{"max_share": 1.0} if name == "bag_of_words" else {})
    assert set(loaded.about["vocabulary"]) - {"<pad>", "<unk>", "<end>"} == {"größe", "schön"}


def test_digits_belong_to_their_word_and_numbers_alone_are_none():
  words = ["covid19", "2nd", "b2b", "२१वी", "x1"]
  text = " ".join(words) + " 19 2020 १२ 3.14 a_1 " + "1" * 50_000
  assert set(_bags([text], [words[0]]).about["vocabulary"]) == set(words)


def test_rare_and_common_words_are_left_out():
  assert _bags().about["vocabulary"] == ("ark", "dove", "raven", "olive")
  assert _bags(size=2, test=["ark"]).about["vocabulary"] == ("ark", "dove")
  assert _bags(min_documents=2, test=["ark"]).about["vocabulary"] == ("ark", "dove", "raven")
  assert _bags(max_share=0.3).about["vocabulary"] == ("olive",)


@pytest.mark.parametrize("options,named", [
  ({"size": 0}, r"data\.vocabulary_size = 0"),
  ({"min_documents": 0}, r"data\.min_documents = 0"),
  ({"max_share": 0.0}, r"data\.max_share = 0"),
  ({"min_documents": 5}, r"data\.min_documents = 5.*no terms remain"),
  ({"test": ["whale"]}, "No document of the test split contains any of the 4 words"),
])  # fmt: skip
def test_options_that_leave_nothing_raise(options, named):
  with pytest.raises(errors.UserError, match=named):
    _bags(**options)


def test_consecutive_lines_with_the_same_beginning_are_a_document(tmp_path):
  (tmp_path / "a.txt").write_text("".join(f"Bk{i // 3}:{i % 3} word{chr(97 + i // 3)} olive\n" for i in range(30)))
  options = {"path": str(tmp_path / "a.txt"), "min_documents": 1, "max_share": 1.0, "valid_fraction": 0.2}
  found = data.load("bag_of_words", **options, documents="[^:]*:")
  assert [size(part) for part in found.parts().values()] == [7, 2, 1]
  assert set(found.about["vocabulary"]) <= {"olive", *(f"word{chr(97 + i)}" for i in range(10))}
  np.testing.assert_array_equal(found.train["x"].sum(1), 6)
  assert size(data.load("bag_of_words", **options).train) == 21
  with pytest.raises(errors.UserError, match="is not a regular expression"):
    data.load("bag_of_words", **options, documents="(")


@pytest.mark.slow
@pytest.mark.parametrize("documents,count", [("chapter", 1_189), ("verse", 31_102)])
def test_the_bible_has_its_chapters_and_verses(documents, count, raw_data):
  text = (raw_data / "text" / "kjv.txt").read_text()
  options = {"documents": documents, "max_share": 1.0, "min_documents": 1, "valid_fraction": 0.0}
  found = data.load("kjv", manual_dir=str(raw_data / "text"), **options)
  parts = found.parts().values()
  assert sum(map(size, parts)) + sum(found.about["dropped"].values()) == count
  verses = " ".join(line.partition(" ")[2] for line in text.lower().splitlines())
  expected = collections.Counter(re.findall(r"\w+", verses))
  total = sum(arrays["x"].sum(0, dtype=int) for arrays in parts)
  assert [expected[word] for word in found.about["vocabulary"]] == total.tolist()
  stop = {*kjv.STOP_WORDS.split(), *ENGLISH_STOP_WORDS}
  assert not stop & set(found.about["vocabulary"])
  most = [word for word, _ in expected.most_common(200) if word not in stop and len(word) > 1]
  assert set(most) <= set(found.about["vocabulary"])


def test_bars_are_the_planted_rows_and_columns():
  beta = bars.topics(3)
  np.testing.assert_allclose(beta.sum(1), 1)
  np.testing.assert_allclose(beta[1].reshape(3, 3), [[0] * 3, [1 / 3] * 3, [0] * 3])
  np.testing.assert_allclose(beta[3 + 1].reshape(3, 3), [[0, 1 / 3, 0]] * 3)
  loaded = data.load("bars", train_size=4_000, side=3, length=50)
  x = loaded.train["x"].reshape(-1, 9).astype(float)
  np.testing.assert_array_equal(x.sum(1), 50)
  # E[x x'] = n diag p + n (n - 1) beta' E[theta theta'] beta, and E[theta theta'] = (1 + I) / 42 for K = 6
  second = np.diag(np.full(9, 50 / 9)) + 50 * 49 * beta.T @ ((1 + np.eye(6)) / 42) @ beta
  products = x[:, :, None] * x[:, None]
  error = products.std(0) / np.sqrt(len(x))
  assert (np.abs(products.mean(0) - second) < 5 * error).all()
  other = data.load("bars", train_size=4_000, side=3, length=50, split_seed=1)
  assert (other.train["x"] != loaded.train["x"]).any()

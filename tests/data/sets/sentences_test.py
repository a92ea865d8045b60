"""Sentences and verses as data, and the simulated ones, whose log p(x) is known."""

import itertools

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.applications.sentences import inputs
from dgm_jax.core import errors
from dgm_jax.data.files import sentences, tokenisation, tokens
from dgm_jax.data.sets import kjv, simulated_text
from dgm_jax.data.splits import Splits


def test_words_and_punctuation_marks_are_separated():
  text = "And God said, Let there be light: and there was light. Don't <unk>!"
  found = sentences.separated(text)
  assert found == "and god said , let there be light : and there was light . don't <unk> !"
  assert sentences.readable(found) == text.lower()
  assert sentences.separated("a_b  (c-d)") == "a _ b ( c - d )"


def test_sentences_end_at_marks_also_over_lines():
  lines = ['He went. "Why?" she', "asked. (No one knew 3.14.) Then", "the rest"]
  found = sentences.split(lines, "x")
  assert found == ["He went.", '"Why?"', "she asked.", "(No one knew 3.14.)", "Then the rest"]
  assert " ".join(found) == " ".join(lines)  # nothing is lost
  assert sentences.split(["Only one end!"], "x") == ["Only one end!"]
  with pytest.raises(errors.UserError, match=r"mine.txt has no sentence end"):
    sentences.split(["no end", "here"], "mine.txt")
  with pytest.raises(errors.UserError, match="no word of it ends with one of"):
    sentences.split(["pi is 3.14 or so"], "mine.txt")


def test_lines_are_read_as_in_training_whatever_their_accents_and_marks(tmp_path):
  composed, decomposed = "caf\u00e9 bar", "cafe\u0301 bar"
  (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf" + f"{composed}\n".encode() * 20)
  found = data.load("text", path=str(tmp_path / "train.txt"))
  assert set(found.about["vocabulary"][3:]) == {"caf\u00e9", "bar"}
  row = tokens.rows_of([decomposed], found.about, 5)
  np.testing.assert_array_equal(row["x"][0, :2] > tokens.END, True)
  lines = tmp_path / "lines.txt"
  lines.write_bytes(b"\xef\xbb\xbf" + "bar\u2028bar\r\n\nbar\x0cbar\n".encode())
  assert inputs.read(lines) == ["bar\u2028bar", "", "bar\x0cbar"]
  np.testing.assert_array_equal(inputs.encode(["bar\u2028bar"], found.about, 5)["length"], [3])


def test_the_marks_of_padding_and_end_are_no_tokens_of_a_line():
  about = {"vocabulary": (*tokens.SPECIAL, "a", "b"), "tokens": "word"}
  row = tokens.rows_of(["a <pad> b", "a <end>", "<unk> b"], about, 6)
  np.testing.assert_array_equal(row["x"], [[3, 1, 4, 2, 0, 0], [3, 1, 2, 0, 0, 0], [1, 4, 2, 0, 0, 0]])


def test_text_by_sentence(tmp_path):
  path = tmp_path / "mine.txt"
  path.write_text("One fish. Two\nfish! Red fish? " * 20)
  found = data.load("text", path=str(path), unit="sentence", separate=True, max_length=4, vocabulary_size=2)
  assert sum(len(part["x"]) for part in found.parts().values()) == 60
  assert found.about["separated"] is True
  assert set(tokens.decode(found.train["x"], found.about)) <= {f"<unk> fish {m}" for m in ("<unk>", ".", "!", "?")}
  assert any("are <unk>, outside the 2 of the vocabulary" in line for line in found.about["reading"])
  row = tokens.rows_of(["ONE fish."], found.about, 5)
  np.testing.assert_array_equal(row["length"], [4])
  for options, named in (({"unit": "page"}, "line, sentence"), ({"separate": True, "tokens": "letter"}, "for words")):
    with pytest.raises(errors.UserError, match=named):
      data.load("text", path=str(path), **options)


def test_verses_as_sentences(monkeypatch):
  verses = ["In the beginning God created the heaven, and the earth.", "And it was so.", "Amen."]
  chapters = np.array(["\n".join(verses).encode()] * 10)
  monkeypatch.setattr(kjv, "prepared", lambda *args: {"train": {"text": chapters}})
  found = data.load("kjv", documents="verse", tokens="word", vocabulary_size=1000, max_length=8)
  assert set(tokens.decode(found.train["x"], found.about)) <= {"and it was so .", "amen ."}
  assert sum(found.about["dropped"].values()) == 10
  with pytest.raises(errors.UserError, match=r"data.max_length = 8 is for sequences"):
    data.load("kjv", max_length=8)


def test_counts_of_tokens_include_the_end_and_not_the_padding():
  parts = {"train": {"text": np.array(["a b", "a"], object)}, "test": {"text": np.array(["a"], object)}}
  found = tokenisation.encode(Splits(parts["train"], None, parts["test"]), "word")
  np.testing.assert_array_equal(tokens.token_counts(found.train, 5), [0, 0, 2, 2, 1])


TRUTH = simulated_text.make(num_words=2, length=4, latent_dim=1, hidden=3, seed=3)


def all_sentences():
  x = [
    [*words, tokens.END, *[0] * (3 - len(words))] for n in (1, 2, 3) for words in itertools.product((3, 4), repeat=n)
  ]
  x = np.asarray(x, np.int32)
  return x, (x != 0).sum(1)


def test_the_probabilities_of_all_simulated_sentences_sum_to_one():
  x, length = all_sentences()
  for z in (0.0, 1.3):
    assert np.exp(simulated_text.log_px_z(TRUTH, x, length, np.asarray([[z]]))).sum() == pytest.approx(1, abs=1e-12)
  log_px = simulated_text.log_px(TRUTH, x, length).log_px
  assert np.exp(log_px).sum() == pytest.approx(1, abs=1e-7)
  np.testing.assert_allclose(log_px, simulated_text.log_px(TRUTH, x, length, 801).log_px, atol=1e-6)


def test_draws_have_the_truth_s_frequencies_and_the_latent_matters():
  x, length = all_sentences()
  p, n = np.exp(simulated_text.log_px(TRUTH, x, length).log_px), 20_000
  drawn = simulated_text.draw(TRUTH, n, np.random.RandomState(0))
  counts = np.asarray([(drawn["x"] == row).all(1).sum() for row in x])
  assert counts.sum() == n
  assert np.abs((counts - n * p) / np.sqrt(n * p * (1 - p))).max() < 4.5
  at = simulated_text.log_px_z(TRUTH, x, length, np.asarray([[-1.0], [1.0]]))
  assert np.abs(at[:, 0] - at[:, 1]).max() > 0.5


def test_the_set_and_its_truth_by_its_metadata():
  found = data.load("simulated_text", train_size=50, valid_size=5, test_size=6, num_words=4, length=5, hidden=4)
  assert [len(part["x"]) for part in found.parts().values()] == [50, 5, 6]
  truth = simulated_text.truth_of(found.about)
  test = found.test
  exact, coarse = (simulated_text.log_px(truth, test["x"], test["length"], n) for n in (0, 101))
  assert exact.error.max() < 1e-4
  assert (np.abs(coarse.log_px - exact.log_px) <= coarse.error + 1e-9).all()
  assert (test["x"][np.arange(6), test["length"] - 1] == tokens.END).all()
  for options, named in (({"latent_dim": 3}, "must be 1 or 2"), ({"length": 1}, "a word and <end>")):
    with pytest.raises(errors.UserError, match=named):
      data.load("simulated_text", **options)


def test_log_p_of_the_truth_at_the_defaults_has_an_error_that_covers_it():
  splits = data.load("simulated_text", train_size=5, valid_size=5, test_size=1)
  truth, test = simulated_text.truth_of(splits.about), splits.test
  fine, coarse = (simulated_text.log_px(truth, test["x"], test["length"], n) for n in (0, 61))
  assert fine.error[0] < 1e-3 < coarse.error[0]
  assert abs(coarse.log_px[0] - fine.log_px[0]) <= coarse.error[0]

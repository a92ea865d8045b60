"""Windows of texts: what they cover, the random places of `crop`, prompts as ids and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data import pipeline
from dgm_jax.data.files import tokens, windows

TEXT = np.random.default_rng(0).integers(0, 9, 103)


@pytest.mark.parametrize("seq_len,stride", [(10, 0), (10, 10), (10, 3), (19, 10), (103, 0), (5, 1), (1, 0)])
def test_windows_begin_every_stride_and_give_the_text_back(seq_len, stride):
  parts, about = windows.cut({"train": TEXT}, seq_len, stride)
  x = parts["train"]["x"]
  assert x.dtype == np.int32
  for i, row in enumerate(x):
    np.testing.assert_array_equal(row, TEXT[i * (stride or seq_len) :][:seq_len])
  assert len(about["rest"]["train"]) < (stride or seq_len)
  np.testing.assert_array_equal(windows.joined(x, about["stride"], about["rest"]["train"]), TEXT)


@pytest.mark.parametrize("seq_len,stride,named", [
  (0, 0, "data.seq_len = 0; it must be 1 or more"),
  (104, 0, "data.seq_len = 104 is more than the 103 tokens of the train split"),
  (10, 11, "data.stride = 11; it must be 1 to data.seq_len = 10"),
  (10, -1, "data.stride = -1"),
])  # fmt: skip
def test_windows_that_cannot_be_cut_are_refused(seq_len, stride, named):
  with pytest.raises(errors.UserError, match=named):
    windows.cut({"train": TEXT}, seq_len, stride)


def test_crop_draws_every_place_of_a_text_equally_often():
  """A chi-squared test at 5 standard deviations: L = 8, windows of 15 whose starts are 8 apart, 30,000 draws."""
  length = 8
  parts, about = windows.cut({"train": np.arange(103)}, 2 * length - 1, length)
  x = parts["train"]["x"]
  made = pipeline.make((f"crop:length={length}",), {"x": x})
  rows = len(x)
  batch = {"x": jnp.asarray(x), "index": jnp.arange(rows), "epoch": jnp.zeros(rows, jnp.int32)}
  draws = 30_000 // rows
  found = jax.jit(jax.vmap(lambda key: made.train(key, batch)["x"]))(jax.random.split(jax.random.key(0), draws))
  np.testing.assert_array_equal(found - found[..., :1], np.broadcast_to(np.arange(length), found.shape))
  places = rows * length  # 0 .. n - L, but for the rest
  counts = np.bincount(np.asarray(found[..., 0]).ravel(), minlength=places)
  assert len(counts) == places == 103 - length + 1 - len(about["rest"]["train"])
  expected = draws * rows / places
  statistic, freedom = np.sum((counts - expected) ** 2 / expected), places - 1
  assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_crop_takes_the_beginning_in_evaluation_and_works_on_single_examples():
  x = np.arange(60, dtype=np.int32).reshape(4, 15)
  made = pipeline.make(("crop:length=8",), {"x": x})
  batch = {"x": jnp.asarray(x), "index": jnp.arange(4)}
  np.testing.assert_array_equal(made.evaluate(jax.random.key(0), batch)["x"], x[:, :8])
  one = made.train(jax.random.key(3), {"x": jnp.asarray(x[1]), "index": 1, "epoch": jnp.int32(0)})["x"]
  np.testing.assert_array_equal(one - one[0], np.arange(8))
  assert made.statistics.mean.shape == (8,)
  assert made.keeps_levels
  again = made.train(jax.random.key(0), batch | {"epoch": jnp.zeros(4, jnp.int32)})["x"]
  other = made.train(jax.random.key(1), batch | {"epoch": jnp.zeros(4, jnp.int32)})["x"]
  assert (again != other).any()


@pytest.mark.parametrize("names,x,named", [
  (("crop:length=16",), np.zeros((3, 15), np.int32), "length = 16; x has 15 entries"),
  (("crop:length=0",), np.zeros((3, 15), np.int32), "length = 0; x has 15 entries"),
  (("crop:length=2",), np.zeros((3, 4, 4, 1), np.uint8), r"takes sequences \[T\]; x has shape \[4, 4, 1\]"),
])  # fmt: skip
def test_crop_of_other_data_is_refused(names, x, named):
  with pytest.raises(errors.UserError, match=named):
    pipeline.make(names, {"x": x})


def test_crop_of_lines_is_refused():
  x = np.zeros((3, 15), np.int32)
  made = pipeline.make(("crop:length=2",), {"x": x})
  with pytest.raises(errors.UserError, match=r"not lines: set data\.seq_len"):
    made.evaluate(jax.random.key(0), {"x": x, "index": np.arange(3), "length": np.ones(3)})


def test_shakespeare_in_nanogpts_split_and_overlapping_windows(raw_data, tmp_path):
  folder = raw_data / "text" / "tinyshakespeare"
  text = (folder / "input.txt").read_text()
  given = {"data_dir": str(tmp_path), "manual_dir": str(folder)}
  loaded = data.load("tiny_shakespeare", seq_len=129, stride=65, split="nanogpt", **given)
  assert loaded.valid is None
  for part, expected in (("train", text[:1_003_854]), ("test", text[1_003_854:])):
    rest = loaded.about["windows"]["rest"][part]
    joined = windows.joined(getattr(loaded, part)["x"], 65, rest)
    assert tokens.decode(joined[None], loaded.about) == [expected]
  np.testing.assert_array_equal(tokens.ids_of(text[65:194], loaded.about), loaded.train["x"][1])
  with pytest.raises(errors.UserError, match=r"Unknown value of data\.split 'nanogtp'\. Did you mean 'nanogpt'"):
    data.load("tiny_shakespeare", split="nanogtp", **given)


LINES = [f"{'ab c'[i % 4]}line {i} of ten" for i in range(20)]


@pytest.mark.parametrize("kind", ["character", "word", "letter", "atom"])
def test_windows_of_a_text_join_its_lines_in_their_order(kind, tmp_path):
  (tmp_path / "a.txt").write_text("\n".join(LINES) + "\n")
  loaded = data.load("text", path=str(tmp_path / "a.txt"), tokens=kind, seq_len=6, stride=2)
  clean = tokens.letters if kind == "letter" else str.strip
  for part, lines in (("train", LINES[:16]), ("valid", LINES[16:18]), ("test", LINES[18:])):
    rest = loaded.about["windows"]["rest"][part]
    joined = windows.joined(getattr(loaded, part)["x"], 2, rest)
    known = set(loaded.about["vocabulary"])
    expected = "\n".join(map(clean, lines)) + "\n"
    if part == "train":
      assert tokens.decode(joined[None], loaded.about) == [expected]
      np.testing.assert_array_equal(tokens.ids_of(expected, loaded.about), joined)
    assert known >= set(tokens.SPECIAL)
    assert (joined == tokens.END).sum() == len(lines)


def test_prompts_are_the_inverse_of_decode_and_unknown_tokens_are_named():
  about = {"vocabulary": ("\n", " ", "a", "b"), "tokens": "character", "windows": {"stride": 1, "rest": {}}}
  ids = tokens.ids_of("ab\nba", about)
  np.testing.assert_array_equal(ids, [2, 3, 0, 3, 2])
  assert tokens.decode(ids[None], about) == ["ab\nba"]
  with pytest.raises(errors.UserError, match="is empty; give at least one token"):
    tokens.ids_of("", about)
  with pytest.raises(
    errors.UserError, match=r"characters that are not in the vocabulary of the model: 'X', 'Y'\. Choose"
  ):
    tokens.ids_of("aXbY", about)
  words = {"vocabulary": (*tokens.SPECIAL, "to", "be"), "tokens": "word", "windows": {}}
  np.testing.assert_array_equal(tokens.ids_of("to be\nto", words), [3, 4, tokens.END, 3])
  with pytest.raises(errors.UserError, match="words that are not in the vocabulary of the model: 'or'"):
    tokens.ids_of("to be or", words)
  assert tokens.decode(np.array([[3, 4, tokens.END, 3]]), words) == ["to be\nto"]


def test_texts_of_several_lines_are_listed_apart():
  assert tokens.listed(["a", "b"]) == "a\nb"
  assert tokens.listed(["a\nb", "c"]) == f"a\nb\n{tokens.BETWEEN}\nc"

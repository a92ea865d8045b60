"""decode(encode(x)) = x, in as many bits as -log2 p says; files of other runs, machines and kinds are refused."""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.applications.compression import codec, container
from dgm_jax.applications.compression.compressor import Compressor
from dgm_jax.core import errors, system
from dgm_jax.data.sets import licence
from dgm_jax.models.autoregressive import lstm, made, nade, orderless, pixelcnn, transformer

RNG = np.random.default_rng(0)
N, D = 45, 8  # rows in three batches of 20, the last incomplete
LEVELS = {"likelihood": "discretised_logistic", "likelihood_args": {"num_components": 2, "num_levels": 4}}
PIXELS = {"likelihood": "logistic_levels", "likelihood_args": {"num_components": 2, "num_levels": 4}}
THREE = {"likelihood": "categorical", "likelihood_args": {"num_classes": 3}}
MODELS = {
  "made": lambda: made.Model((2, 4), hidden=(16,), ordering="random", data_mean=(0.3,) * D),
  "nade": lambda: nade.Model((D,), num_hidden=8, ordering="reversed"),
  "orderless": lambda: orderless.Model((D,), hidden=(8,)),
  "classes": lambda: made.Model((D,), hidden=(12, 12), **THREE),
  "levels": lambda: nade.Model((D,), num_hidden=6, **LEVELS),
  "transformer": lambda: transformer.Model((D,), num_layers=1, width=8, num_heads=2, expansion=1, num_tokens=5),
  "lstm": lambda: lstm.Model((D,), hidden=(8,), embedding_dim=4, num_tokens=5),
  "pixelcnn": lambda: pixelcnn.Model((3, 4, 1), features=4, blocks=1, first_kernel_size=3),
  "pixelcnn_colours": lambda: pixelcnn.Model((2, 2, 2), net="plusplus", features=4, blocks=1, scales=1, **PIXELS),
  "row_lstm": lambda: pixelcnn.Model((2, 2, 2), net="row_lstm", features=8, blocks=1, first_kernel_size=3, **THREE),
}

COLOURS = ("pixelcnn_colours", "row_lstm")


def state(model, seed=0, scale=1.0):
  """Random parameters, far from uniform probabilities."""
  batch = {"x": jnp.zeros((2, *model.data_shape)), "index": jnp.arange(2)}
  found = dict(jax.jit(model.init)(jax.random.key(seed), batch))
  noise = lambda path, a: a + scale * jax.random.normal(jax.random.key(seed + a.size), a.shape)
  params = jax.tree_util.tree_map_with_path(noise, found.pop("params"))
  return system.TrainState(0, params, (), found, {})


def rows(model, n=N):
  return RNG.integers(0, model.num_levels, (n, *model.data_shape)).astype(np.uint8)


def compressor(name, **options):
  model = MODELS[name]()
  return Compressor(model, state(model), batch_size=20, name=name, **options)


@pytest.fixture(scope="module")
def digits():
  """(a compressor, rows, their compressed file)."""
  made = compressor("made")
  x = rows(MODELS["made"]())
  return made, x, made.encode(x).data


@pytest.mark.parametrize(
  "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in (*COLOURS, "levels", "classes"))) for n in MODELS]
)
def test_what_is_decoded_is_what_was_encoded_and_its_size_is_the_models(name):
  model = MODELS[name]()
  # the coder takes no probability below 2^-24
  st = state(model, scale=0.2 if name in ("levels", *COLOURS) else 1.0)
  of, x = Compressor(model, st, batch_size=20), rows(model)
  found = of.encode(x)
  back = of.decode(found.data)
  assert (back.dtype, back.shape) == (x.dtype, x.shape)
  np.testing.assert_array_equal(back, x)
  bound = model.bind({"params": st.params, **st.variables})
  log_px = np.asarray(bound.log_prob({"x": codec._values(model)[x]}))
  bits = -log_px.sum(dtype=np.float64) / math.log(2)
  assert found.bits == pytest.approx(bits, rel=1e-4)
  payload = 8 * (len(found.data) - container.HEAD_BYTES)
  assert abs(payload - bits) <= 0.002 * bits + 32
  assert container.HEAD_BYTES == 32


def test_a_new_process_of_the_same_run_decodes(digits):
  """A compressor made anew compiles the same program."""
  _, x, data = digits
  np.testing.assert_array_equal(compressor("made").decode(data), x)


def test_no_rows_and_other_types(digits):
  made, x, _ = digits
  for given in (x[:0], x[:3].astype(bool), x[:3].reshape(3, D).astype(np.int64), x[:1].astype(np.float32)):
    back = made.decode(made.encode(given).data)
    assert back.dtype == given.dtype
    np.testing.assert_array_equal(back, given.reshape(back.shape))


def test_a_batch_is_coded_as_in_the_file_whatever_the_batch_size_now(digits):
  _, x, data = digits
  model = MODELS["made"]()
  np.testing.assert_array_equal(Compressor(model, state(model), batch_size=7).decode(data), x)


@pytest.mark.parametrize("change,named", [
  (lambda d: d[:-4], "truncated or damaged"),
  (lambda d: d[:-3], "truncated or damaged"),
  (lambda d: d[:40] + bytes([d[40] ^ 1]) + d[41:], "truncated or damaged"),
  (lambda d: d[:20], "truncated: it has 20 bytes"),
  (lambda d: b"PK\x03\x04" + d[4:], "is not compressed"),
  (lambda d: b"", "truncated: it has 0 bytes"),
  (lambda d: b"a text\n" * 9, "is not compressed"),
  (lambda d: d[:4] + b"\x09" + d[5:], "has format 9; this version reads up to 1"),
  (lambda d: d[:12] + bytes([d[12] ^ 1]) + d[13:], "encoded with another run"),
  (lambda d: d[:18] + bytes([d[18] ^ 1]) + d[19:], "encoded on another machine, or with another version of jax"),
  (lambda d: d[:24] + bytes([d[24] ^ 1]) + d[25:], "does not decode to what was encoded"),
])  # fmt: skip
def test_files_that_cannot_be_decoded_get_one_sentence(digits, change, named):
  made, _, data = digits
  with pytest.raises(errors.UserError, match=named) as raised:
    made.decode(change(data), what="x.dgmc")
  assert "\n" not in str(raised.value)


def test_the_file_of_another_run_is_refused(digits):
  _, _, data = digits
  model = MODELS["made"]()
  with pytest.raises(errors.UserError, match="another run or another checkpoint"):
    Compressor(model, state(model, seed=1), batch_size=20).decode(data)


def test_another_rounding_is_refused(digits, monkeypatch):
  made, _, data = digits
  monkeypatch.setattr(codec, "place", lambda: "jax 0.0.1")
  with pytest.raises(errors.UserError, match=r"another version of jax.*this is jax 0.0.1"):
    made.decode(data)


def test_probabilities_that_differ_are_noticed(digits):
  """A decoder whose probabilities are not the encoder's returns no noise."""
  made, _, data = digits
  of = made._codec(20)
  step = of._step
  shifted = lambda cache, p: (cache, p[:, ::-1])
  of._step = lambda *a: shifted(*step(*a))
  try:
    with pytest.raises(errors.UserError, match=r"does not decode to what was encoded|do not belong"):
      made.decode(data)
  finally:
    of._step = step


@pytest.mark.parametrize("x,named", [
  (np.full((3, D), 2), r"integers in \[2, 2\]; the model is of integers 0 .. 1"),
  (np.full((3, D), -1), r"integers in \[-1, -1\]"),
  (np.full((3, D), 0.5), "numbers that are no integers"),
  (np.full((3, D), np.nan), "numbers that are no integers"),
  (np.zeros((3, D - 1), int), r"shape \[3, 7\]; \[N, 2, 4\] is expected"),
  (np.zeros((3, D), complex), "numbers of type complex128"),
  (np.zeros((), int), r"shape \[\]"),
])  # fmt: skip
def test_numbers_that_are_not_the_models_are_refused(digits, x, named):
  with pytest.raises(errors.UserError, match=named):
    digits[0].encode(x, what="mine.npy")


@pytest.mark.parametrize("model,named", [
  (made.Model((4,), likelihood="gaussian"), "of real numbers; only discrete x"),
  (made.Model((4,), num_masks=3, ordering="random"), "averages over 3 orders"),
  (made.Model((4,), num_classes=2), "is conditional"),
])  # fmt: skip
def test_models_without_a_code_are_refused(model, named):
  with pytest.raises(errors.UserError, match=named):
    Compressor(model, None)


def test_other_models_and_batch_sizes_are_refused():
  from dgm_jax.models.mixtures import bernoulli_mixture

  with pytest.raises(errors.UserError, match="'mixture' is not autoregressive"):
    Compressor(bernoulli_mixture.Model((4,), num_components=2), None, name="mixture")
  model = MODELS["made"]()
  with pytest.raises(errors.UserError, match="batch_size = 0; it must be 1 to 65535"):
    Compressor(model, state(model), batch_size=0)


WINDOWS = {"vocabulary": tuple("\n abc"), "tokens": "character"}
JOINED = {"vocabulary": ("<pad>", "<unk>", "<end>", "a", "b"), "tokens": "character", "windows": {"train": 1}}
LINES = {"vocabulary": ("<pad>", "<unk>", "<end>", "a", "b", "Cl", "[nH]"), "tokens": "atom"}


def of_text(about, length):
  classes = {"likelihood": "categorical", "likelihood_args": {"num_classes": len(about["vocabulary"])}}
  model = made.Model((length,), hidden=(8,), **classes)
  return Compressor(model, state(model, scale=0.3), about, batch_size=20, name="made")


@pytest.fixture(scope="module")
def texts():
  return {"windows": of_text(WINDOWS, 6), "joined": of_text(JOINED, 6), "lines": of_text(LINES, 6)}


@pytest.mark.parametrize("kind,text", [
  ("windows", "abc cab\n\n  bca" * 20),
  ("windows", "a"),
  ("windows", "abcabc"),
  ("joined", "ab\n\nbaab\nb" * 20),
  ("lines", "aCl[nH]b\n\nb\n" + "abaab\n" * 50),
  ("lines", "\n"),
])  # fmt: skip
def test_a_text_comes_back(texts, kind, text):
  found = texts[kind].encode_text(text)
  assert texts[kind].decode(found.data) == text
  assert 8 * (len(found.data) - 32) <= 1.002 * found.bits + 32


def test_tokens_behind_the_end_of_a_line_cost_nothing(texts):
  short, padded = texts["lines"].encode_text("a\n"), texts["lines"].encode_text("aaaaa\n")
  assert short.bits < padded.bits
  rows = np.array([[3, 2, 0, 0, 0, 0]], np.int32)
  model, of = texts["lines"]._model, texts["lines"]._state
  h = model.bind({"params": of.params, **of.variables}).conditionals(jnp.asarray(rows, jnp.float32), None)
  log_p = jax.nn.log_softmax(h, -1)[0]
  assert short.bits == pytest.approx(-float(log_p[0, 3] + log_p[1, 2]) / math.log(2), rel=1e-4)


@pytest.mark.slow
def test_ten_thousand_characters_by_a_transformer():
  text = (pathlib.Path(licence.__file__).with_suffix(".txt").read_text() * 9)[:10_000]
  about = {"vocabulary": tuple(sorted(set(text))), "tokens": "character"}
  model = transformer.Model((64,), num_layers=2, width=32, num_heads=2, num_tokens=len(about["vocabulary"]))
  of = Compressor(model, state(model, scale=0.1), about, batch_size=50)
  found = of.encode_text(text)
  assert of.decode(found.data) == text
  assert abs(8 * (len(found.data) - 32) - found.bits) <= 0.002 * found.bits + 32


@pytest.mark.parametrize("kind,text,named", [
  ("windows", "abd", "the character 'd', which the vocabulary of the run lacks"),
  ("windows", "", "is empty"),
  ("joined", "ac", "the character 'c', which the vocabulary of the run lacks"),
  ("lines", "a", "must end with a line break"),
  ("lines", "a\naaaaaa\n", "line 2 has 6 tokens; the run is of lines of at most 5"),
  ("lines", "a<end>\n", "the character '<'"),
  ("lines", "[n\n", r"the character '\['"),
])  # fmt: skip
def test_texts_that_the_run_cannot_write_are_refused(texts, kind, text, named):
  with pytest.raises(errors.UserError, match=named):
    texts[kind].encode_text(text)


def test_runs_of_words_and_of_no_text_are_refused(digits):
  with pytest.raises(errors.UserError, match="This run is of words"):
    of_text(WINDOWS | {"tokens": "word"}, 4).encode_text("a b")
  with pytest.raises(errors.UserError, match="This run is not of text"):
    digits[0].encode_text("a")

"""The command: files of every kind through a trained run, and mistakes in one sentence."""

import pathlib

import jax
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.applications.compression import command, inputs
from dgm_jax.configs import lstm_text, made_mnist, pixelcnn_mnist, transformer_text
from dgm_jax.core import errors
from dgm_jax.data.sets import licence
from dgm_jax.training import restore, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of a small MADE on binarised digits."""
  folder = tmp_path_factory.mktemp("run") / "made"
  config = made_mnist.get_config("test")
  with config.unlocked():
    config.model.args.hidden, config.num_steps, config.eval_every, config.figures_every = (8,), 20, 20, 20
  train.train_and_evaluate(config, folder)
  return folder


def digits(n):
  return data.load("mnist5k").test["x"][:n] > 127


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv"])
def test_a_file_comes_back(run, tmp_path, name, capsys):
  x = digits(3)
  inputs.write_array(tmp_path / name, x if name != "x.csv" else x.astype(np.uint8))
  flags = [f"--workdir={run}", "--batch_size=2"]
  assert command.main(["encode", *flags, str(tmp_path / name)]) == 0
  assert "3 examples" in capsys.readouterr().out
  out = tmp_path / f"back{name[1:]}"
  assert command.main(["decode", *flags, str(tmp_path / f"{name}.dgmc"), f"--out={out}"]) == 0
  np.testing.assert_array_equal(inputs.read_array(out).reshape(x.shape), x)
  if name == "x.csv":
    assert out.read_bytes() == (tmp_path / name).read_bytes()
  else:
    assert inputs.read_array(out).dtype == bool


@pytest.mark.parametrize("words,named", [
  (["encode", "x.npy"], "holds no run"),
  (["encode", "none.npy"], "none.npy does not exist"),
  (["encode", "x.npy", "--out=x.npy"], "is the input"),
  (["decode", "x.npy"], "does not end in .dgmc: name the output"),
  (["decode", "x.npy", "--out=taken.npy"], "taken.npy exists; --overwrite replaces it"),
  (["encode", "x.npy", "--out=none/y"], "its folder does not exist"),
])  # fmt: skip
def test_mistakes_in_the_command_are_found_before_the_run_is_loaded(tmp_path, monkeypatch, words, named):
  monkeypatch.chdir(tmp_path)
  for name in ("x.npy", "taken.npy"):
    np.save(tmp_path / name, np.zeros((2, 784), np.uint8))
  with pytest.raises(errors.UserError, match=named):
    command.main([*words, f"--workdir={tmp_path}"])


@pytest.mark.parametrize("name,content,named", [
  ("x.png", b"", "x.png: a file of .npy, .npz, .csv is expected"),
  ("x.csv", b"a,b\n1,2\n", "lines of integers with commas between them, without a header"),
  ("x.csv", b"1,2\n1\n", "lines of integers"),
  ("x.npy", b"no array", "x.npy is not a file of an array"),
  ("x.npz", b"PK", "x.npz is not a file of an array x"),
])  # fmt: skip
def test_files_of_other_kinds_are_refused(tmp_path, name, content, named):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.UserError, match=named):
    inputs.read_array(tmp_path / name)


def test_a_run_without_a_checkpoint_encodes_nothing(run, tmp_path):
  """Its parameters are what a file is identified by."""
  np.save(tmp_path / "x.npy", digits(1))
  (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
  with pytest.raises(errors.UserError, match="has no checkpoint yet"):
    command.main(["encode", str(tmp_path / "x.npy"), f"--workdir={tmp_path}"])
  assert not (tmp_path / "x.npy.dgmc").exists()


def trained(folder, config, num_steps=60):
  """The folder of a short run of a config."""
  with config.unlocked():
    config.num_steps = config.eval_every = config.figures_every = num_steps
    config.evaluate = {}
  train.train_and_evaluate(config, folder)
  return folder


def coded(run, path, tmp_path):
  """Encodes and decodes a file; its bytes must come back.  The size of the compressed file in bits."""
  command.main(["encode", f"--workdir={run}", str(path)])
  back = tmp_path / f"back{path.suffix}"
  command.main(["decode", f"--workdir={run}", f"{path}.dgmc", f"--out={back}"])
  assert back.read_bytes() == path.read_bytes()
  return 8 * path.with_name(f"{path.name}.dgmc").stat().st_size


def bits_of(run, x):
  """-log2 p(x) under a run's model, one pass for each batch, summed in double precision."""
  experiment, state = restore.of_run(run, "latest")[1:]
  bound = experiment.model.bind({"params": state.params, **state.variables})
  log_px = jax.jit(lambda x: bound.log_prob({"x": x}))
  return -sum(float(np.sum(log_px(x[i : i + 100]), dtype=np.float64)) for i in range(0, len(x), 100)) / np.log(2)


def test_the_size_of_a_thousand_digits_is_the_models(run, tmp_path):
  """The whole file, with its head, is within 0.2 % and 32 bits of -log2 p(x)."""
  splits = data.load("mnist5k")
  x = np.concatenate([splits.test["x"], splits.valid["x"]]) > 127
  assert len(x) == 1000
  np.save(tmp_path / "x.npy", x)
  bits = bits_of(run, x.astype(np.float32))
  assert abs(coded(run, tmp_path / "x.npy", tmp_path) - bits) <= 0.002 * bits + 32


@pytest.mark.slow
@pytest.mark.parametrize("net", ["plain", "row_lstm"])
def test_the_size_of_digits_by_a_pixelcnn_is_the_models(net, tmp_path):
  run = trained(tmp_path / "run", pixelcnn_mnist.get_config(f"test,net={net}"))
  x = data.load("mnist5k").test["x"] > 127
  np.save(tmp_path / "x.npy", x)
  bits = bits_of(run, x.astype(np.float32))
  assert abs(coded(run, tmp_path / "x.npy", tmp_path) - bits) <= 0.002 * bits + 32


@pytest.mark.slow
@pytest.mark.parametrize("config", [lstm_text, transformer_text])
def test_the_size_of_ten_thousand_characters_is_the_models(config, tmp_path):
  """-log2 p of the windows that the text is cut into; <end> is a line break."""
  run = trained(tmp_path / "run", config.get_config("test"))
  experiment = restore.of_run(run, "latest")[1]
  vocabulary, length = experiment.splits.about["vocabulary"], experiment.model.dim
  tokens = ["\n" if token == "<end>" else token for token in vocabulary]
  own = [c for c in pathlib.Path(licence.__file__).with_suffix(".txt").read_text() if c in tokens]
  text = "".join(own * 20)[: 10_000 // length * length]
  assert len(text) > 10_000 - length and "\n" in text
  bits = bits_of(run, np.array([tokens.index(c) for c in text], np.int32).reshape(-1, length))
  (tmp_path / "x.txt").write_text(text)
  head = 8 * 32
  assert abs(coded(run, tmp_path / "x.txt", tmp_path) - head - bits) <= 0.002 * bits + 32

"""A packed file holds the model of its run, bit for bit, without data or pickle, and says so if it is damaged."""

import json
import re
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy

import dgm_jax
from dgm_jax import api, data
from dgm_jax.api import loading, model_card, packed_file, packing
from dgm_jax.core import errors, files, rng
from helpers import processes, tables


@pytest.fixture(scope="session")
def packed(finished):
  """(run, its packed file)."""
  folder, _ = finished
  path = dgm_jax.pack(folder / "runs" / "first", folder / "first.dgm")
  return dgm_jax.load(folder / "runs" / "first"), path


def without_data(monkeypatch):
  """Makes every attempt to load data fail."""

  def load(name, **options):
    raise AssertionError(f"data set {name} was loaded")

  monkeypatch.setattr(data, "load", load)


def test_a_packed_model_equals_its_run_bitwise_without_its_data(packed, monkeypatch):
  run, path = packed
  without_data(monkeypatch)
  model = dgm_jax.load(path)
  grey = run.experiment.splits.test["x"][:20]
  binary = (grey > 127).astype("f")
  for ask in (
    lambda m: m.log_px(binary, 20, batch_size=20, chunk=20),
    lambda m: m.log_px(grey, 20, transform=True, batch_size=20, chunk=20),
    lambda m: m.encode(binary),
    lambda m: m.encode(binary, jax.random.key(1)),
    lambda m: m.decode(m.encode(binary)),
    lambda m: m.sample(4, seed=3),
  ):
    np.testing.assert_array_equal(ask(model), ask(run))
  assert (model.results, model.step, model.source) == (run.results, 40, path)
  assert model.config.to_dict() == run.config.to_dict()
  with pytest.raises(errors.UserError, match=r"first.dgm comes without the data that it was trained on"):
    model.evaluate("imputation", binary, part="train")


def test_the_same_run_gives_the_same_bytes_of_plain_formats(packed, tmp_path):
  run, path = packed
  again = dgm_jax.pack(run.source, tmp_path / "again.dgm")
  assert again.read_bytes() == path.read_bytes()
  assert [p.name for p in tmp_path.iterdir()] == ["again.dgm"]
  with zipfile.ZipFile(path) as archive:
    names = archive.namelist()
    assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    parameters = safetensors.numpy.load(archive.read("model.safetensors"))
    card = archive.read("card.md").decode()
  assert {n.rpartition(".")[2] for n in names} == {"safetensors", "json", "md"}
  assert not any(name.startswith(("opt_state", "averages")) for name in parameters)
  count = sum(a.size for a in jax.tree.leaves(run.params))
  for words in (f"{count:,} parameters, stored in float32", "4,000 train, 500 valid, 500 test", "binarize:dynamic"):
    assert words in card
  assert f"| test/log_px | {run.results['test/log_px']:.6g} |" in card
  assert run.results["data_digest"] in card


@pytest.mark.slow
def test_half_precision_halves_the_parameters_and_rounds_them(packed, tmp_path):
  run, path = packed
  sizes = {}
  for dtype, tolerance in (("float16", 2**-11), ("bfloat16", 2**-8)):
    narrow = dgm_jax.pack(run.source, tmp_path / f"{dtype}.dgm", dtype=dtype)
    model = dgm_jax.load(narrow)
    for got, exact in zip(jax.tree.leaves(model.params), jax.tree.leaves(run.params), strict=True):
      assert got.dtype == exact.dtype == np.float32
      np.testing.assert_allclose(got, exact, rtol=tolerance, atol=1e-7)
    sizes[dtype] = len(packed_file.read_members(narrow)["model.safetensors"])
  full = len(packed_file.read_members(path)["model.safetensors"])
  assert max(sizes.values()) < 0.55 * full


def test_damaged_and_foreign_files_get_one_sentence(packed, tmp_path):
  _, path = packed
  content, file = path.read_bytes(), tmp_path / "x.dgm"
  flipped = bytearray(content)
  flipped[len(content) // 2] ^= 1
  other = tmp_path / "other.zip"
  with zipfile.ZipFile(other, "w") as archive:
    archive.writestr("a.txt", "a")
  swapped = packed_file.read_members(path) | {"results.json": b'{"step": 1}'}
  for bad, named in (
    (bytes(flipped), "damaged"),
    (content[: len(content) // 2], "damaged"),
    (content[:-1], "damaged"),
    (b"", "damaged, or no packed model"),
    (b"some text", "damaged, or no packed model"),
    (other.read_bytes(), "not a packed model"),
  ):
    file.write_bytes(bad)
    with pytest.raises(errors.UserError, match=named):
      dgm_jax.load(file)
  packed_file.write_members(file, {k: v for k, v in swapped.items() if k != "model.json"})
  with pytest.raises(errors.UserError, match=r"it has no model.json"):
    dgm_jax.load(file)
  packed_file.write_members(file, swapped | {"model.safetensors": packed_file.to_tensors({"a": np.zeros(2)})})
  with pytest.raises(errors.UserError, match="do not fit the model of its config"):
    dgm_jax.load(file)
  with zipfile.ZipFile(path) as source, zipfile.ZipFile(file, "w") as target:  # a member exchanged, its CRC correct
    for name in source.namelist():
      target.writestr(name, b"{}" if name == "results.json" else source.read(name))
  with pytest.raises(errors.UserError, match=r"is damaged: results.json differ from what was packed"):
    dgm_jax.load(file)
  file.write_bytes(content.replace(b'"format": 1', b'"format": 9'))
  with pytest.raises(errors.UserError, match="damaged"):  # the zip's own checksum
    dgm_jax.load(file)


def test_mistakes_are_named_before_anything_is_written(packed, tmp_path):
  run, _ = packed
  for options, named in (({"dtype": "float8"}, "Unknown value of dtype 'float8'. .*float16"), ({"k": 0}, "k = 0")):
    with pytest.raises(errors.UserError, match=named):
      dgm_jax.pack(run.source, tmp_path / "new.dgm", **options)
  with pytest.raises(errors.UserError, match="is a folder; name a file"):
    dgm_jax.pack(run.source, tmp_path)
  with pytest.raises(errors.UserError, match="holds no run"):
    dgm_jax.pack(tmp_path, tmp_path / "new.dgm")
  assert not list(tmp_path.iterdir())
  done = processes.dgm_jax("pack", f"--workdir={tmp_path}", "--out=x.dgm")
  assert (done.returncode, "holds no run" in done.stderr) == (2, True)


def test_an_unknown_name_lists_the_models_that_come_with_the_package():
  with pytest.raises(errors.UserError, match=r"Unknown trained model 'iwae_mnist'. Did you mean 'iwae_mnist5k'\?"):
    dgm_jax.load("iwae_mnist")
  with pytest.raises(errors.UserError, match=r"Choices: iwae_mnist5k, vae_mnist5k. .*nonsense does not exist"):
    dgm_jax.load("nonsense")


def test_the_models_of_the_package_are_small_and_load_without_data(monkeypatch):
  without_data(monkeypatch)
  paths = [loading.MODELS / f"{name}.dgm" for name in loading.names()]
  assert sum(p.stat().st_size for p in paths) < 3e6
  assert loading.names() == ["iwae_mnist5k", "vae_mnist5k"]
  model = dgm_jax.load("iwae_mnist5k")
  assert model.results["test/log_px"] > -105
  assert len(repr(model).splitlines()) == 1
  card = packed_file.read_members(paths[0])["card.md"].decode()
  assert "Burda, Grosse & Salakhutdinov" in card
  assert "https://arxiv.org/abs/1509.00519" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iwae_mnist5k", "vae_mnist5k"])
def test_the_models_of_the_package_have_the_log_px_that_they_report(name):
  """A bound with 500 samples is 0.6 to 0.8 nats below the reported one with 5,000."""
  model = dgm_jax.load(name)
  assert model.results["test/likelihood_samples"] == 5000
  log_px = model.log_px(data.load("mnist5k").test, 500, transform=True)
  assert -1 < log_px.mean(dtype=np.float64) - model.results["test/log_px"] < -0.3


def test_the_config_of_a_run_is_found_in_its_command_or_its_sweep(tmp_path):
  run = tmp_path / "sweep" / "runs" / "a"
  run.mkdir(parents=True)
  assert packing.config_name(run) == ""
  files.write_json(tmp_path / "sweep" / "sweep.json", {"format": 1, "config": "iwae_mnist:quick", "runs": []})
  assert packing.config_name(run) == "iwae_mnist:quick"
  for command, name in (
    (
      "python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5,layers=1 --workdir=x",
      "configs/iwae_mnist.py:k=5,layers=1",
    ),
    ("python -m dgm_jax train '--config=my config.py:k=2' --workdir=x", "my config.py:k=2"),
    ("python -m dgm_jax --config vae_mnist", "vae_mnist"),
    ("dgm_jax.train('vae_mnist:quick', 'runs/x', **{})", "vae_mnist:quick"),
  ):
    files.write_json(run / "run.json", [{"command": c, "wall_s": {}} for c in ("other", command)])
    assert packing.config_name(run) == name
  assert model_card.citation("iwae_mnist:k=5").startswith("IWAE on MNIST: Burda, Grosse")
  assert model_card.citation("gone/mine.py") == model_card.citation("") == ""


_ALONE = """
import json, sys, zipfile
import jax, numpy, safetensors.numpy
path, x = sys.argv[1], numpy.load(sys.argv[2])
with zipfile.ZipFile(path) as archive:
  parameters = safetensors.numpy.load(archive.read("model.safetensors"))
  program = {n: jax.export.deserialize(archive.read(f"programs/{n}.jax")) for n in ("sample", "encode", "log_px")}
seed = numpy.uint32(0)
drawn = program["sample"].call(parameters, numpy.arange(8, dtype="int32"), seed)
found = {
  "sample": drawn,
  "z": program["encode"].call(parameters, x),
  "few": program["encode"].call(parameters, x[:3]),
  "log_px": program["log_px"].call(parameters, x, seed),
}
assert "dgm_jax" not in sys.modules and "flax" not in sys.modules
numpy.savez(sys.argv[3], **found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_exported_programs_run_with_jax_alone_and_agree(packed, tmp_path, dtype):
  run, _ = packed
  path = dgm_jax.pack(run.source, tmp_path / "x.dgm", export_programs=True, k=10, dtype=dtype)
  model = dgm_jax.load(path)
  x = (run.experiment.splits.test["x"][:10] > 127).astype("f")
  np.save(tmp_path / "x.npy", x)
  (tmp_path / "alone.py").write_text(_ALONE)
  words = [sys.executable, "-P", tmp_path / "alone.py", path, tmp_path / "x.npy", tmp_path / "out.npz"]
  done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  found = files.load_arrays(tmp_path / "out.npz")
  key = rng.stream(jax.random.key(0), "sample")
  one = lambda i: model.experiment.system.sample(model.state, jax.random.fold_in(key, i), 1)[0]
  assert np.mean(found["sample"] == jax.vmap(one)(np.arange(8))) > 0.999  # a pixel may be a tie but for rounding
  np.testing.assert_allclose(found["z"], model.encode(x), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["few"], found["z"][:3], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["log_px"], model.log_px(x, 10, batch_size=10, chunk=10), rtol=1e-5)
  described = json.loads(packed_file.read_members(path)["model.json"])["programs"]
  assert described.keys() == {"sample", "encode", "log_px"}
  assert not any("B =" in text for text in described.values())


@pytest.mark.slow
def test_models_without_an_encoder_are_packed_too(tmp_path, monkeypatch):
  for config, can_sample in (("bernoulli_mixture_mnist:test", True), ("uci_regression:test", False)):
    run = dgm_jax.train(config, workdir=tmp_path / config.partition(":")[0])
    assert any(k.startswith("test/") for k in run.results)
    model = dgm_jax.load(dgm_jax.pack(run.source, tmp_path / "x.dgm", export_programs=True))
    for got, expected in zip(jax.tree.leaves(model.params), jax.tree.leaves(run.params), strict=True):
      np.testing.assert_array_equal(got, expected)
    if can_sample:
      np.testing.assert_array_equal(model.sample(4), run.sample(4))
    else:
      with pytest.raises(errors.UserError, match="conditional"):
        model.sample(4)
    with pytest.raises(errors.UserError, match="does not provide infer"):
      model.encode(np.zeros((2, *run.experiment.model.data_shape)))


@pytest.mark.slow
def test_the_examples_of_the_readme_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  blocks, names = (
    re.findall(r"```python\n(.*?)```", (tables.ROOT / "dgm_jax" / "api" / "README.md").read_text(), re.S),
    {},
  )
  assert len(blocks) == 6
  for block in blocks:
    exec(block, names)
  assert names["z"].shape == (16, 8)
  assert len(names["found"].runs) == 4
  assert isinstance(names["model"], api.LatentModel)

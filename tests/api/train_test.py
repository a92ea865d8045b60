"""Runs and sweeps that are started from Python: the same checks and folders as the commands, data as arrays."""

import importlib.metadata
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import dgm_jax
from dgm_jax.api import own_arrays, settings
from dgm_jax.configs import iwae_mnist
from dgm_jax.core import errors, files
from helpers import tables

X = np.random.default_rng(0).random((120, 6)) < 0.4
TINY = {
  "model.args.hidden": (4,),
  "model.args.latent_dim": 2,
  "batch_size": 20,
  "num_steps": 10,
  "log_every": 5,
  "eval_every": 0,
  "figures_every": 0,
  "checkpoint_every": 5,
  "data.transforms": (),
}


@pytest.fixture(scope="session")
def small(tmp_path_factory):
  """A tiny model of an array, in runs/own of a folder."""
  folder = tmp_path_factory.mktemp("train")
  return dgm_jax.train("iwae_mnist:test", x=X, valid=0.2, test=0.25, workdir=folder / "own", **TINY)


def test_a_run_of_arrays_is_the_run_that_load_finds(small):
  again = dgm_jax.load(small.source)
  assert (small.step, again.step) == (10, 10)
  assert small.results == again.results == files.read_json(small.source / "results.json")
  np.testing.assert_array_equal(small.log_px(X[:10], 20), again.log_px(X[:10], 20))
  assert small.results["split_sizes"] == {"train": 66, "valid": 24, "test": 30}
  rows = np.concatenate([a["x"] for a in small.experiment.splits.parts().values()])
  np.testing.assert_array_equal(np.sort(rows, 0), np.sort(X, 0))
  assert "dgm_jax.train('iwae_mnist:test'" in files.read_json(small.source / "run.json")[0]["command"]
  assert repr(small).startswith("LatentModel(vae of array, step 10, test/log_px = -")


def test_a_finished_run_is_returned_and_other_data_or_values_are_refused(small):
  before = (small.source / "run.json").read_text()
  given = {"valid": 0.2, "test": 0.25, "workdir": small.source}
  for again in (dgm_jax.train("iwae_mnist:test", x=X, **given, **TINY), dgm_jax.train(workdir=small.source)):
    assert again.results == small.results
  assert (small.source / "run.json").read_text() == before
  with pytest.raises(errors.UserError, match="holds a run or a sweep of other data"):
    dgm_jax.train("iwae_mnist:test", x=~X, **given, **TINY)
  with pytest.raises(errors.UserError, match=r"It differs in: optim.lr"):
    dgm_jax.train("iwae_mnist:test", x=X, **given, **TINY, **{"optim.lr": 0.5})


@pytest.mark.slow
def test_a_folder_that_was_moved_has_its_data(small, tmp_path):
  shutil.copytree(small.source, tmp_path / "moved")
  moved = dgm_jax.load(tmp_path / "moved")
  assert moved.config.data.path == str(tmp_path / "moved" / "data.npz")
  assert dgm_jax.train(workdir=tmp_path / "moved").results == small.results
  changed = files.load_arrays(tmp_path / "moved" / "data.npz")
  files.save_arrays(tmp_path / "moved" / "data.npz", x=~changed["x"])
  with pytest.raises(errors.UserError, match="was trained on other data"):
    dgm_jax.load(tmp_path / "moved")


@pytest.mark.parametrize("overrides,named", [
  ({"optim.lrr": 1e-3}, r"Unknown key of config.optim 'lrr'. Did you mean 'lr'\?"),
  ({"optim.lr.x": 1e-3}, "config.optim.lr is a value and has no key 'x'"),
  ({"optim.lr": "fast"}, "config.optim.lr = 'fast' is not of the config's type float"),
  ({"batch_size": 2.5}, "config.batch_size = 2.5 is not of the config's type int"),
  ({"batch_size": True}, "config.batch_size = True is not of the config's type int"),
  ({"batch_size": -1}, "batch_size = -1; it must be between 1 and"),
  ({"data.path": "x.npz"}, "'data.path' is given as well as x"),
])  # fmt: skip
def test_mistakes_get_the_sentences_of_the_command_and_leave_nothing(tmp_path, overrides, named):
  with pytest.raises(errors.UserError, match=named):
    dgm_jax.train("iwae_mnist:test", x=X, workdir=tmp_path / "new", **{**TINY, **overrides})
  assert not list(tmp_path.iterdir())


def test_configs_are_found_as_on_the_command_line():
  with pytest.raises(errors.UserError, match=r"Did you mean 'iwae_mnist'\?"):
    dgm_jax.train("iwea_mnist")
  with pytest.raises(errors.UserError, match=r"name a config, e.g. 'iwae_mnist:k=5'"):
    dgm_jax.train()
  with pytest.raises(errors.UserError, match="a config's name or file is expected"):
    dgm_jax.train(7)
  given = iwae_mnist.get_config("test")
  made = settings.make_config(given, {"optim.lr": np.float32(0.5), "num_steps": np.int64(3), "model.args.hidden": [8]})
  assert (made.optim.lr, made.num_steps, made.model.args.hidden) == (0.5, 3, (8,))
  assert given.optim.lr != 0.5
  named = settings.make_config("iwae_mnist:test,k=5", {"data.name": "omniglot"})
  assert (named.data.name, named.objective.num_samples) == ("omniglot", 5)


@pytest.mark.parametrize("given,named", [
  ({"x": X, "y": np.zeros(3)}, "y has 3 rows, but x has 120"),
  ({"x": np.array(["a", None])}, "x holds object"),
  ({"x": 3.0}, "an array"),
  ({"x": {"y": X}}, "The data lack 'x'; they have y"),
  ({"x": X, "valid": X}, "valid= is an array, so test= must be one, too"),
  ({"x": X, "y": np.zeros(120), "test": X}, "test= has x, but the training data have x, y"),
])  # fmt: skip
def test_arrays_that_do_not_fit_get_one_sentence(given, named):
  with pytest.raises(errors.UserError, match=named):
    own_arrays.collect(**given)


def test_parts_are_named_as_the_data_set_reads_them():
  y = np.arange(120)
  arrays, options = own_arrays.collect(X, y, valid={"x": X[:3], "y": y[:3]}, test={"x": X[:2], "y": y[:2]})
  assert {k: len(a) for k, a in arrays.items()} == {
    "x_train": 120, "y_train": 120, "x_valid": 3, "y_valid": 3, "x_test": 2, "y_test": 2
  }  # fmt: skip
  assert options == {}
  arrays, options = own_arrays.collect({"x": X, "mask": X}, valid=0.1, test=0.3)
  assert (arrays.keys(), options) == ({"x", "mask"}, {"valid_fraction": 0.1, "test_fraction": 0.3})


# classes of applications
NAMES = ("Colouriser", "MIWAEImputer", "MoleculeVAE", "SCANVI", "SCVI", "SentenceVAE", "TableImputer", "WorldModel")


def test_the_top_level_shows_its_lazy_names_and_imports_nothing():
  code = (
    "import sys, dgm_jax; print(sorted(n for n in dir(dgm_jax) if n[:2] != '__')); print(dgm_jax.__version__);"
    "print([m for m in ('jax', 'flax', 'numpy', 'sklearn') if m in sys.modules and m != 'numpy'])"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=tables.ROOT, capture_output=True, text=True)
  names, version, loaded = done.stdout.splitlines()
  assert names == str([*NAMES, "load", "pack", "sweep", "train"])
  assert version == dgm_jax.__version__
  assert loaded == "[]"
  assert all(callable(getattr(dgm_jax, name)) for name in (*NAMES, "load", "pack", "sweep", "train"))
  with pytest.raises(AttributeError, match="no attribute 'lode'"):
    dgm_jax.lode  # noqa: B018


def test_the_version_is_that_of_setup_cfg_where_nothing_is_installed(monkeypatch):
  def missing(name):
    raise importlib.metadata.PackageNotFoundError

  installed = dgm_jax._version()
  monkeypatch.setattr(importlib.metadata, "version", missing)
  assert dgm_jax._version() == installed


@pytest.mark.slow
def test_a_script_without_a_guard_runs_a_sweep_of_arrays(tmp_path):
  script = tmp_path / "script.py"
  script.write_text(f"""
import numpy as np
import dgm_jax

x = np.random.default_rng(0).random((120, 6)) < 0.4
tiny = {TINY!r}
axes = {{"optim.lr": np.array([1e-3, 3e-3]), "seed": range(2)}}
found = dgm_jax.sweep("iwae_mnist:test", root="rates", axes=axes, x=x, jobs=1, **tiny)
print(sorted(found.table.columns))
assert list(found.table["state"]) == ["finished"] * 4
assert list(found.runs) == list(found.table["name"])
run = found.runs[list(found.runs)[1]]
assert run.results["test/log_px"] == found.table["test/log_px"][1]
assert run.config.data.path.endswith("rates/data.npz")
print(found)
""")
  for _ in range(2):  # the second call repeats nothing
    environment = os.environ | {"PYTHONPATH": str(tables.ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Sweep(rates, 4 finished)" in done.stdout
  assert "All runs of rates are done" in done.stdout
  (tmp_path / "rates").rename(tmp_path / "elsewhere")
  moved = dgm_jax.load(next((tmp_path / "elsewhere" / "runs").iterdir()))
  assert moved.config.data.path == str(tmp_path / "elsewhere" / "data.npz")


def test_mistakes_in_a_sweep_leave_nothing(tmp_path):
  for options, named in (
    ({"axes": {"optim.lrr": [1]}}, "Unknown key of config.optim 'lrr'"),
    ({"axes": {"optim.lr": ["fast"]}}, "'fast' is not of the config's type float"),
    ({"axes": {"seed": []}}, "seed"),
    ({"axes": {"seed": [0]}, "max_lanes": -1}, "max_lanes = -1"),
    ({"axes": {"seed": [0]}, "seed": 1}, "'seed' is both an axis and set"),
  ):
    with pytest.raises(errors.UserError, match=named):
      dgm_jax.sweep("iwae_mnist:test", root=tmp_path / "new", x=X, **options)
    assert not list(tmp_path.iterdir())
  files.save_arrays(tmp_path / "mine" / "data.npz", x=~X)  # not ours to remove
  with pytest.raises(errors.UserError, match="of other data"):
    dgm_jax.train("iwae_mnist:test", x=X, workdir=tmp_path / "mine", **TINY)
  assert (tmp_path / "mine" / "data.npz").exists()
  with pytest.raises(errors.UserError, match="not a ConfigDict"):
    dgm_jax.sweep(iwae_mnist.get_config("test"), root=tmp_path / "new", axes={"seed": [0]})
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.UserError, match="is a file"):
    dgm_jax.sweep("iwae_mnist:test", root=tmp_path / "file", axes={"seed": [0]})

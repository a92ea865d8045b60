"""Which modules of the user's own a config names, and the copies of them that a run or a sweep keeps."""

import json
import sys

import pytest
from ml_collections import ConfigDict

from dgm_jax.core import errors
from dgm_jax.training.workdir import own_files


@pytest.fixture
def config(tmp_path, monkeypatch):
  """A config that names a module of a package and two files of one name."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", list(sys.path))
  for file in ("planted/__init__.py", "planted/net.py", "mine.py", "b/mine.py", "score.py"):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"file = {file!r}\n")
  args = {"likelihood": "b/mine.py:laplace", "prior": "standard_normal", "net": "relu.v2", "plot": "none.py", "k": 3}
  return {
    "model": {"name": "planted.net:Net", "args": args},
    "principle": "latent",
    "data": {"name": "mine.py"},
    "evaluate": {"score": {"from": "score.py"}, "means": {"batch_size": 100}},
  }


def test_the_modules_of_a_config(config):
  assert {path: str(reference) for path, reference in own_files.of(config).items()} == {
    "model.name": "planted.net:Net",
    "data.name": "mine.py",
    "model.args.likelihood": "b/mine.py:laplace",
    "model.args.plot": "none.py",
    "evaluate.score.from": "score.py",
  }


def located(config, run, **options):
  return own_files.located(ConfigDict(config), run, **options).to_dict()


def test_a_copy_takes_the_place_of_each_file_and_of_a_module_that_is_gone(config, tmp_path):
  run = tmp_path / "run"
  own_files.keep(run, config)
  index = json.loads((run / "own" / "index.json").read_text())
  assert sorted(entry["file"] for entry in index.values()) == ["mine.py", "mine_2.py", "planted.net.py", "score.py"]
  for file in ("mine.py", "b/mine.py"):
    assert (run / "own" / index[file]["file"]).read_text() == f"file = {file!r}\n"
  found = located(config, run)
  assert found["model"]["name"] == "planted.net:Net"  # unchanged, so it is imported by its own name
  assert found["evaluate"]["score"]["from"] == str(run / "own" / "score.py")
  assert found["model"]["args"]["likelihood"].endswith(".py:laplace")
  assert found["model"]["args"] | {"likelihood": ""} == config["model"]["args"] | {"likelihood": ""}
  (tmp_path / "planted" / "net.py").write_text("file = 'changed'\n")
  assert located(config, run)["model"]["name"] == f"{run / 'own' / 'planted.net.py'}:Net"
  assert located(config, tmp_path / "none") == config


def test_an_evaluation_may_be_used_as_it_is_now(config, tmp_path):
  own_files.keep(tmp_path / "run", config)
  assert located(config, tmp_path / "run", fresh=True)["evaluate"]["score"]["from"] == "score.py"
  (tmp_path / "score.py").unlink()
  copy = str(tmp_path / "run" / "own" / "score.py")
  assert located(config, tmp_path / "run", fresh=True)["evaluate"]["score"]["from"] == copy


def test_another_content_is_refused_and_a_missing_file_is_not(config, tmp_path):
  run = tmp_path / "run"
  own_files.keep(run, config)
  (tmp_path / "b" / "mine.py").unlink()
  own_files.check(run, config)
  (tmp_path / "mine.py").write_text("file = 'changed'\n")
  with pytest.raises(errors.UserError, match=r"'mine\.py' has changed since .*run was made with it"):
    own_files.check(run, config)
  with pytest.raises(errors.UserError, match=r"'mine\.py' has changed since .*run was made with it"):
    own_files.keep(run, config)
  assert [path for path, _ in own_files.changes(run, config)] == ["data.name"]


def test_a_run_of_a_sweep_is_copied_from_the_sweep(config, tmp_path):
  sweep, run = tmp_path / "sweep", tmp_path / "sweep" / "runs" / "a"
  own_files.keep(sweep, config)
  (tmp_path / "mine.py").write_text("file = 'changed'\n")
  source = own_files.located(ConfigDict(config), run, sweep).to_dict()
  own_files.keep(run, config, source)
  assert own_files.digests(run) == own_files.digests(sweep)

"""Runs, configs and commands of earlier versions: read under today's names, or rejected with those names."""

import json
import pathlib
import shlex
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

import dgm_jax
from dgm_jax.core import config_args, errors, renamed
from dgm_jax.data import pipeline
from dgm_jax.data.splits import Splits
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper
from dgm_jax.training import build, train
from dgm_jax.training.restore import restore
from dgm_jax.training.results import evaluate_finally
from dgm_jax.training.workdir import legacy_configs, metrics
from helpers import tables

RUNS = pathlib.Path(__file__).with_name("earlier_runs")  # made when the package was one flat folder, at commit b7b6417
RESULTS = sorted((tables.ROOT / "experiments" / "results").glob("*.json"))


def values_of(node, key):
  """Every value under a key, at any depth of JSON."""
  if isinstance(node, dict):
    found = [node[key]] if key in node else []
    return found + [v for value in node.values() for v in values_of(value, key)]
  return [v for value in node for v in values_of(value, key)] if isinstance(node, list) else []


def strings_of(node):
  if isinstance(node, str):
    return [node]
  nodes = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
  return [text for value in nodes for text in strings_of(value)]


COMMITTED = {path.stem: json.loads(path.read_text()) for path in RESULTS}
CONFIGS = {
  f"{name} {i}": config
  for name, found in COMMITTED.items()
  for i, config in enumerate(c for c in values_of(found, "config") if isinstance(c, dict))
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_committed_configs_build(config):
  config = ConfigDict(legacy_configs.upgraded({"seed": 0} | config))  # results of several seeds have no seed
  rng = np.random.default_rng(0)  # in place of the data sets, which may not be available
  images = lambda n: {"x": rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8), "y": np.zeros(n, np.int32)}
  parts = build._number(Splits(images(200), images(20), images(20)))
  experiment = build.build(config, (parts, pipeline.make(config.data.transforms, parts.train, [parts.test])))
  assert experiment.hparams["optim.lr"] == config.optim.lr


def mains(node):
  """The commands `python -m dgm_jax.main ...` among all strings of a result."""
  return [text for text in strings_of(node) if text.startswith("python -m dgm_jax.main ") and "--config=" in text]


def check_command(text):
  """Validates the config file, its argument and all paths of a command, as the command line does."""
  words = [word for word in shlex.split(text) if word.startswith("--config")]
  [config] = [config_args.load(word.partition("=")[2]) for word in words if word.startswith("--config=")]
  for word in words:
    if word.startswith("--config."):
      config_args.check_path(config, word.removeprefix("--config.").partition("=")[0])


def test_committed_commands_parse_or_raise_with_the_present_name(monkeypatch):
  monkeypatch.chdir(tables.ROOT)
  commands = {text for found in COMMITTED.values() for text in mains(found)}
  assert len(commands) > 100
  num_renamed = 0
  for text in commands:
    if "--config.evaluate.likelihood." in text:
      num_renamed += 1
      with pytest.raises(errors.UserError, match=r"is now called config\.evaluate\.importance_sampling\."):
        check_command(text)
      text = text.replace("--config.evaluate.likelihood.", "--config.evaluate.importance_sampling.")
    check_command(text)
  assert num_renamed > 0


def test_committed_commands_of_papers_still_name_a_budget():
  commands = {c for found in COMMITTED.values() for c in strings_of(found) if c.startswith("python -m experiments.rep")}
  assert len(commands) > 30
  for text in commands:
    args = reproduce._parser().parse_args(shlex.split(text)[3:])
    module = paper.load(args.paper)
    for item in reproduce.chosen_items(module, args.table, args.figure, args.budget):
      reproduce.chosen_cells(paper.budget(module, item, args.budget), args.cells)


@pytest.fixture(params=["latent", "supervised"])
def earlier(request, tmp_path):
  """A finished run of the earlier version."""
  workdir = tmp_path / request.param
  shutil.unpack_archive(RUNS / f"{request.param}.zip", workdir)
  return workdir


def test_earlier_runs_are_evaluated_resumed_loaded_and_sampled(earlier):
  found = json.loads((earlier / "results.json").read_text())
  config = ConfigDict(legacy_configs.read_config(earlier))
  assert config.principle == earlier.name
  experiment, state = restore(config, earlier)
  again = evaluate_finally(config, experiment, state, earlier)
  for name, value in found.items():
    assert again[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name
  # resumed at step 20, it ends with the same results
  rows = metrics.read(earlier)
  (earlier / "results.json").unlink()
  shutil.rmtree(earlier / "checkpoints" / "40")
  results = train.train_and_evaluate(config, earlier)
  for name, value in found.items():
    assert results[name] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value), name
  for row, old in zip(metrics.read(earlier), rows, strict=True):
    assert row == pytest.approx(old, rel=1e-3)
  model = dgm_jax.load(earlier)
  assert model.step == 40
  if earlier.name == "latent":
    assert model.sample(2).shape == (2, 28, 28, 1)


def test_former_names_are_converted_or_raise():
  old = {"principle": "mcem", "evaluate": {"likelihood": {"chunk": 5}, "gaps": {"log_px": "likelihood"}}}
  new = {
    "principle": "monte_carlo_em",
    "evaluate": {"importance_sampling": {"chunk": 5}, "gaps": {"log_px": "importance_sampling"}},
  }
  assert renamed.upgraded(old) == new
  assert renamed.upgraded(new) == new
  assert renamed.upgraded({"principle": "likelihood"}) == {"principle": "supervised"}
  with pytest.raises(errors.UserError, match=r"'mcem', the value of config\.principle, is now called 'monte_carlo_em'"):
    renamed.check("principle", "mcem")
  for path in ("principle", "evaluate.importance_sampling.chunk", "evaluate.likelihoods", "model.args.likelihood"):
    renamed.check(path, "vae")
  renamed.check("optim.lr", float("nan"))  # a number is no name

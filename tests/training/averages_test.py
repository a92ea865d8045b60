"""Moving averages of the parameters in whole runs: evaluated, saved, and without effect on training."""

import functools
import json

import jax
import numpy as np
import pytest

import dgm_jax
from dgm_jax.configs import iwae_mnist
from dgm_jax.core import evaluation, rng
from dgm_jax.training import build, train
from dgm_jax.training.experiment import make_init
from dgm_jax.training.results import evaluate_finally
from dgm_jax.training.workdir import checkpoint


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """{ema_decay: (config, folder)} of two finished runs that differ only in it."""
  found = {}
  for decay in (0.0, 0.99):
    config = iwae_mnist.get_config("test,k=5")
    config.optim.ema_decay, config.optim.lr = decay, 1e-2
    with config.unlocked():
      del config.evaluate.active_units
    found[decay] = config, tmp_path_factory.mktemp("run") / str(decay)
    train.train_and_evaluate(*found[decay])
  return found


def _newest(config, folder):
  """The newest saved state."""
  experiment = build.build(config)
  with checkpoint.open_manager(folder, read_only=True) as manager:
    return checkpoint.restore_latest(manager, jax.jit(make_init(experiment, 0))())


@pytest.mark.slow
def test_averages_do_not_affect_training(runs):
  rows = [
    [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][1:]
    for _, folder in runs.values()
  ]
  for without, averaged in zip(*rows, strict=True):
    assert {k: v for k, v in without.items() if "train" in k} == {k: v for k, v in averaged.items() if "train" in k}
  states = [_newest(*run) for run in runs.values()]
  jax.tree.map(np.testing.assert_array_equal, *[(s.params, s.opt_state) for s in states])
  assert states[0].averages is None


@pytest.mark.slow  # of a system without the loop it is tested above
def test_the_loop_evaluates_the_averages(runs):
  (config, folder), (plain, plain_folder) = runs[0.99], runs[0.0]
  saved, experiment = _newest(config, folder), build.build(plain)
  run = dgm_jax.load(folder)
  jax.tree.map(np.testing.assert_array_equal, run.params, saved.averages)
  # how the run without averages evaluates them
  state = _newest(plain, plain_folder).replace(params=saved.averages)
  system, transform = experiment.system, experiment.transforms.evaluate
  evaluate = evaluation.make_evaluate(system, transform, plain.eval_batch_size)
  expected = evaluate(state, rng.stream(jax.random.key(0), "eval"), experiment.splits.valid)
  row = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][-1]
  assert {k: row[f"valid/{k}"] for k in expected} == pytest.approx(expected, rel=1e-5)
  final = evaluate_finally(plain, experiment, state, plain_folder)
  results = [json.loads((f / "results.json").read_text()) for f in (folder, plain_folder)]
  assert results[0]["test/nll"] == pytest.approx(final["test/nll"], rel=1e-5)
  assert abs(results[0]["test/nll"] - results[1]["test/nll"]) > 1
  draw = functools.partial(experiment.system.sample, state)
  np.testing.assert_array_equal(run.sample(4, seed=3), draw(rng.stream(jax.random.key(3), "sample"), 4))

"""config.track: evaluations during training, by which the best state is kept; and runs of two players by the loop."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.configs import gan_grid, iwae_mnist
from dgm_jax.core import errors
from dgm_jax.evaluate.sample_features import features
from dgm_jax.evaluate.sample_metrics import named
from dgm_jax.training import build, early_stopping, tracking, train
from dgm_jax.training.experiment import make_init
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint
from helpers import tables


def small(seed=0, **given):
  config = gan_grid.get_config("test")
  with config.unlocked():
    config.seed, config.eval_every, config.checkpoint_every, config.figures_every = seed, 20, 20, 40
    config.loggers, config.track, config.evaluate = (), ConfigDict(), ConfigDict({"means": {"batch_size": 100}})
    config.keep_best = ""
    config.update(given)
  return config


def rows_of(folder):
  return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][1:]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """(config, folder) of a finished run that tracks the means of the logits, and keeps its best state by one of them."""
  config = small(keep_best="valid/d_real_stderr")
  with config.unlocked():
    config.track.means = {"batch_size": 100}
  folder = tmp_path_factory.mktemp("run") / "gan"
  train.train_and_evaluate(config, folder)
  return config, folder


def test_tracked_numbers_are_logged_at_every_evaluation(run):
  config, folder = run
  rows = {row["step"]: row for row in rows_of(folder)}
  assert {step for step, row in rows.items() if "valid/d_real_stderr" in row} == {0, 20, 40}
  assert "valid/d_real" in rows[20] and "train/spread" in rows[20]
  [start] = json.loads((folder / "run.json").read_text())
  assert start["wall_s"]["track"] > 0
  best = restore(config, folder, "best")[1]
  scores = {step: row["valid/d_real_stderr"] for step, row in rows.items() if step in checkpoint.steps(folder)}
  assert int(best.step) in [step for step in scores if scores[step] == min(scores[s] for s in (20, 40))]


def test_states_share_the_programs_of_what_is_tracked(tmp_path):
  """And the folder of a run is handed down as what is loaded from it."""
  (tmp_path / "config.json").write_text("{}")
  config = small()
  with config.unlocked():
    config.track.samples = {"metrics": ("modes", "frechet"), "num_samples": 30, "features": str(tmp_path)}
  experiment, traced, handed = build.build(config), [], []
  sample = experiment.system.sample
  draw = lambda state, key, n: (traced.append(n), sample(state, key, n))[1]
  experiment = experiment._replace(system=experiment.system._replace(sample=draw))
  load = lambda option, folder: (handed.append((option, folder)), features.pixels())[1]
  tracker = tracking.Tracker(experiment, config, "valid", load)
  states = [jax.jit(make_init(experiment, seed))() for seed in (0, 1, 0)]
  first, second, again = (tracker(state) for state in states)
  assert first == again
  assert first["valid/samples_frechet"] != second["valid/samples_frechet"]
  assert first["valid/samples_frechet_floor"] == second["valid/samples_frechet_floor"]
  assert len(traced) == 1
  assert handed == [("evaluate.samples.features", str(tmp_path))]


def test_the_generator_alone_is_averaged_and_evaluated(run):
  config, folder = run
  raw, averaged = restore(config, folder, averaged=False)[1], restore(config, folder)[1]
  assert raw.averages.keys() == {"generator"}
  jax.tree.map(np.testing.assert_array_equal, averaged.params["generator"], raw.averages["generator"])
  jax.tree.map(np.testing.assert_array_equal, averaged.params["discriminator"], raw.params["discriminator"])


def test_a_metric_that_is_not_tracked_is_named(tmp_path):
  with pytest.raises(errors.UserError, match="metric of keep_best 'valid/samples_frechet'"):
    train.train_and_evaluate(small(keep_best="valid/samples_frechet"), tmp_path / "run")
  config = gan_grid.get_config("test")
  with config.unlocked():
    config.keep_best, config.loggers = "valid/samples_frechet", ()
  with pytest.raises(errors.UserError, match=r"keep_best 'valid/samples_frechet'. Did you mean 'valid/samples_modes"):
    train.train_and_evaluate(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()  # known without training
  config.keep_best, config.evaluate.samples.features = "", "mnist"
  with pytest.raises(errors.UserError, match=r"features = 'mnist' takes x of shape \[28, 28, 1\]"):
    train.train_and_evaluate(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()
  config = iwae_mnist.get_config("test,k=5")
  with config.unlocked():
    config.track.nothing = {}
  with pytest.raises(errors.UserError, match="evaluation 'nothing'"):
    train.train_and_evaluate(config, tmp_path / "run")


COSTS = """loss nll distortion rate error imputation_rmse imputation_mse brier ece perplexity completion_perplexity
  aic bic icl bits_per_dim bits_per_character nats_per_token exact_kl gaps_amortisation invertibility colour_mae
  imputation_l1
  samples_frechet samples_frechet_infinity samples_fid samples_fid_infinity samples_kernel samples_kid
  samples_frechet_stderr samples_memorisation_near samples_modes_reverse_kl colour_frechet_within"""
GAINS = """log_px elbo accuracy likelihood_ess active_units collapse_units_by_kl npmi cells_ari ood_auroc colour_auc
  samples_precision samples_recall samples_density samples_coverage samples_class_score samples_inception_score
  samples_nearest_by_samples samples_agreement samples_memorisation_z samples_support samples_modes samples_modes_share
  samples_parzen colour_mae_below_grey"""


@pytest.mark.parametrize("sign,names", [(-1.0, COSTS), (1.0, GAINS)])
def test_less_is_better_for_errors_and_distances_and_more_for_the_others(sign, names):
  for name in names.split():
    assert early_stopping.score(f"valid/{name}", {f"valid/{name}": 3.0}) == 3.0 * sign, name


def test_every_number_of_samples_is_judged():
  judged = {name.removeprefix("samples_") for name in f"{COSTS} {GAINS}".split()}
  for fid in (False, True):
    every = set(named.names(list(named.METRICS), fid))
    derived = {
      "nearest_of_samples",
      "memorisation_least_z",
      "memorisation_mean_z",
      "support_at_least",
    }  # judged as what they belong to
    assert every - derived <= judged, every - judged


def test_a_tracked_evaluation_is_added_by_an_option_and_its_mistakes_name_it():
  config = build.with_evaluations(iwae_mnist.get_config("test,k=5"), ["track.samples.num_samples", "track.none.a"])
  assert "against" not in config.track.samples and "none" not in config.track
  config.track.samples.num_samples = 1
  with pytest.raises(errors.UserError, match=r"track\.samples\.num_samples = 1; it must be 2"):
    build.build(config)


@pytest.mark.slow
def test_seeds_rates_and_weights_are_lanes_that_equal_lone_runs(tmp_path):
  configs = []
  for i, (lr, weight, own) in enumerate([(1e-3, 0.1, 1e-3), (3e-3, 1.0, 5e-4)]):
    config = small(seed=i)
    with config.unlocked():
      config.optim.update(lr=lr, eps=1e-4)
      config.optim.discriminator.lr, config.objective.weight = own, weight
    configs.append(config)
  train.train_runs(configs, [tmp_path / f"lane{i}" for i in range(2)])
  for i, config in enumerate(configs):
    train.train_and_evaluate(config, tmp_path / f"lone{i}")
    a, b = (restore(config, tmp_path / f"{kind}{i}", averaged=False)[1] for kind in ("lane", "lone"))
    tables.assert_close_by_leaf(a.params, b.params, 1e-4)


@pytest.mark.slow
def test_a_step_of_several_batches_is_the_same_streamed(tmp_path):
  found = {}
  for source in ("resident", "streaming"):
    config = small()
    config.objective.update(loss="wasserstein", penalty="gradient_penalty", num_discriminator=3)
    config.data.source, config.num_epochs = source, 4
    with config.unlocked():
      config.num_steps = None
    train.train_and_evaluate(config, tmp_path / source)
    found[source] = restore(config, tmp_path / source, averaged=False)
  resident, streaming = (state for _, state in found.values())
  experiment = found["resident"][0]
  assert (experiment.examples_per_step, experiment.steps_per_epoch, int(resident.step)) == (150, 6, 24)
  tables.assert_close_by_leaf(resident.params, streaming.params, 1e-5)


@pytest.mark.slow
def test_a_game_that_is_killed_five_times_ends_in_the_same_state(tmp_path):
  code = """
import sys, pathlib
from training.tracking_test import small
from dgm_jax.training import train
config = small(num_steps=400, log_every=10, eval_every=20, checkpoint_every=20)
train.train_and_evaluate(config, pathlib.Path(sys.argv[1]))
"""
  env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tables.ROOT / "tests"), str(tables.ROOT)])}
  command = lambda name: [sys.executable, "-c", code, str(tmp_path / name)]
  assert subprocess.run(command("whole"), env=env, check=False).returncode == 0
  for kill in range(5):
    process = subprocess.Popen(command("killed"), env=env)
    wanted = 60 * (kill + 1)
    while process.poll() is None:
      folder = tmp_path / "killed"
      steps = checkpoint.steps(folder) if (folder / "checkpoints").is_dir() else {0}
      if max(steps, default=0) >= wanted:
        process.send_signal(signal.SIGKILL)
        process.wait()
        break
      time.sleep(0.01)
  assert subprocess.run(command("killed"), env=env, check=False).returncode == 0
  assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "killed")
  config = small(num_steps=400, log_every=10, eval_every=20, checkpoint_every=20)
  states = [restore(config, tmp_path / name, averaged=False)[1] for name in ("whole", "killed")]
  jax.tree.map(np.testing.assert_array_equal, *[(s.params, s.opt_state, s.averages) for s in states])

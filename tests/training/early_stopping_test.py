"""Which checkpoints are kept, early stopping, and starts from the parameters of another run."""

import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import dgm_jax
from dgm_jax.configs import iwae_mnist, vae_mnist
from dgm_jax.core import errors
from dgm_jax.training import build, early_stopping, train
from dgm_jax.training.experiment import make_init
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint, manifest, metrics, warm_start
from helpers import tables


def small(module=iwae_mnist, **values):
  config = module.get_config("test")
  config.evaluate = {}
  config.update(values)
  return config


def steps(workdir):
  return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The folder of a finished run of small()."""
  folder = tmp_path_factory.mktemp("trained") / "run"
  train.train_and_evaluate(small(), folder)
  return folder


def test_lower_losses_and_higher_bounds_are_better():
  rows = [{"step": i, "valid/log_px": -v, "valid/distortion": v} for i, v in enumerate((3.0, 1.0, 1.0, 2.0))]
  for name in ("valid/log_px", "valid/distortion"):
    assert early_stopping.best_step(rows, name, {0, 1, 2, 3}) == 1
    assert early_stopping.best_step(rows, name, {0, 3}) == 3
  assert early_stopping.best_step(rows, "valid/elbo", {0, 1}) is None


def test_patience_counts_evaluations_since_the_best():
  rows = [{"step": 0, "a": 1.0}, {"step": 1}, {"step": 2, "a": 3.0}, {"step": 3, "a": 3.0}, {"step": 4}]
  end = early_stopping.Ending("a", 2, None)
  assert end.reason(rows, 0.0) is None
  assert end.reason([*rows, {"step": 5, "a": 2.0}], 0.0) == "a has not improved in 2 evaluations"
  assert end.reason([*rows, {"step": 5, "a": 4.0}], 0.0) is None


def test_updates_of_the_decoder_end_a_run():
  end, row = early_stopping.Ending("", 0, None, 1000), {"step": 900, "train/decoder_updates": 999.5}
  assert end.reason([], 0.0) is None and end.reason([{"step": 0}, row], 0.0) is None
  assert end.reason([row, row | {"train/decoder_updates": 1000.0}], 0.0) == "its decoder has had 1,000 updates"
  assert early_stopping.Ending("", 0, None).reason([row], 0.0) is None


@pytest.mark.slow
def test_an_aggressive_run_ends_after_its_updates_of_the_decoder_also_as_one_of_several(tmp_path):
  configs = [small(vae_mnist, num_steps=400, log_every=10, eval_every=0, seed=seed) for seed in (0, 1)]
  for config in configs:
    config.optim.boundaries, config.optim.scales = (), ()
    config.objective.update(aggressive=2, aggressive_window=1, decoder_updates=9)
  train.train_runs(configs, [tmp_path / "0", tmp_path / "1"])
  for folder in (tmp_path / "0", tmp_path / "1"):
    rows = [row for row in metrics.read(folder) if "train/decoder_updates" in row]
    assert rows[-1]["train/decoder_updates"] >= 9 > rows[-2]["train/decoder_updates"]
    assert steps(folder)[-1] == rows[-1]["step"] < 400
    assert json.loads((folder / "run.json").read_text())[-1].get("lanes", 1) == 1


def test_the_best_checkpoint_is_kept_beside_the_latest_and_evaluated(tmp_path):
  """The learning rate explodes halfway, so that the best checkpoint is not the latest."""
  config = small(num_steps=80, keep_checkpoints=1, keep_best="valid/log_px", eval_every=10)
  config.optim.boundaries, config.optim.scales = (0.5,), (300.0,)
  train.train_and_evaluate(config, tmp_path)
  rows = metrics.read(tmp_path)
  best = max((row for row in rows if row["step"] > 0), key=lambda row: row["valid/log_px"])["step"]
  assert best < 80
  assert steps(tmp_path) == [best, 80]
  assert int(restore(config, tmp_path, "best")[1].step) == best
  assert int(restore(config, tmp_path)[1].step) == 80
  with pytest.raises(errors.UserError, match=f"Unknown value of --checkpoint '7'.*{best}"):
    restore(config, tmp_path, "7")


@pytest.mark.slow
def test_early_stopping_ends_a_resumed_run_at_the_same_step(tmp_path):
  config = small(num_steps=400, keep_best="valid/log_px", early_stopping=2, eval_every=10)
  config.optim.boundaries, config.optim.scales = (0.1,), (300.0,)
  whole = train.train_and_evaluate(config, tmp_path / "whole")
  assert 40 < whole["step"] < 400
  train.train_and_evaluate(config, tmp_path / "again")
  (tmp_path / "again" / "results.json").unlink()
  assert train.train_and_evaluate(config, tmp_path / "again") == whole
  assert (tmp_path / "again" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_max_minutes_includes_earlier_processes(tmp_path):
  config = small(num_steps=100_000, max_minutes=0.02)
  first = train.train_and_evaluate(config, tmp_path)
  assert 0 < first["step"] < 100_000
  (tmp_path / "results.json").unlink()
  assert train.train_and_evaluate(config, tmp_path) == first


def test_a_run_starts_from_the_parameters_of_another(trained, tmp_path, capsys):
  """A VAE from an IWAE: all arrays match; the optimiser and the step are reset."""
  config = small(vae_mnist, num_steps=10, seed=1, init_from=str(trained))
  config.optim.lr = 1e-12
  train.train_and_evaluate(config, tmp_path / "vae")
  assert f"Starting from step 40 of {trained}: 8 of 8 arrays match." in capsys.readouterr().out
  there, here = restore(small(), trained)[1], restore(config, tmp_path / "vae")[1]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), there.params, here.params)
  assert int(here.step) == 10


@pytest.mark.slow
def test_each_lane_starts_from_its_own_run(tmp_path):
  sources = [small(vae_mnist, seed=seed, num_steps=10) for seed in (0, 1)]
  train.train_runs(sources, [tmp_path / f"vae{i}" for i in (0, 1)])
  configs = [small(vae_mnist, num_steps=10, seed=i, init_from=str(tmp_path / f"vae{i}")) for i in (0, 1)]
  for config in configs:
    config.optim.lr = 1e-12
  train.train_runs(configs, [tmp_path / f"on{i}" for i in (0, 1)])
  for i in (0, 1):
    there = restore(sources[i], tmp_path / f"vae{i}")[1]
    here = restore(configs[i], tmp_path / f"on{i}")[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), there.params, here.params)


def test_arrays_that_do_not_match_are_reported_and_not_changed(trained, tmp_path):
  config = small()
  config.model.args.latent_dim = 5
  experiment = build.build(config)
  state = make_init(experiment, 3)()
  started, report = warm_start.from_run(state, trained)
  assert report.splitlines()[0].endswith("5 of 8 arrays match.")
  assert "  new: params/encoder/Dense_1/kernel 32x10 (32x16 there)" in report
  np.testing.assert_array_equal(
    started.params["encoder"]["Dense_1"]["kernel"], state.params["encoder"]["Dense_1"]["kernel"]
  )
  with pytest.raises(errors.UserError, match="holds no checkpoint"):
    warm_start.from_run(state, tmp_path / "nowhere")


def test_a_checkpoint_has_metadata_and_a_later_format_raises(trained, tmp_path):
  shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
  with checkpoint.open_manager(tmp_path, read_only=True) as manager:
    about = manager.metadata(40).custom_metadata
  assert about["format"] == 2
  assert about["config"] == json.loads((tmp_path / "config.json").read_text())
  assert "jax" in about["versions"]
  for file in (tmp_path / "checkpoints").rglob("_CHECKPOINT_METADATA"):
    file.write_text(file.read_text().replace('"format": 2', '"format": 9'))
    manifest.write(file.parent)
  with pytest.raises(errors.UserError, match="has format 9; this version reads up to 2: update dgm_jax"):
    restore(small(), tmp_path)


@pytest.mark.slow  # workdir/legacy_configs_test.py has whole runs of an earlier version
def test_a_run_of_an_earlier_version_is_resumed(tmp_path):
  config = small()
  results = train.train_and_evaluate(config, tmp_path)
  old = json.loads((tmp_path / "config.json").read_text())
  for name in ("keep_best", "early_stopping", "max_minutes", "init_from", "dtype", "remat"):
    del old[name]
  del old["objective"]["chunk"]
  old["optim"] = {name: old["optim"][name] for name in ("name", "lr", "b1", "b2", "eps", "boundaries", "scales")}
  (tmp_path / "config.json").write_text(json.dumps(old))
  assert train.train_and_evaluate(config, tmp_path) == results
  (tmp_path / "results.json").unlink()  # an unfinished run is resumed
  assert train.train_and_evaluate(config, tmp_path) == results
  assert set(restore(config, tmp_path)[1].hparams) == {
    *(f"optim.{name}" for name in ("lr", "b1", "b2", "eps")),
    *(f"objective.{name}" for name, value in config.objective.items() if isinstance(value, float)),
  }
  assert dgm_jax.load(tmp_path).sample(2).shape == (2, 28, 28, 1)


@pytest.mark.parametrize("values,sentence", [
  ({"early_stopping": -1}, "early_stopping = -1"),
  ({"early_stopping": 3}, "early_stopping needs keep_best"),
  ({"max_minutes": 0.0}, "max_minutes = 0.0"),
  ({"keep_best": "valid/log_p"}, "Did you mean 'valid/log_px'"),
  ({"init_from": "nowhere"}, "init_from = 'nowhere' holds no checkpoint"),
])  # fmt: skip
def test_mistakes_get_one_sentence(values, sentence, tmp_path):
  with pytest.raises(errors.UserError, match=sentence):
    train.train_and_evaluate(small(**values), tmp_path / "run")


@pytest.mark.slow
def test_a_run_starts_from_one_that_was_trained_on_other_devices(tmp_path):
  env = {**os.environ, "XLA_FLAGS": tables.xla_flags(2)}
  command = [sys.executable, "-m", "dgm_jax.main", "--config=configs/vae_mnist.py:test", f"--workdir={tmp_path}"]
  done = subprocess.run(command, cwd=tables.ROOT, capture_output=True, text=True, env=env)
  assert done.returncode == 0, done.stderr
  config = small(init_from=str(tmp_path))
  _, report = warm_start.from_run(make_init(build.build(config), 0)(), tmp_path)
  assert "8 of 8 arrays match" in report

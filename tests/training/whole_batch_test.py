"""batch_size = 0: a step takes all training examples, however many there are; log_every = 0: an epoch."""

import json
import shutil

import jax
import numpy as np
import pytest

from dgm_jax.configs import base, mixture_uci
from dgm_jax.core import errors
from dgm_jax.training import build, train
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import legacy_configs

N = 80  # training examples, of 100 rows


@pytest.fixture
def config(tmp_path):
  g = np.random.default_rng(0)
  rows = np.concatenate([g.normal(size=(50, 2)), 3 + g.normal(size=(50, 2))])
  np.savetxt(tmp_path / "t.csv", rows, delimiter=",")

  def make(**values):
    made = mixture_uci.get_config("data=array,c=2")
    with made.unlocked():
      made.data.update(path=str(tmp_path / "t.csv"), data_dir=str(tmp_path / "data"))
      made.update(num_steps=None, num_epochs=6, log_every=0, checkpoint_every=2)
      made.update(values)
    return made

  return make


def test_a_step_is_an_epoch_and_intervals_are_multiples_of_it(config):
  whole = build.build(config())
  assert (whole.batch_size, whole.steps_per_epoch, whole.num_steps, whole.log_every) == (N, 1, 6, 1)
  parts = build.build(config(batch_size=30, checkpoint_every=4))
  assert (parts.batch_size, parts.steps_per_epoch, parts.num_steps, parts.log_every) == (30, 2, 12, 2)
  with pytest.raises(errors.UserError, match="checkpoint_every = 3; it must be 0 or a multiple of log_every = 2"):
    build.build(config(batch_size=30, checkpoint_every=3))
  with pytest.raises(errors.UserError, match="between 1 and the 80 training examples of 'array', or 0 for all"):
    build.build(config(batch_size=81))


def test_em_on_data_of_unknown_size_takes_whole_batches():
  data = mixture_uci.get_config("data=array").data
  made = base.by_em(data, 0, passes=50, test=False)
  assert (made.batch_size, made.num_epochs, made.log_every) == (0, 50, 0)
  made = base.by_em(data, 0, passes=50, test=False, online=True)
  assert (made.batch_size, made.log_every, made.checkpoint_every) == (500, 0, 0)


@pytest.mark.slow
def test_a_run_with_0_equals_a_run_with_the_number_and_is_resumed(config, tmp_path):
  results = train.train_and_evaluate(config(), tmp_path / "a")
  train.train_and_evaluate(config(batch_size=N, log_every=1), tmp_path / "b")
  _, a = restore(config(), tmp_path / "a")
  _, b = restore(config(batch_size=N, log_every=1), tmp_path / "b")
  jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
  assert json.loads((tmp_path / "a" / "config.json").read_text())["batch_size"] == 0
  shutil.rmtree(tmp_path / "a" / "checkpoints" / "6")
  (tmp_path / "a" / "results.json").unlink()
  again = train.train_and_evaluate(config(), tmp_path / "a")
  assert again["test/log_px"] == results["test/log_px"]


def test_the_options_of_a_table_are_filled_in_for_earlier_runs():
  made = mixture_uci.get_config("data=array").to_dict()
  old = json.loads(json.dumps(made))
  for name in ("target", "columns", "missing", "separator", "decimal", "header"):
    del old["data"][name]
  old["data"]["label"] = None
  assert legacy_configs.upgraded(old)["data"] == json.loads(json.dumps(made))["data"]

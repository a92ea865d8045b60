"""Folds as lanes: each equals the lone run of its fold, with its own rows, statistics and held-out set."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.configs import made_uci
from dgm_jax.core import errors
from dgm_jax.sweeps.definition import Run
from dgm_jax.sweeps.planning import compiled, grouping
from dgm_jax.training import build, folds, train
from dgm_jax.training.workdir import metrics

DATA = """
import numpy as np
from dgm_jax.data.splits import in_folds

def load(folds: int = 0, fold: int = 0, valid_fraction: float = 0.1):
  g = np.random.default_rng(0)
  z = g.normal(size=(123, 1))
  x = (5 * z + 7 + g.normal(size=(123, 3)) * [1, 2, 3]).astype(np.float32)
  return in_folds({"x": x}, folds, fold, valid_fraction, 0)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  path = tmp_path_factory.mktemp("own") / "mine.py"
  path.write_text(DATA)
  return path


def config(place, fold, seed=0, **given):
  found = made_uci.get_config("hidden=8,components=2")
  with found.unlocked():
    found.data = build.data_section(str(place), ("standardize",))
    found.data.update(folds=5, fold=fold)
    found.update(batch_size=20, num_steps=20, log_every=10, eval_every=10, figures_every=20, checkpoint_every=20)
    found.seed = seed
    found.update_from_flattened_dict(given)
  return found


@pytest.mark.parametrize("valid_fraction", [0.1, pytest.param(0.0, marks=pytest.mark.slow)])
def test_a_fold_equals_the_lone_run_of_its_config(place, tmp_path, valid_fraction):
  """Without a validation set the test sets are held out, of 25 and 24 rows."""
  split = "valid" if valid_fraction else "test"
  more = {"data.valid_fraction": valid_fraction, "keep_best": f"{split}/log_px"}
  configs = [config(place, fold, seed=fold, **more) for fold in (0, 4)]
  results = train.train_runs(configs, [tmp_path / str(i) for i in range(2)])
  alone = train.train_and_evaluate(configs[1], tmp_path / "alone")
  for name in ("test/nll", "test/log_px_transformed"):
    assert results[1][name] == pytest.approx(alone[name], rel=1e-3)
  assert {name: results[1][name] for name in ("data_digest", "split_sizes")} == {
    name: alone[name] for name in ("data_digest", "split_sizes")
  }
  assert results[0]["data_digest"] != results[1]["data_digest"]
  assert [r["split_sizes"]["test"] for r in results] == [25, 24]
  assert abs(results[0]["test/nll"] - results[1]["test/nll"]) > 1e-3
  rows = [{r["step"]: r.get(f"{split}/log_px") for r in metrics.read(tmp_path / name)} for name in ("1", "alone")]
  for step in (0, 10, 20):
    assert rows[0][step] == pytest.approx(rows[1][step], rel=1e-3)
  (start,) = json.loads((tmp_path / "0" / "run.json").read_text())
  assert start["lanes"] == 2


def _group(configs):
  return grouping.group([Run(str(i), {}, c.to_dict(), ()) for i, c in enumerate(configs)])


def test_folds_seeds_and_rates_are_lanes_of_one_program(place):
  configs = [config(place, fold, seed, **{"optim.lr": lr}) for fold in (0, 3) for seed, lr in ((0, 1e-3), (1, 1e-2))]
  [group] = _group(configs)
  assert len(group.runs) == 4
  assert folds.KEY in group.inputs
  found, program = compiled.compile_group(group, 2)
  assert found.num_bytes > 0
  assert compiled.time_step(group, program, 2) > 0


@pytest.mark.parametrize("given", [
  {"data.transforms": ("standardize", "mcar:0.3,training"), "model.name": "orderless"},  # not of statistics alone
  {"data.source": "streaming"},
])  # fmt: skip
def test_folds_that_cannot_be_inputs_have_programs_of_their_own(place, given):
  configs = []
  for fold in (0, 3):
    made = config(place, fold)
    with made.unlocked():
      if "model.name" in given:
        args = {"hidden": (8,), "likelihood": "gaussian_mixture", "likelihood_args": {"num_components": 2}}
        made.model = ConfigDict({"name": "orderless", "args": args})
        made.evaluate, made.keep_best = {"means": {"batch_size": 50}}, ""
      made.update_from_flattened_dict(given)
    configs.append(made)
  assert len(_group(configs)) == 2


def test_a_constant_of_the_data_in_the_program_separates_folds(place, monkeypatch):
  """A model that uses the mean of its own training set in log p(x)."""
  from dgm_jax.models.autoregressive import made

  monkeypatch.setattr(made.Model, "log_prob", lambda self, batch: batch["x"].sum(1) * self.data_mean[0] * 1e9)
  assert len(_group([config(place, 0), config(place, 3)])) == 2


def test_sets_of_other_sizes_are_refused(place):
  configs = [config(place, 0), config(place, 1, **{"data.valid_fraction": 0.2})]
  with pytest.raises(errors.UserError, match="training sets of the folds have different shapes"):
    folds.Folds([build.build(c) for c in configs], configs, "valid")


def test_transforms_by_statistics_are_the_folds_own(place):
  experiments = [build.build(config(place, fold)) for fold in (0, 2)]
  statistics = folds.Statistics(("standardize",), experiments[0])
  batch = {"x": experiments[1].splits.test["x"], "index": np.arange(25)}
  ours = jax.jit(lambda arrays: statistics.pipeline(arrays).evaluate(jax.random.key(0), batch))
  expected = experiments[1].transforms.evaluate(jax.random.key(0), batch)
  found = ours(statistics.of(experiments[1]))
  np.testing.assert_allclose(found["x"], expected["x"], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found["log_det"], expected["log_det"], rtol=1e-6)

"""Uria et al. (2014): the closed-form normal, folds as lanes, choices in validation, ensembles of orders, by hand."""

import numpy as np
import pytest
import scipy.stats

from dgm_jax import data
from dgm_jax.api import loading
from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.uria2014 import orders, paper, wine
from dgm_jax.experiments.shared import data_lanes, exact_tables
from dgm_jax.training import train
from helpers import measured_runs

SETTING = wine._SETTINGS["test"][-1]
FOLD = np.array([0, 0, 1, 1, 1])


@pytest.fixture(scope="module")
def wines(raw_data, tmp_path_factory):
  """Prepares the wines in a folder of their own."""
  folder = tmp_path_factory.mktemp("data")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("TFDS_DATA_DIR", str(folder))
    for name in ("red", "white"):
      data.load(f"uci/{name}", manual_dir=str(raw_data))
    yield


def test_the_normal_is_fitted_to_the_training_rows_of_each_fold(wines):
  found = wine.normal(SETTING, "red")
  assert found["fold"].tolist() == [0] * 160 + [1] * 160
  splits = data.load("uci/red", folds=10, fold=1)
  loc, scale = splits.train["x"].mean(0, dtype=np.float64), splits.train["x"].std(0, dtype=np.float64)
  whole = scipy.stats.multivariate_normal(loc, np.cov(splits.train["x"].T.astype(np.float64), bias=True))
  np.testing.assert_allclose(found["log_px"][160:], whole.logpdf(splits.test["x"]) + np.log(scale).sum(), rtol=1e-6)


@pytest.mark.slow
def test_the_protocol_rows_are_the_published_ones(wines):
  setting = SETTING._replace(folds=10)
  for name, published in (("red", 13.18), ("white", 13.20)):
    found = wine.normal(setting, name)
    by_fold = [-found["log_px"][found["fold"] == i].mean() for i in range(10)]
    assert np.mean(by_fold) == pytest.approx(found["divisions"][0])
    assert found["divisions"].mean() == pytest.approx(published, abs=0.02)
    assert found["divisions"].std() < 0.02


@pytest.mark.slow
def test_a_fold_is_the_run_of_its_config(wines, tmp_path):
  """Lane 1 with the best parameters in validation, and the loop's best checkpoint."""
  configs = wine.made_configs(SETTING, "red", "made", 0.3)
  for config in configs:
    with config.unlocked():
      config.num_steps, config.eval_every, config.figures_every, config.checkpoint_every = 150, 50, 150, 150
  found = data_lanes.log_likelihoods(configs, eval_every=50)
  train.train_and_evaluate(configs[1], tmp_path / "run")
  run = loading.of_run(tmp_path / "run", "best")
  values = exact_tables.of_state(run.experiment, run.state, {})
  np.testing.assert_allclose(found["log_px"][found["fold"] == 1], values["log_px_transformed"], rtol=1e-2, atol=1e-2)
  valid = found["valid_log_px"][found["valid_fold"] == 1].mean()
  assert valid == pytest.approx(float(values["valid"]), abs=1e-2)


def _write(folder, name, log_px, **more):
  setting = more.pop("setting", "a")
  arrays = {"log_px": np.asarray(log_px), "fold": FOLD, "setting": np.array(setting), **more}
  files.save_arrays(folder / "runs" / "computed" / f"{name}.npz", **arrays)


def test_numbers_of_folds_by_hand(tmp_path):
  _write(tmp_path, "red-gaussian", [-13, -14, -12, -13, -14], setting="", divisions=np.array([13.25, 13.29]))
  _write(tmp_path, "red-mfa", [-10, -11, -10, -11, -12], settings=np.array(["a", "b"]), valid=np.array([-10.0, -11.0]))
  _write(tmp_path, "red-made", [-9, -10, -9, -10.5, -11])
  found = paper.report("table=wine", "test", tmp_path)
  cells, pairs = found["numbers"]["cells"], found["numbers"]["pairs"]
  assert cells["red-mfa"]["nll"] == pytest.approx((10.5 + 11) / 2)  # the mean over folds
  assert cells["red-mfa"]["stderr_seeds"] == pytest.approx(0.25)
  assert cells["red-mfa"]["valid_nll"] == {"a": 10.0, "b": 11.0}
  pair = pairs["red: mixture MADE, one layer − mixture of factor analysers"]
  assert pair["by_seed"] == pytest.approx([-1.0, -2.5 / 3])
  assert pair["stderr_images"] == pytest.approx(np.std([1, 1, 1, 0.5, 1], ddof=1) / 5**0.5)
  texts = [[c["text"] for c in row] for row in found["tables"][0]["rows"]]
  assert texts[0] == ["a normal, closed form", "13.18 (Gaussian)", "13.270 ± 0.250", "", "", "+0.09 ± 0.25"]
  assert texts[2][3:] == ["", "a", "+0.47 ± 0.33 (not comparable)"]
  assert "RNADE, fixed order 9.36" in paper.summary(found["numbers"])["published"]


def test_the_setting_that_is_best_in_validation_is_taken():
  arrays = lambda nll, valid: {"log_px": np.full(5, -nll), "fold": FOLD, "valid_log_px": np.full(4, -valid)}
  found = wine._best({"a": lambda: arrays(9.0, 11.0), "b": lambda: arrays(10.0, 10.5)})
  assert (str(found["setting"]), found["log_px"][0]) == ("b", -10.0)
  assert dict(zip(found["settings"].tolist(), found["valid"].tolist(), strict=True)) == {"a": -11.0, "b": -10.5}


def test_ensembles_average_probabilities():
  log_px = np.log(np.array([[0.1, 0.3, 0.2, 0.2], [0.5, 0.5, 0.1, 0.9]]))
  found = orders.ensembles(log_px)
  np.testing.assert_allclose(found[2], -np.log([0.2, 0.5]))
  np.testing.assert_allclose(found[4], -np.log([0.2, 0.5]))
  np.testing.assert_allclose(found[1], -log_px.mean(1))
  assert list(found) == [1, 2, 4]


def test_orders_are_reported_by_net(tmp_path):
  for _, _, run in measured_runs.of(paper, "table=mnist"):
    measured_runs.measure(tmp_path, run, log_px=np.array([[-90.0, -92.0], [-94.0, -96.0]]))
  found = paper.report("table=mnist", "test", tmp_path)
  assert found["numbers"]["cells"]["1layer, 1"]["nll"] == 93.0
  pair = 93 - np.log(np.cosh(1))
  assert found["numbers"]["cells"]["1layer, 2"]["nll"] == pytest.approx(pair)
  texts = [[c["text"] for c in row][:3] for row in found["tables"][0]["rows"]]
  assert texts[0] == ["1 layer, single orders", "92.17", "93.00"]


@pytest.mark.slow
@pytest.mark.parametrize("item", ["table=wine", "table=mnist"])
def test_the_test_budget_trains_and_is_reported(wines, tmp_path, item):
  assert reproduce.main(["uria2014", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]) == 0
  found = files.read_json(papers.folder(tmp_path, "uria2014", item, "test") / "report.json")
  assert found["finished"] == found["of"]

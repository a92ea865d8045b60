"""Lakshminarayanan et al. (2017): scores of synthetic predictions by hand, uncertainty bands, published rows."""

import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.lakshminarayanan2017 import figure1, paper, table1
from dgm_jax.experiments.shared import data_lanes
from dgm_jax.training import train
from helpers import measured_runs

Y = np.array([[1.0], [-2.0], [0.5]])
# for each method the means of its nets, one net per row, and their variance, on the test rows with y = Y
NETS = {"net": (np.array([[1.2, -1.0, 0.0], [0.6, -2.2, 1.4]]), 0.25), "dropout": (np.array([[1.1, -1.5, 0.2]]), 1.0)}
SHIFTS = (0.0, 0.3)  # of the means, for each split


def make(folder, methods=("net", "dropout")):
  """Writes the predictions of some methods on two splits."""
  for method in methods:
    means, variance = NETS[method]
    mean = np.stack([means + shift for shift in SHIFTS])[..., None]  # [S, M, N, 1]
    log_py = scipy.stats.norm.logpdf(Y, mean, np.sqrt(variance))[..., 0]
    arrays = {"mean": mean, "variance": np.full_like(mean, variance), "log_py": log_py, "y": np.stack([Y, Y])}
    files.save_arrays(folder / "runs" / "computed" / f"{method}-concrete.npz", **arrays)


def test_rmse_and_nll_by_hand(tmp_path):
  make(tmp_path)
  found = paper.report("table=1", "test", tmp_path)
  n = found["numbers"]["tables"]["concrete"]
  assert set(n) == {"net", "ensemble", "normal", "dropout"}
  means, variance = NETS["net"]
  rmse, nll, mixed, normal = [], [], [], []
  for shift in SHIFTS:
    m = (means + shift)[..., None]  # [M, N, 1]
    density = scipy.stats.norm.pdf(Y, m, variance**0.5)
    nll.append(-np.log(density).mean())
    mixed.append(-np.log(density.mean(0)).mean())
    spread = np.sqrt(variance + m.var(0))
    normal.append(-scipy.stats.norm.logpdf(Y, m.mean(0), spread).mean())
    rmse.append(np.sqrt(np.square(m.mean(0) - Y).mean()))
  stderr = abs(rmse[0] - rmse[1]) / 2
  assert (n["ensemble"]["rmse"], n["ensemble"]["rmse_stderr"]) == pytest.approx((np.mean(rmse), stderr))
  for method, expected in (("net", nll), ("ensemble", mixed), ("normal", normal)):
    assert n[method]["nll_by_split"] == pytest.approx(expected, rel=1e-5)
  pair = found["numbers"]["pairs"]["concrete: ensemble, mixture − one net"]
  assert pair["by_seed"] == pytest.approx(np.subtract(mixed, nll), rel=1e-4)
  assert pair["difference"] == pytest.approx(np.mean(mixed) - np.mean(nll), rel=1e-4)
  (table, _) = found["tables"]
  texts = {row[0]["text"]: [c["text"] for c in row[1:]] for row in table["rows"]}
  assert texts["PBP, published"] == ["5.667 ± 0.093 s.e.", "", "3.161 ± 0.019 s.e.", ""]
  assert texts["ensemble, mixture"][0] == "6.03"
  assert texts["MC dropout"][2] == "3.04 ± 0.09 s.d."
  assert texts["Bayes by backprop"][1] == "not finished"
  row = paper.summary(found["numbers"])
  assert "concrete: PBP 5.667/3.161, MC dropout 5.23/3.04, ensemble 6.03/3.06" in row["published"]


@pytest.mark.slow
def test_every_lane_equals_a_single_run_of_its_config(tmp_path):
  """The second member of the second split against the training loop; epochs drop some of the split's 30 points."""
  pieces = paper._pieces(("concrete",), 2, 2, True)
  configs, _ = pieces["dropout-concrete"]()
  for config in configs:
    config.data.train_size, config.data.test_size, config.num_steps = 30, 25, 12
  found = data_lanes.predictions(configs, [[0, 1], [2, 3]])
  assert found["log_py"].shape == (2, 2, 25)
  for name in ("log_every", "eval_every", "checkpoint_every", "figures_every"):
    configs[1][name] = 12
  configs[1].seed = 3
  results = train.train_and_evaluate(configs[1], tmp_path / "run")
  alone = {k.removeprefix("test/predictive/"): a for k, a in files.load_arrays(tmp_path / "run" / "values.npz").items()}
  np.testing.assert_allclose(found["mean"][1, 1], alone["mean"], rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(found["log_py"][1, 1], alone["test/log_py"], rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(found["y"][1], alone["y"], rtol=1e-5, atol=1e-4)
  assert results["test/nll"] == pytest.approx(-found["log_py"][1, 1].mean(), rel=1e-4)
  assert abs(found["mean"][1, 1] - found["mean"][1, 0]).max() > 0.1


def test_every_split_and_member_has_its_own_seed():
  pieces = paper._pieces(("wine", "protein"), 20, 5, False)
  configs, seeds = pieces["net-wine"]()
  assert [c.data.split_seed for c in configs] == list(range(20))
  assert np.ravel(seeds).tolist() == list(range(100))
  assert (configs[0].data.name, configs[0].num_epochs, configs[0].batch_size) == ("uci/wine", 40, 32)
  dropped, [first, *_] = pieces["dropout-protein"]()
  assert (len(dropped), first, dropped[0].model.args.dropout, dropped[0].model.args.hidden) == (5, [0], 0.05, (100,))


def test_published_values_match_the_table():
  values = table1.values()
  assert values["wine RMSE, MC dropout"] == papers.Value(0.62, "± 0.04 s.d.", stderr=pytest.approx(0.04 / 20**0.5))
  assert values["naval NLL, PBP"].value == -3.731
  assert values["kin8nm NLL, ensemble"] == papers.Value(-1.2)
  assert "boston NLL, BP" not in values
  assert len(values) == 9 * 9


def test_bands_by_hand(tmp_path):
  means = {"mse": (0.0, 4.0), "net": (-3.0, 3.0), "dropout": (0.0,), "bayes": (0.0,)}
  for cell, seed, run in measured_runs.of(paper, "figure=1"):
    mean = figure1.GRID**3 + means[cell][seed]
    arrays = {"mean": mean, "variance": np.full_like(mean, 16.0), "train_x": np.zeros(2), "train_y": np.zeros(2)}
    measured_runs.measure(tmp_path, run, **arrays)
  found = paper.report("figure=1", "test", tmp_path)
  bands = found["numbers"]["bands"]
  assert bands["mse"]["sd_inside"] == pytest.approx(2.0)
  assert bands["one"]["sd_outside"] == pytest.approx(4.0)
  assert bands["net"]["sd_outside"] == pytest.approx(5.0)  # 16 + 3^2
  assert bands["mse"]["rmse_inside"] == pytest.approx(2.0)
  assert bands["one"]["covered_inside"] == 1.0
  assert "has a wider band" in found["sentences"][0]
  assert (tmp_path / "bands.png").stat().st_size > 5000
  assert "ensemble, NLL 5.0, 5.0 (100%)" in paper.summary(found["numbers"])["ours"]


@pytest.mark.slow
@pytest.mark.parametrize("item", ["table=1", "figure=1"])
def test_the_test_budget_trains_and_is_reported(tmp_path, item):
  assert reproduce.main(["lakshminarayanan2017", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]) == 0
  folder = papers.folder(tmp_path, "lakshminarayanan2017", item, "test")
  found = files.read_json(folder / "report.json")
  assert found["finished"] == found["of"]
  if item == "table=1":
    n = found["numbers"]["tables"]["concrete"]
    assert n["ensemble"]["nll"] < n["net"]["nll"]
    assert n["ensemble"]["splits"] == 2
  else:
    assert set(found["numbers"]["bands"]) == {"mse", "one", "net", "dropout", "bayes"}

"""Lakshminarayanan et al. (2017): scores of made runs by hand, bands, and what the published rows say."""

import measured_runs
import numpy as np
import pytest
import scipy.stats

from dgm_jax import figures
from dgm_jax import workdir as wd
from dgm_jax.sweeps import states
from experiments import lakshminarayanan2017, papers, reproduce, stages, uci_tables
from experiments import lakshminarayanan2017_figure1 as figure1

RUNS = lakshminarayanan2017.RUNS
Y = np.array([[1.0], [-2.0], [0.5]])
# of each method the means and the variance of its nets, one net a row; test rows are of y above
NETS = {"net": (np.array([[1.2, -1.0, 0.0], [0.6, -2.2, 1.4]]), 0.25), "dropout": (np.array([[1.1, -1.5, 0.2]]), 1.0)}


def finish(folder, name, mean, variance, split):
  """A finished run with a prediction N(mean, variance)."""
  path = states.folder(folder, name)
  path.mkdir(parents=True)
  about = {"data": "toy", "data_digest": f"d{split}", "transforms": [], "split_sizes": {"test": 3}, "seed": 0}
  wd.write_json(path / "results.json", about)
  mean = mean[:, None]
  log_py = scipy.stats.norm.logpdf(Y, mean, np.sqrt(variance))[:, 0]
  kept = {"y": Y, "mean": mean, "variance": np.full_like(mean, variance)}
  figures.save_arrays(
    path / "values.npz", **{f"test/predictive/{k}": v for k, v in kept.items()}, **{"test/log_py": log_py}
  )


def make(folder, methods=("net", "dropout"), shift=(0.0, 0.3)):
  """The runs of some methods; the means of split 1 are shifted."""
  budget = RUNS["table=1"]["test"]
  for cell, names in stages.run_names(budget).items():
    method = cell.partition("-")[0]
    for name, run in zip(names, budget.cells[cell], strict=True):
      if method in methods:
        means, variance = NETS[method]
        split, member = run["arg.split"], run["seed"] % len(means)
        finish(folder, name, means[member] + shift[split], variance, split)


def test_rmse_and_nll_by_hand(tmp_path):
  make(tmp_path)
  found = lakshminarayanan2017.report("table=1", "test", tmp_path)
  n = found["numbers"]["tables"]["concrete"]
  assert set(n) == {"net", "ensemble", "normal", "dropout"}
  means, variance = NETS["net"]
  rmse, nll, mixed, normal = [], [], [], []
  for shift in (0.0, 0.3):
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
  row = lakshminarayanan2017.summary(found["numbers"])
  assert "concrete: PBP 5.667/3.161, MC dropout 5.23/3.04, ensemble 6.03/3.06" in row["published"]


def test_a_split_counts_when_all_its_members_are_there(tmp_path):
  make(tmp_path, methods=("net",))
  names = stages.run_names(RUNS["table=1"]["test"])["net-concrete"]
  (states.folder(tmp_path, names[-1]) / "results.json").unlink()
  found = lakshminarayanan2017.report("table=1", "test", tmp_path)["numbers"]["tables"]["concrete"]
  assert found["ensemble"]["splits"] == 1


def test_every_run_has_its_split_and_seed_and_the_members_of_a_split_are_lanes():
  runs, _ = reproduce.plan(RUNS["table=1"]["quick"], {}, "net-wine")
  own = [r for r in runs if r.config["data"]["name"] == "uci/wine" and r.config["model"]["args"]["dropout"] == 0][:100]
  assert [r.config["data"]["split_seed"] for r in own] == [i // 5 for i in range(100)]
  assert [r.config["seed"] for r in own] == list(range(100))
  different = {k for k in own[0].config if own[0].config[k] != own[4].config[k]}
  assert different == {"seed"}


def test_published_values_are_those_of_the_table():
  values = uci_tables.values()
  assert values["wine RMSE, MC dropout"] == papers.Value(0.62, "± 0.04 s.d.")
  assert values["naval NLL, PBP"].value == -3.731
  assert values["kin8nm NLL, ensemble"] == papers.Value(-1.2)
  assert "boston NLL, BP" not in values
  assert len(values) == 9 * 9


def test_bands_by_hand(tmp_path):
  means = {"mse": (0.0, 4.0), "net": (-3.0, 3.0), "dropout": (0.0,), "bayes": (0.0,)}
  for cell, seed, run in measured_runs.of(lakshminarayanan2017, "figure=1"):
    mean = figure1.GRID**3 + means[cell][seed]
    arrays = {"mean": mean, "variance": np.full_like(mean, 16.0), "train_x": np.zeros(2), "train_y": np.zeros(2)}
    measured_runs.measure(tmp_path, run, **arrays)
  found = lakshminarayanan2017.report("figure=1", "test", tmp_path)
  bands = found["numbers"]["bands"]
  assert bands["mse"]["sd_inside"] == pytest.approx(2.0)
  assert bands["one"]["sd_outside"] == pytest.approx(4.0)
  assert bands["net"]["sd_outside"] == pytest.approx(5.0)  # 16 + 3^2
  assert bands["mse"]["rmse_inside"] == pytest.approx(2.0)
  assert bands["one"]["covered_inside"] == 1.0
  assert "has a wider band" in found["sentences"][0]
  assert (tmp_path / "bands.png").stat().st_size > 5000
  assert "ensemble, NLL 5.0, 5.0 (100%)" in lakshminarayanan2017.summary(found["numbers"])["ours"]


@pytest.mark.slow
@pytest.mark.parametrize("item", ["table=1", "figure=1"])
def test_the_budget_for_tests_trains_and_is_reported(tmp_path, item):
  assert reproduce.main(["lakshminarayanan2017", f"--{item}", "--budget=test", f"--root={tmp_path}", "--jobs=1"]) == 0
  folder = papers.folder(tmp_path, "lakshminarayanan2017", item, "test")
  found = wd.read_json(folder / "report.json")
  assert found["finished"] == found["of"]
  if item == "table=1":
    n = found["numbers"]["tables"]["concrete"]
    assert n["ensemble"]["nll"] < n["net"]["nll"]
    assert n["ensemble"]["splits"] == 2
  else:
    assert set(found["numbers"]["bands"]) == {"mse", "one", "net", "dropout", "bayes"}

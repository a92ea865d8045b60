"""The tables of scVI: means over seeds, differences by cell, baselines, and what the budgets train."""

import json

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.evaluate.cells import count_imputation
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import measured, paper
from dgm_jax.experiments.papers.lopez2018 import measures
from dgm_jax.experiments.papers.lopez2018 import paper as lopez2018
from helpers import made_runs

_LOG_PX = {"zinb": -120.0, "nb": -125.0, "zinb-iwae": -119.0}


@pytest.fixture
def found(tmp_path):
  noise = np.array([0.1, -0.1, 0.2, -0.2])
  log_px = {c: [(v + s + noise * (1 + len(c))).tolist() for s in range(2)] for c, v in _LOG_PX.items()}
  folder = made_runs.make(tmp_path, "lopez2018", "table=1", log_px)
  for path in folder.glob("runs/*/results.json"):
    results, config = files.read_json(path), files.read_json(path.with_name("config.json"))
    results |= {"test/log_px": -results["test/nll"], "test/cells_ari": 0.4 + 0.02 * config["seed"]}
    path.write_text(json.dumps(results))
  return lopez2018.report("table=1", "test", folder)


def test_numbers_and_rows_by_hand(found):
  cells = found["numbers"]["cells"]
  assert cells["zinb"]["log_px"]["mean"] == pytest.approx(-119.5)
  assert cells["zinb"]["cells_ari"]["mean"] == pytest.approx(0.41)
  pair = found["numbers"]["pairs"]["negative binomial − ZINB"]
  assert pair["difference"] == pytest.approx(5.0)  # of the NLL
  main = found["tables"][0]
  assert [len(row) for row in main["rows"]] == [len(main["columns"])] * 3
  assert "ARI 0.410 ± 0.010" in lopez2018.summary(found["numbers"])["ours"]


def test_the_short_budget_is_of_starmap_given_the_library():
  runs, _ = reproduce.plan(paper.budget(lopez2018, "table=1", "short"), {}, "")
  assert {run.config["data"]["name"] for run in runs} == {"scrna/starmap"}
  assert {run.config["model"]["args"]["library"] for run in runs} == {"observed"}
  assert len(runs) == 9 and {run.config["objective"]["num_samples"] for run in runs} == {1, 5}


def _texts(table):
  return {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in table["rows"]}


def _made(tmp_path, item, **values):
  """(folder, names of the runs) of finished runs, with further results (value + seed) of each."""
  budget = lopez2018.RUNS[item]["test"]
  log_px = {cell: [[-120.0 - s, -121.0 - s] for s in range(2)] for cell in budget.cells}
  folder = made_runs.make(tmp_path, "lopez2018", item, log_px)
  for path in folder.glob("runs/*/results.json"):
    seed = files.read_json(path.with_name("config.json"))["seed"]
    path.write_text(json.dumps(files.read_json(path) | {f"test/{n}": v + seed for n, v in values.items()}))
  names, _ = reproduce.plan(budget, {}, "", folder)
  return folder, {run.overrides["seed"]: run.name for run in names if len(run.overrides) == 1}


def test_likelihoods_stand_beside_the_published_bound(tmp_path):
  folder, _ = _made(tmp_path, "table=likelihood", likelihood_ess=7.0)
  found = lopez2018.report("table=likelihood", "test", folder)
  rows = _texts(found["tables"][0])
  assert rows["ZINB"] == ["1196.37 (CORTEX)", "121.00 ± 0.50", "122.00 ± 0.50", "7.5 ± 0.5"]
  assert rows["ZIFA"] == ["1311.61 (CORTEX)", "", "", ""]
  assert found["numbers"]["pairs"]["negative binomial − ZINB"]["difference"] == pytest.approx(0)
  assert "ZINB 122.00" in lopez2018.summary(found["numbers"])["ours"]


def test_imputations_stand_beside_the_frequencies_of_genes(tmp_path):
  folder, names = _made(tmp_path, "table=imputation")
  for seed, name in names.items():
    measured.file(folder, name).parent.mkdir(exist_ok=True)
    values = {k: 1.0 + i + seed for i, k in enumerate(count_imputation.KINDS)}
    files.save_arrays(measured.file(folder, name), **values, **{f"{k}_frequencies": 9.0 for k in values})
  found = lopez2018.report("table=imputation", "test", folder)
  rows = _texts(found["tables"][0])
  assert rows["ZINB"] == ["2.325 (CORTEX)", "1.500 ± 0.500", "2.500 ± 0.500", "3.500 ± 0.500"]
  assert rows["total of the cell x frequency of the gene"] == ["", *["9.000 ± 0.000"] * 3]
  assert "frequencies of genes 9.000" in lopez2018.summary(found["numbers"])["ours"]


def test_clusters_stand_beside_linear_factors(tmp_path):
  folder, names = _made(tmp_path, "table=clusters", cells_ari=0.5, batch_entropy=0.6, batch_entropy_most=0.0)
  measured.file(folder, names[0]).parent.mkdir()
  files.save_arrays(measured.file(folder, names[0]), **{"fa cells_ari": 0.4, "pca cells_ari": 0.3})
  found = lopez2018.report("table=clusters", "test", folder)
  rows = _texts(found["tables"][0])
  assert rows["ZINB"][4:8] == ["0.744 (CORTEX)", "1.000 ± 0.500", "0.627 (PBMC)", "1.100 ± 0.500"]
  assert rows["factor analysis"][4:6] == ["0.502 (CORTEX)", "0.400"] and rows["PCA"][5] == "0.300"
  assert "factor analysis 0.400" in lopez2018.summary(found["numbers"])["ours"]


def test_frequencies_find_counts_that_are_proportional_and_their_error_is_that_by_hand():
  rng = np.random.default_rng(0)
  x = np.outer([10, 20, 40], [1, 2, 3, 4])
  np.testing.assert_allclose(measures.expected_counts(x, x), x)
  train, test = rng.poisson(3.0, (50, 8)), rng.poisson(3.0, (30, 8))
  for kind in count_imputation.KINDS:
    changed, entries = count_imputation.corrupted(test, kind, 0)
    by_hand = [
      abs(changed[i].sum() * train[:, j].sum() / train.sum() - test[i, j]) for i, j in zip(*entries, strict=True)
    ]
    assert measures.frequency_error(train, test, kind) == pytest.approx(np.median(by_hand))


def test_linear_factors_span_the_largest_directions_of_log_counts():
  x = np.random.default_rng(0).poisson(5.0, (40, 12))
  centred = np.log1p(x) - np.log1p(x).mean(0)
  u, s, _ = np.linalg.svd(centred, full_matrices=False)
  z = measures.linear_factors(x, "pca")
  np.testing.assert_allclose(np.abs(z), np.abs(u * s)[:, : measures.FACTORS], atol=1e-8)
  assert measures.linear_factors(x, "fa").shape == (40, measures.FACTORS)

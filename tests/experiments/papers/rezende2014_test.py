"""Rezende et al.'s table, imputation and embedding: reports of synthetic runs, by hand."""

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper
from dgm_jax.experiments.papers.rezende2014 import figure5
from dgm_jax.experiments.papers.rezende2014 import paper as rezende2014
from dgm_jax.sweeps import axes

LOG_PX = {
  "diagonal": ([-5.0, -6.0, -7.0, -8.0], [-6.0, -6.0, -8.0, -8.0]),
  "low_rank": ([-4.0, -5.0, -6.0, -6.5], [-5.0, -5.0, -6.5, -7.0]),
}


def make_run(folder, name, log_px, seed=0):
  path = folder / "runs" / name
  path.mkdir(parents=True)
  log_px = np.array(log_px)
  np.savez(path / "values.npz", **{"test/log_px": log_px})
  about = {"data": "mnist5k", "transforms": ["binarize:static"], "split_sizes": {"test": 4}, "data_digest": "d"}
  results = {"test/nll": -log_px.mean(), "test/elbo": log_px.mean() - 1, "test/active_units": 7, "seed": seed}
  files.write_json(path / "results.json", about | results)


def test_the_table_by_hand(tmp_path):
  for cell, runs in rezende2014.RUNS["table=1"]["test"].cells.items():
    for seed, overrides in enumerate(runs):
      make_run(tmp_path, axes.run_name(overrides), LOG_PX[cell][seed], seed)
  found = rezende2014.report("table=1", "test", tmp_path)
  cell = found["numbers"]["cells"]["diagonal"]
  assert (cell["nll"], cell["stderr_seeds"]) == (pytest.approx(6.75), pytest.approx(0.25))
  assert cell["stderr_images"] == pytest.approx(np.sqrt(4.25 / 3 / 4))
  assert cell["elbo"] == pytest.approx(-7.75)
  pair = found["numbers"]["pair"]
  assert pair["difference"] == pytest.approx(-1.125)
  assert pair["verdict"] == "lower"
  assert found["sentences"] == ["Rank 1 has the lower NLL: shown (paired by image −1.12 ± 0.07)."]
  texts = [cell["text"] for cell in found["tables"][0]["rows"][0]]
  assert texts[1] == "87.30 (unverified)"
  assert texts[-1] == "−80.55 ± 0.25 (not comparable)"
  assert "rank 1 − diagonal −1.12 ± 0.07 (lower)" in rezende2014.summary(found["numbers"])["ours"]


def test_imputation_errors_by_hand(tmp_path):
  ((overrides,),) = rezende2014.RUNS["figure=5"]["test"].cells.values()
  make_run(tmp_path, axes.run_name(overrides), [-1.0, -2.0])
  chain = np.array([[0.3, 0.4, 0.5], [0.2, 0.2, 0.2], [0.1, 0.2, 0.2]])
  arrays = {"chain": chain, "importance": np.array([0.1, 0.1, 0.4]), "mean": np.full(3, 0.5)}
  files.save_arrays(tmp_path / "measured" / "missing_0.6.npz", **arrays)
  found = rezende2014.report("figure=5", "test", tmp_path)
  n = found["numbers"]["cells"]["60%"]
  assert (n["first"], n["last"], n["importance"]) == (pytest.approx(0.4), pytest.approx(0.5 / 3), pytest.approx(0.2))
  assert n["first_stderr"] == pytest.approx(0.1 / np.sqrt(3))
  assert n["fall"] == pytest.approx(-0.7 / 3)
  assert n["verdict"] == "lower"
  assert found["sentences"] == [
    "The chain's error falls from the first to step 3, 60% missing: shown (−0.2333 ± 0.0333)."
  ]
  lines, picture = found["figures"]
  assert lines["series"][0]["points"][-1] == [3, pytest.approx(0.5 / 3)]
  assert picture["file"] == "measured/missing_0.6.png"
  assert "after 1, 2 steps" in picture["note"]
  assert "0.4000 after 1 step, 0.1667 after 3" in rezende2014.summary(found["numbers"])["ours"]


def test_the_error_is_that_of_the_missing_entries():
  x, mean = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), np.array([[0.0, 0.5, 0.5], [9.0, 9.0, 9.0]])
  mask = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
  np.testing.assert_allclose(figure5.squared_error(mean, x, mask), [0.25, 0.0])


def test_neighbours_do_not_count_the_example_itself():
  """Two tight groups with one mislabelled example each: only these two are wrong."""
  z = np.concatenate([np.random.default_rng(0).normal(c, 0.1, size=(12, 2)) for c in (0, 5)])
  y = np.repeat([0, 1], 12)
  y[0], y[12] = 1, 0
  right = rezende2014.leave_one_out(z, y, 5)
  assert right.sum() == 22
  assert not right[0] and not right[12]
  lone = rezende2014.leave_one_out(np.array([[0.0, 0], [0, 1], [9, 9]]), np.array([0, 0, 1]), 1)
  assert lone.tolist() == [True, True, False]  # the nearest other one, not itself


def test_an_empty_folder_gives_an_empty_report(tmp_path):
  for item in rezende2014.RUNS:
    found = rezende2014.report(item, "quick", tmp_path)
    assert (found["tables"], found["figures"], found["sentences"]) == ([], [], [])


@pytest.mark.parametrize("item", rezende2014.RUNS)
@pytest.mark.parametrize("budget", ["quick", "short", "paper"])
def test_the_runs_of_every_budget_have_distinct_names(item, budget):
  planned = rezende2014.RUNS[item][budget]
  runs, _ = reproduce.plan(planned, {}, "")
  assert len({run.name for run in runs}) == sum(map(len, planned.cells.values()))
  assert not planned.full  # the recipe is not known


@pytest.mark.slow
@pytest.mark.parametrize("item", ["figure=5", "figure=6"])
def test_a_figure_is_trained_measured_and_not_repeated(item, tmp_path):
  command = ["rezende2014", f"--{item}", "--budget=test", f"--root={tmp_path}"]
  assert reproduce.main(command) == 0
  folder = paper.folder(tmp_path, "rezende2014", item, "test")
  before = {p: p.stat().st_mtime_ns for p in folder.glob("measured/*")}
  assert before
  assert reproduce.main(command) == 0
  assert {p: p.stat().st_mtime_ns for p in folder.glob("measured/*")} == before
  report = files.read_json(folder / "report.json")
  assert all((folder / f["file"]).exists() for f in report["figures"] if f["file"])
  if item == "figure=5":
    n = report["numbers"]["cells"]["60%"]
    assert 0 < n["importance"] <= n["first"] < 0.25

"""Errors of imputed tables: means, paired differences and sentences by hand; no method sees hidden entries."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.ipsen2021 import paper
from dgm_jax.experiments.shared import masked_tables
from helpers import made_runs, measured_runs

_RNG = np.random.default_rng(0)


def planted(n=400):
  """Rows near a plane in five dimensions, noise 0.1; the first two columns are hidden above their means."""
  x = _RNG.normal(size=(n, 2)) @ _RNG.normal(size=(2, 5)) + 0.1 * _RNG.normal(size=(n, 5))
  mask = np.ones_like(x)
  mask[:, :2] = x[:, :2] <= x[:, :2].mean(0)
  return masked_tables.Table(x, mask, 2)


@pytest.mark.parametrize("method", ["mice", "knn", "mean"])
def test_a_method_sees_no_hidden_entry_and_keeps_the_others(method):
  table = planted(100)
  filled = masked_tables.fill(table, method)
  np.testing.assert_allclose(filled[table.mask > 0], table.x[table.mask > 0], atol=1e-12)
  other = table._replace(x=np.where(table.mask > 0, table.x, 100 + _RNG.normal(size=table.x.shape)))
  np.testing.assert_allclose(masked_tables.fill(other, method), filled, atol=1e-9)


def test_ppca_is_the_conditional_mean_of_its_gaussian():
  """With complete rows to fit, EM recovers their covariance; it sees no hidden entry."""
  table = planted()
  whole = np.concatenate([table.mask[:40], np.ones((360, 5))])
  filled = masked_tables.fill(table._replace(mask=whole, x=np.where(whole > 0, table.x, 100.0)), "ppca")
  loc, cov = table.x[40:].mean(0), np.cov(table.x[40:].T)
  row = next(i for i in range(40) if 0 < whole[i].sum() < 5)
  h = whole[row] == 0
  expected = loc[h] + cov[np.ix_(h, ~h)] @ np.linalg.solve(cov[np.ix_(~h, ~h)], table.x[row, ~h] - loc[~h])
  np.testing.assert_allclose(filled[row, h], expected, atol=0.1)


def test_methods_with_randomness_have_seeds_and_nothing_is_measured_twice(tmp_path, monkeypatch):
  """The table is read once, from the first finished run; a method already measured is not run again."""
  table, asked = planted(30), []

  def fill(table, method, seed):
    asked.append((method, seed))
    return np.where(table.mask > 0, table.x, table.x + 1 + seed)

  monkeypatch.setattr(masked_tables, "read", lambda config: asked.append(config.name) or table)
  monkeypatch.setattr(masked_tables, "fill", fill)
  (tmp_path / "runs" / "b").mkdir(parents=True)
  files.write_json(tmp_path / "runs" / "b" / "results.json", {})
  files.write_json(tmp_path / "runs" / "b" / "config.json", {"name": "b"})
  tables = {"white": ["a", "b"], "red": ["c"]}
  masked_tables.measure(tmp_path, tables, ("forest", "mean"), range(2))
  assert asked == ["b", ("forest", 0), ("forest", 1), ("mean", 0)]
  masked_tables.measure(tmp_path, tables, ("forest", "mean"), range(2))
  assert len(asked) == 4
  found = masked_tables.errors(tmp_path, "white", ("ppca", "forest", "mean"))
  assert {name: list(mse) for name, mse in found.items()} == {"forest": [1, 4], "mean": [1, 1]}
  assert not masked_tables.errors(tmp_path, "red", ("forest", "mean"))


def test_the_hidden_entries_of_wine_are_the_papers(raw_data):
  """Above the mean in the first five of eleven columns; the errors of mean and chained regression are the paper's."""
  budget = paper.RUNS["table=1"]["short"]
  runs, _ = reproduce.plan(budget, {"data.manual_dir": str(raw_data / "uci")}, "white-miwae")
  table = masked_tables.read(ConfigDict(runs[0].config))
  assert (table.x.shape, table.latent_dim) == ((4898, 11), 10)
  np.testing.assert_allclose(table.x.mean(0), 0, atol=1e-5)
  np.testing.assert_array_equal(table.mask == 0, (table.x > 0) & (np.arange(11) < 5))
  for method in ("mean", "mice"):
    rmse = masked_tables.squared_error(table, masked_tables.fill(table, method)) ** 0.5
    assert rmse == pytest.approx(paper.PAPER.published["table=1"][f"white-{method}"].value, abs=0.005)


def make(root, rmse, mse=None):
  """The folder of finished runs of some cells of the test budget, {cell: RMSE of each seed}."""
  log_px = {cell: [[-1.0, -2.0]] * 2 for cell in rmse}
  folder = made_runs.make(root, "ipsen2021", "table=1", log_px)
  for cell, seed, run in measured_runs.of(paper, "table=1"):
    path = folder / "runs" / run / "results.json"
    if cell in rmse:
      files.write_json(path, files.read_json(path) | {"test/imputation_rmse": rmse[cell][seed]})
  for method, values in (mse or {}).items():
    measured_runs.measure(folder, f"white-{method}", mse=values)
  return folder


def test_errors_and_paired_differences_by_hand(tmp_path):
  folder = make(tmp_path, {"white-miwae": [1.5, 1.7], "white-known": [1.0, 1.1]}, {"mean": [3.24, 3.24], "knn": [1, 4]})
  found = paper.report("table=1", "test", folder)
  cells, pairs = found["numbers"]["cells"], found["numbers"]["pairs"]
  assert list(cells) == ["white-miwae", "white-known", "white-mean", "white-knn"]
  assert (cells["white-miwae"]["mean"], cells["white-miwae"]["stderr"]) == pytest.approx((1.6, 0.1))
  assert cells["white-known"]["by_seed"] == {"0": 1.0, "1": 1.1}
  assert (cells["white-mean"]["mean"], cells["white-mean"]["stderr"]) == pytest.approx((1.8, 0))
  assert cells["white-knn"]["by_seed"] == {"0": 1.0, "1": 2.0}  # the root of each seed's mean squared error
  pair = pairs["white: not-MIWAE self-masking known − MIWAE"]
  assert (pair["difference"], pair["stderr"]) == pytest.approx((-0.55, 0.05))
  assert pair["by_seed"] == pytest.approx([-0.5, -0.6])
  assert pair["verdict"] == "lower"  # 11 standard errors; Student's t of two seeds needs 6.3
  assert pairs["white: MIWAE − mean"]["verdict"] == "undecided"  # two standard errors
  assert found["sentences"][0] == (
    "The error of not-MIWAE self-masking known is lower than that of MIWAE in 1 of 1 data sets, shown in 1 "
    "(published: in 1 of 1): white −0.55 ± 0.05."
  )
  row = paper.summary(found["numbers"])
  assert row["published"] == "MIWAE 1.55, not-MIWAE self-masking known 1.04, mean 1.74"
  assert row["ours"] == "MIWAE 1.60 ± 0.10, not-MIWAE self-masking known 1.05 ± 0.05, mean 1.80 ± 0.00"


def test_one_seed_shows_nothing(tmp_path):
  folder = make(tmp_path, {"white-miwae": [1.5, 1.7], "white-known": [1.0, 1.1]})
  for _, seed, run in measured_runs.of(paper, "table=1"):
    if seed == 1:
      (folder / "runs" / run / "results.json").unlink()
  found = paper.report("table=1", "test", folder)
  (pair,) = found["numbers"]["pairs"].values()
  assert (pair["difference"], pair["stderr"], pair["verdict"]) == (-0.5, None, "undecided")


def test_only_comparable_rows_are_compared_with_published_numbers(tmp_path, monkeypatch):
  """All rows of a full recipe, the untrained methods of a shorter one, none of the test budget."""

  def last_columns(full, name):
    budget = paper.RUNS["table=1"]["test"]._replace(full=full)
    monkeypatch.setitem(paper.RUNS["table=1"], name, budget)
    return [[c["text"] for c in row[3:]] for row in paper.report("table=1", name, folder)["tables"][0]["rows"]]

  folder = make(tmp_path, {"white-miwae": [1.5, 1.7], "white-known": [1.0, 1.5]}, {"mean": [3.24, 3.24]})
  assert last_columns(True, "short") == [["+0.05 ± 0.10", "yes"], ["+0.21 ± 0.25", "no"], ["+0.06 ± 0.00", "yes"]]
  miwae, _, mean = last_columns(False, "quick")
  assert miwae == ["+0.05 ± 0.10 (not comparable)", ""]
  assert mean == ["+0.06 ± 0.00", "yes"]
  assert last_columns(False, "test")[2] == ["+0.06 ± 0.00 (not comparable)", ""]


def test_every_row_and_data_set_has_its_published_number_and_recipe():
  published = paper.PAPER.published["table=1"]
  assert len(published) == 12 * 6
  of = lambda cell: (published[cell].value, published[cell].more)
  assert of("breast-self") == (0.74, "")
  assert of("banknote-self") == (1.88, "± 0.85")
  assert of("concrete-agnostic") == (2.63, "± 0.12")
  assert of("yeast-linear_known") == (0.77, "")
  assert of("white-known") == (1.04, "")
  runs, _ = reproduce.plan(paper.RUNS["table=1"]["paper"], {}, "")
  of = lambda r: (r.config["data"]["name"], r.config["model"]["args"]["missing_process"], r.config["num_steps"])
  assert [of(r) for r in runs if r.name.startswith("arg.data=red,arg.process=low")] == [
    ("uci/red", "low_rank_joint", 100_000)
  ] * 5


@pytest.mark.slow
def test_two_seeds_train_and_impute_beside_the_mean(tmp_path, capfd):
  command = ["ipsen2021", "--table=1", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  assert "measuring mean" in capfd.readouterr().out
  found = files.read_json(papers.folder(tmp_path, "ipsen2021", "table=1", "test") / "report.json")
  cells = found["numbers"]["cells"]
  assert set(cells) == {"white-miwae", "white-known", "white-mean"}
  assert all(0.3 < cell["mean"] < 1.5 for cell in cells.values())
  assert reproduce.main(command) == 0
  assert "measuring" not in capfd.readouterr().out

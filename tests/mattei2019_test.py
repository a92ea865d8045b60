"""Tables and figures on MIWAE: what is paired with what, by hand; classifiers that learn what they are given."""

import made_runs
import measured_runs
import numpy as np
import pytest

from dgm_jax import workdir as wd
from experiments import masked_tables, mattei2019, mattei2019_table2, papers, reproduce


def make_table2(root, mse, others):
  """The folder of finished runs of the budget for tests, {row: MSE of each mask}, and of other methods."""
  cells = {f"white-{row}": [[-1.0, -2.0]] * 2 for row in mse}
  folder = made_runs.make(root, "mattei2019", "table=2", cells)
  for cell, mask, run in measured_runs.of(mattei2019, "table=2"):
    path = folder / "runs" / run / "results.json"
    value = {"test/imputation_mse": mse[cell.partition("-")[2]][mask]}
    wd.write_json(path, wd.read_json(path) | value)
  for method, values in others.items():
    for mask, value in enumerate(values):
      measured_runs.measure(folder, f"white-{mask}-{method}", mse=[value])
  return folder


def test_methods_are_paired_mask_by_mask(tmp_path):
  """Errors of masks differ by far more than methods do: what is planted is 0.1 each time."""
  mse = {"miwae": [0.5, 0.9], "mvae": [0.55, 0.9]}
  found = mattei2019.report("table=2", "test", make_table2(tmp_path, mse, {"forest": [0.6, 1.002], "mean": [1, 1.1]}))
  cells, pairs = found["numbers"]["cells"], found["numbers"]["pairs"]
  assert cells["white-forest"]["by_seed"] == {"0": 0.6, "1": 1.002}
  assert cells["white-miwae"]["stderr"] == pytest.approx(0.2)
  forest = pairs["white: MIWAE − forest, missForest-like"]
  assert forest["by_seed"] == pytest.approx([-0.1, -0.102])
  assert (forest["stderr"], forest["verdict"]) == (pytest.approx(0.001), "lower")
  assert pairs["white: MIWAE − MVAE"]["verdict"] == "undecided"
  assert found["sentences"][0] == (
    "The error of MIWAE is lower than that of forest, missForest-like in 1 of 1, shown in 1: white −0.101 ± 0.001."
  )
  row = found["tables"][0]["rows"][0]
  assert [c["text"] for c in row] == [
    "MIWAE",
    "0.735 (0.033) (unverified)",
    "0.700 ± 0.200",
    "−0.035 ± 0.200 (not comparable)",
  ]
  summary = mattei2019.summary(found["numbers"])
  assert summary["published"].startswith("MIWAE 0.735 (unverified), MVAE 0.782 (unverified)")
  assert "forest, missForest-like 0.801 ± 0.201" in summary["ours"]


def test_runs_of_a_mask_and_other_methods_have_the_same_entries_hidden(raw_data, tmp_path, monkeypatch):
  """A file for each mask, of the table of that mask's runs; masks differ, models of one mask do not."""
  budget = mattei2019_table2.BUDGETS["short"]
  runs, _ = reproduce.plan(budget, {"data.manual_dir": str(raw_data / "uci")}, "")
  for run in runs:
    if run.overrides["arg.data"] == "banknote" and run.overrides["seed"] < 2:
      path = tmp_path / "runs" / run.name
      path.mkdir(parents=True)
      wd.write_json(path / "config.json", run.config)
      wd.write_json(path / "results.json", {})
  read = {path.name: masked_tables.read(path) for path in (tmp_path / "runs").iterdir()}
  masks = {
    (f"k={k}", i): next(t.mask for n, t in read.items() if f"k={k},arg.mask={i}" in n) for k in (1, 20) for i in (0, 1)
  }
  np.testing.assert_array_equal(masks["k=1", 0], masks["k=20", 0])
  assert (masks["k=1", 0] != masks["k=1", 1]).any()
  assert all(abs(mask.mean() - 0.5) < 5 * np.sqrt(0.25 / mask.size) for mask in masks.values())
  seen = []
  monkeypatch.setattr(masked_tables, "read", lambda path: read[path.name])
  monkeypatch.setattr(masked_tables, "fill", lambda table, method, seed: seen.append(table.mask) or table.x)
  names = {
    cell: [
      f"arg.data={cell.partition('-')[0]},arg.k={20 if 'miwae' in cell else 1},arg.mask={i},seed={i}" for i in range(5)
    ]
    for cell in budget.cells
  }
  mattei2019_table2.measure(tmp_path, names, ("mean",))
  np.testing.assert_array_equal(seen, [masks["k=20", 0], masks["k=20", 1]])
  assert {p.name for p in (tmp_path / "measured").iterdir()} == {"banknote-0-mean.npz", "banknote-1-mean.npz"}


@pytest.mark.slow
def test_two_masks_train_impute_and_stand_beside_the_mean(tmp_path, capfd):
  command = ["mattei2019", "--table=2", "--budget=test", f"--root={tmp_path}", "--jobs=1"]
  assert reproduce.main(command) == 0
  assert "measuring mean of white-1" in capfd.readouterr().out
  found = wd.read_json(papers.folder(tmp_path, "mattei2019", "table=2", "test") / "report.json")
  cells = found["numbers"]["cells"]
  assert set(cells) == {"white-miwae", "white-mvae", "white-mean"}
  assert all(len(cell["by_seed"]) == 2 and 0 < cell["mean"] < 1.5 for cell in cells.values())

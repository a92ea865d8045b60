"""Kingma & Welling's figures: reports of synthetic runs, by hand."""

import json

import numpy as np
import pytest

from dgm_jax.core import files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import page
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.papers.kingma2014 import figure2, figure3, paper
from dgm_jax.sweeps import axes

# bounds of four test images for seeds 0 and 1
ELBO = {
  "aevb": ([-100.0, -101.0, -102.0, -103.0], [-101.0, -101.0, -103.0, -103.0]),
  "wake_sleep": ([-110.0, -111.0, -112.0, -113.5], [-111.0, -111.0, -113.0, -113.5]),
}


def make_run(folder, name, elbo, step, rows, seed=0, method="aevb"):
  path = folder / "runs" / name
  path.mkdir(parents=True)
  np.savez(path / "values.npz", **{"test/elbo": np.array(elbo)})
  about = {"data": "mnist5k", "transforms": ["binarize:dynamic"], "split_sizes": {"train": 8, "test": 4}}
  results = about | {"data_digest": "d", "seed": seed, "step": step, "test/elbo": float(np.mean(elbo))}
  files.write_json(path / "results.json", results)
  (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [{"seed": seed}, *rows]))


def rows(last, steps=(20, 40)):
  return [{"step": s, "train/elbo": last - 40 + s, "valid/elbo": last - 41 + s} for s in (*steps,)]


def make_bounds(tmp_path):
  folder = papers.folder(tmp_path, "kingma2014", "figure=2", "test")
  for cell, runs in paper.RUNS["figure=2"]["test"].cells.items():
    method = "aevb" if "aevb" in cell else "wake_sleep"
    for run, overrides in enumerate(runs):
      if cell.startswith("rates"):  # -130, -120, -125: the second is the best
        make_run(folder, axes.run_name(overrides), [-1.0], 20, rows((-130, -120, -125)[run]))
      else:
        make_run(folder, axes.run_name(overrides), ELBO[method][run], 40, rows(-100 - 4 * run), run)
  return folder


def test_bounds_and_their_differences_by_hand(tmp_path):
  found = paper.report("figure=2", "test", make_bounds(tmp_path))
  numbers = found["numbers"]
  cell = numbers["cells"]["aevb-mnist5k-3"]
  assert cell["test"] == pytest.approx(-101.75)  # mean of -101.5 and -102
  assert cell["stderr_seeds"] == pytest.approx(0.25)
  assert cell["train"] == pytest.approx(-102)  # mean of -100 and -104 at the last step
  assert cell["samples"] == 4000
  # averaged over seeds -100.5, -101, -102.5, -103: deviations 1.25, .75, -.75, -1.25
  assert cell["stderr_images"] == pytest.approx(np.sqrt(4.25 / 3 / 4))
  (d,) = numbers["differences"]
  assert d["difference"] == pytest.approx(np.mean([10, 10, 10, 10.5]))
  assert d["verdict"] == "shown"
  assert numbers["rates"]["aevb-mnist5k-3"] == {"0.01": -130.0, "0.02": -120.0, "0.1": -125.0}
  assert found["tables"][2]["rows"][0][-1]["text"] == "0.02"
  assert len(found["sentences"]) == 1  # the step size is the best one
  assert "AEVB above wake-sleep in mnist5k, N_z = 3: shown (+10.12 ± 0.12)." in found["sentences"][0]
  (panel,) = found["figures"]
  drawn = {s["name"]: s["points"] for s in panel["series"]}
  assert drawn["AEVB, train"] == [[2000, -122], [4000, -102]]
  assert drawn["AEVB, held-out"] == [[2000, -123], [4000, -103]]
  assert page.chart(panel) is not None
  assert "AEVB −101.75" in paper.summary(numbers)["ours"]


def test_a_run_is_found_by_its_name_in_the_sweep(tmp_path):
  """Long names end with a hash, which is computed with config arguments as text."""
  folder, budget = papers.folder(tmp_path, "kingma2014", "figure=2", "quick"), paper.RUNS["figure=2"]["quick"]
  run = reproduce.plan(budget, {}, "", folder)[0][0]
  make_run(folder, run.name, ELBO["aevb"][0], 40, rows(-100))
  assert paper.report("figure=2", "quick", folder)["numbers"]["cells"].keys() == {"aevb-mnist5k-3"}


def test_another_best_step_size_is_reported(tmp_path, monkeypatch):
  monkeypatch.setattr(figure2, "_RATE", 0.1)
  sentences = paper.report("figure=2", "test", make_bounds(tmp_path))["sentences"]
  assert "would choose another step size for AEVB, mnist5k, N_z = 3, wake-sleep, mnist5k" in sentences[-1]


def test_points_are_thinned_by_their_logarithm():
  points = [(float(x), x) for x in range(1, 1001)]
  kept = figure2.log_thinned(points, 3)
  assert [x for x, _ in kept] == [2, 4, 9, 21, 46, 99, 215, 464, 999, 1000]


def test_marginal_likelihoods_by_hand(tmp_path):
  folder = papers.folder(tmp_path, "kingma2014", "figure=3", "test")
  budget = paper.RUNS["figure=3"]["test"]
  lower = {"aevb-100": [-10.0, -11.0, -12.0], "wake_sleep-100": [-12.0, -13.5, -14.0], "mcem-100": [-9.0, -12.0, -12.0]}
  for cell, (overrides,) in budget.cells.items():
    for step, shift in ((20, 5.0), (40, 0.0)):
      values = np.array(lower[cell]) - shift
      arrays = {
        f"{part}/{name}": values + up for part in ("train", "test") for name, up in (("lower", 0), ("upper", 1))
      }
      file = folder / "measured" / f"{axes.run_name(overrides)},step={step}.npz"
      files.save_arrays(file, **{k: v + (k.startswith("train")) for k, v in arrays.items()})
  found = paper.report("figure=3", "test", folder)
  cell = found["numbers"]["cells"]["wake_sleep-100"]
  assert cell["test/lower"] == pytest.approx(-39.5 / 3)
  assert cell["train/upper"] == pytest.approx(-39.5 / 3 + 2)
  assert cell["test/lower_stderr"] == pytest.approx(np.std([-12.0, -13.5, -14.0], ddof=1) / np.sqrt(3))
  assert (cell["gap"], cell["samples"]) == (pytest.approx(1), 4000)
  against = {d["second"]: d for d in found["numbers"]["differences"]}
  assert against["wake_sleep-100"]["difference"] == pytest.approx(6.5 / 3)
  assert against["wake_sleep-100"]["verdict"] == "shown"
  assert against["mcem-100"]["difference"] == pytest.approx(0.0)
  assert against["mcem-100"]["verdict"] == "cannot be told"
  assert "AEVB above wake-sleep, N_train = 100: shown (+2.17 ± 0.17)." in found["sentences"]
  assert "differ by at most 1.00 nats" in found["sentences"][-1]
  (panel,) = found["figures"]
  drawn = {s["name"]: s["points"] for s in panel["series"]}
  assert drawn["MCEM, test"] == [[0.002, -16], [0.004, -11]]
  assert drawn["MCEM, train"] == [[0.002, -15], [0.004, -10]]


def test_the_latest_pictures_of_the_runs_are_shown(tmp_path):
  folder = papers.folder(tmp_path, "kingma2014", "figure=5", "test")
  ((overrides,),) = paper.RUNS["figure=5"]["test"].cells.values()
  name = axes.run_name(overrides)
  make_run(folder, name, [-3.0, -5.0], 40, [])
  (folder / "runs" / name / "figures").mkdir()
  for step in (20, 40):
    (folder / "runs" / name / "figures" / f"samples_{step:08d}.png").write_bytes(b"")
  found = paper.report("figure=5", "test", folder)
  assert [f["file"] for f in found["figures"]] == [f"runs/{name}/figures/samples_00000040.png"]
  assert found["numbers"]["cells"]["mnist5k-2"]["test"] == -4
  assert found["numbers"]["cells"]["mnist5k-2"]["stderr_images"] == pytest.approx(1)


def test_an_empty_folder_gives_an_empty_report(tmp_path):
  for item in paper.RUNS:
    found = paper.report(item, "quick", tmp_path)
    assert (found["tables"], found["figures"], found["sentences"]) == ([], [], [])


@pytest.mark.parametrize("item", paper.RUNS)
@pytest.mark.parametrize("budget", ["quick", "short", "paper"])
def test_the_runs_of_every_budget_have_distinct_names(item, budget):
  planned = paper.RUNS[item][budget]
  runs, _ = reproduce.plan(planned, {}, "")
  assert len({run.name for run in runs}) == sum(map(len, planned.cells.values()))
  assert planned.full == (budget == "paper")


@pytest.mark.slow
@pytest.mark.parametrize("item", paper.RUNS)
def test_a_figure_is_trained_measured_and_not_repeated(item, tmp_path, capfd):
  kind, _, value = item.partition("=")
  command = ["kingma2014", f"--{kind}={value}", "--budget=test", f"--root={tmp_path}"]
  assert reproduce.main(command) == 0
  before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")}
  assert reproduce.main(command) == 0
  assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.npz")} == before
  assert "nothing is left to train" in capfd.readouterr().out
  folder = papers.folder(tmp_path, "kingma2014", item, "test")
  numbers = files.read_json(folder / "report.json")["numbers"]
  if item == "figure=3":
    cells = numbers["cells"]
    assert set(cells) == {f"{method}-100" for method in figure3.METHODS}
    for n in cells.values():
      assert n["test/upper"] == pytest.approx(n["test/lower"], abs=1)
      assert -600 < n["test/lower"] < -200

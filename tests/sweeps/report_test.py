"""Means and standard errors of a report match NumPy's; it includes every run, also failed and unfinished ones."""

import json

import numpy as np
import pandas as pd
import pytest

from dgm_jax.core import errors, files
from dgm_jax.sweeps import axes, curves, plots, report, report_command, states, tasks
from dgm_jax.sweeps.definition import Run
from helpers import drawn_text

pytestmark = pytest.mark.smoke

NLL = {(1e-4, 0): 101.0, (1e-4, 1): 103.0, (1e-3, 0): 99.0, (1e-3, 1): 99.5, (1e-3, 2): 98.0, (1e-2, 0): 120.0}


def run_of(overrides):
  return Run(axes.run_name(overrides), overrides, {}, ())


@pytest.fixture
def root(tmp_path):
  runs = [run_of({"optim.lr": lr, "seed": seed}) for lr, seed in [*NLL, (1e-4, 2), (1e-2, 1), (1e-2, 2)]]
  tasks.write(tmp_path, tasks.define("configs/x.py", {}, runs))
  for run in runs:
    folder = states.folder(tmp_path, run.name)
    key = run.overrides["optim.lr"], run.overrides["seed"]
    if key == (1e-2, 2):
      continue  # waiting
    folder.mkdir(parents=True)
    nll = NLL.get(key, 150.0)
    rows = [{"step": s, "train/loss": nll + 100 / (s + 1), "valid/log_px": -nll - 1} for s in (0, 10, 20)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [{"data": "d"}, *rows]) + '{"step": 3')
    if key in NLL:
      files.write_json(folder / "results.json", {"test/nll": nll, "step": 20, "data": "d"})
  files.write_json(states.folder(tmp_path, "optim.lr=0.01,seed=1") / "failure.json", {"error": "NaN at 7.", "step": 7})
  return tmp_path


def test_means_and_standard_errors_match_numpy(root):
  runs, paths = report.read(root)
  table = report.settings(runs, paths, "test/nll")
  assert table["optim.lr"].tolist() == [1e-3, 1e-4, 1e-2]  # lower is better
  assert table["runs"].tolist() == [3, 2, 1]
  for lr, mean, error in zip(table["optim.lr"], table["mean"], table["stderr"], strict=True):
    values = np.array([v for (rate, _), v in NLL.items() if rate == lr])
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    expected = (
      np.sqrt(((values - values.mean()) ** 2).sum() / (len(values) - 1) / len(values)) if len(values) > 1 else None
    )
    assert (error == pytest.approx(expected, rel=1e-12)) if expected else np.isnan(error)
  assert report.settings(runs, paths, "valid/log_px")["optim.lr"].tolist() == [1e-3, 1e-4, 1e-2]  # higher is better


def test_a_report_includes_every_run_and_names_those_without_results(root):
  text = report.write(root)
  assert "9 runs: 6 finished, 1 failed, 1 interrupted, 1 waiting" in text
  assert "optim.lr=0.01,seed=1: failed at step 7, NaN at 7." in text
  assert "optim.lr=0.0001,seed=2: interrupted at step 20" in text
  assert "optim.lr=0.01,seed=2: waiting" in text
  assert "Best: optim.lr=0.001" in text
  folder = root / "report"
  for frame in (pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "runs.parquet")):
    assert len(frame) == 9
    assert frame.set_index("name")["test/nll"].dropna().to_dict() == {
      axes.run_name({"optim.lr": lr, "seed": seed}): v for (lr, seed), v in NLL.items()
    }
  for name in ("curves", "parallel"):
    assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def finished(root, runs):
  """Writes a sweep whose runs are all finished, each with a different NLL."""
  tasks.write(root, tasks.define("configs/x.py", {}, runs))
  for i, run in enumerate(runs):
    folder = states.folder(root, run.name)
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 20, "train/loss": 1.0}) + "\n")
    files.write_json(folder / "results.json", {"test/nll": 100.0 + i, "step": 20, "data": "d"})


def drawn(root, monkeypatch):
  """({panel title: [(label, x, y)]} of the comparison figure, text) of a report."""
  found = {}

  def keep(path, figure):
    report.plots.style.finish(figure)
    assert drawn_text.faults(figure) == [], path.name
    if path.name == "comparison.png":
      for axis in figure.axes:
        found[axis.get_title()] = [(line.get_label(), *map(list, line.get_data())) for line in axis.lines]

  monkeypatch.setattr(report.plots.figures, "save", keep)
  return found, report.write(root)


def test_criteria_are_compared_at_the_best_run_of_each_value(root, monkeypatch):
  for (lr, seed), nll in NLL.items():
    folder = states.folder(root, axes.run_name({"optim.lr": lr, "seed": seed}))
    criteria = {"test/aic": 2 * nll, "test/bic": 1000 * lr + 2 * nll}
    files.write_json(folder / "results.json", {"test/nll": nll, "step": 20, "data": "d"} | criteria)
  found, text = drawn(root, monkeypatch)
  assert "comparison.png" in text
  rates = [1e-4, 1e-3, 1e-2]
  aic, star, bic, other_star = found["best run of each value"]
  assert aic == ("AIC", rates, [202.0, 196.0, 240.0])
  assert bic == ("BIC", rates, [202.1, 197.0, 250.0])
  assert (star[1:], other_star[1:]) == (([1e-3], [196.0]), ([1e-3], [197.0]))
  means = [y for _, x, y in found["test/nll"] if x == rates]  # and the ends of the error bars
  assert pytest.approx([102.0, 296.5 / 3, 120.0]) in means


def test_values_of_a_config_argument_become_numbers_if_all_are_numeric(tmp_path, monkeypatch):
  for values, expected in ((("1", "12", "2"), [1, 2, 12]), (("1", "zero", "2"), None)):
    root = tmp_path / values[1]
    finished(root, [run_of({"arg.c": c}) for c in values])
    found, _ = drawn(root, monkeypatch)
    assert sorted({v for _, x, _ in found.get("test/nll", []) for v in x}) == (expected or [])


def test_only_a_single_varied_number_has_a_comparison(root, tmp_path, monkeypatch):
  found, _ = drawn(root, monkeypatch)
  assert list(found) == ["test/nll"]  # no criteria, no second panel
  finished(tmp_path / "names", [run_of({"model.name": name, "seed": seed}) for name in ("a", "b") for seed in (0, 1)])
  found, text = drawn(tmp_path / "names", monkeypatch)
  assert not found
  assert "comparison.png" not in text


def test_the_table_of_curves_holds_every_value_of_every_run(root):
  report.write(root)
  frame = pd.read_parquet(root / "report" / "curves.parquet")
  assert list(frame.columns) == ["run", "seed", "optim.lr", "step", "metric", "value"]
  assert len(frame) == 8 * 3 * 2  # one run waits
  chosen = frame[(frame["optim.lr"] == 1e-3) & (frame["step"] == 10) & (frame["metric"] == "train/loss")]
  values = {seed: NLL[1e-3, seed] + 100 / 11 for seed in (0, 1, 2)}
  assert chosen.set_index("seed")["value"].to_dict() == pytest.approx(values)


def test_without_pyarrow_the_tables_are_csv_and_the_report_says_so(root, monkeypatch):
  monkeypatch.setattr(curves, "_PARQUET", "no_such_package")
  text = report.write(root)
  assert "curves.parquet was not written; pyarrow, which it needs, is installed by `pip install '.[data]'`" in text
  assert len(pd.read_csv(root / "report" / "curves.csv")) == 48
  assert not list((root / "report").glob("*.parquet"))


def test_a_band_goes_from_the_least_to_the_greatest_seed_around_their_mean():
  rng = np.random.default_rng(0)
  seeds = [[(float(x), float(rng.normal())) for x in s] for s in ([0, 10, 20, 30], [5, 10, 25], [0, 7, 30])]
  found = np.array(curves.band([*seeds, []]))
  assert found[:, 0].tolist() == [5, 7, 10, 20, 25]  # where all have values
  each = np.stack([np.interp(found[:, 0], *zip(*curve, strict=True)) for curve in seeds])
  np.testing.assert_allclose(found[:, 1:], np.stack([each.mean(0), each.min(0), each.max(0)], 1), atol=1e-12)
  assert curves.band([[], []]) == []


def test_seeds_are_one_line_with_a_band_and_the_legend_names_them(root, monkeypatch):
  seen = {}
  monkeypatch.setattr(curves.figures, "save", lambda path, figure: seen.update({path.name: figure}) or [path])
  report.write(root)
  figure = seen["curves.png"]
  panel = {axis.get_title(): axis for axis in figure.axes}["train/loss"]
  assert (len(panel.lines), len(panel.collections), panel.get_xlabel()) == (3, 3, "step")
  [legend] = figure.legends
  assert [text.get_text() for text in legend.get_texts()] == [
    f"optim.lr={lr} (3 seeds)"
    for lr in ("0.001", "0.0001", "0.01")  # the best first
  ]
  assert legend.get_title().get_text() == "mean, and range of the seeds as a band"


def test_many_settings_and_long_names_are_readable(tmp_path, monkeypatch):
  names = [f"model.args.likelihood_of_data_{i}" for i in range(3)]
  values = [{"optim.lr": 10.0**-i, "model.args.hidden": (200, 200 + i), names[i % 3]: i % 2} for i in range(11)]
  finished(tmp_path, [run_of(dict.fromkeys(names, 0) | v) for v in values])
  drawn(tmp_path, monkeypatch)  # which looks for overlaps


def test_learning_rates_have_a_logarithmic_axis_even_close_together():
  assert plots.is_logarithmic("optim.lr", [1e-3, 2e-3])
  assert not plots.is_logarithmic("objective.num_samples", [1, 5])
  assert plots.is_logarithmic("objective.num_samples", [1, 50])
  assert not plots.is_logarithmic("optim.weight_decay", [0.0, 1e-3])


def test_a_report_has_the_asked_formats(root):
  text = report.write(root, formats=("pdf", "svg"))
  assert f"{root}/report/curves.pdf" in text and "curves.png" not in text
  kinds = {p.suffix for p in (root / "report").glob("*.*")}
  assert kinds == {".txt", ".csv", ".parquet", ".pdf", ".svg"}
  with pytest.raises(errors.UserError, match="format of --format 'gif'"):
    report_command.main([str(root), "--format=gif"])


def test_a_report_is_written_to_out_and_an_unknown_metric_raises(root, tmp_path):
  report.write(root, "valid/log_px", tmp_path / "there")
  assert pd.read_csv(tmp_path / "there" / "settings.csv")["mean"].is_monotonic_decreasing
  with pytest.raises(errors.UserError, match="Did you mean 'test/nll'"):
    report.write(root, "test/nl")
  with pytest.raises(errors.UserError, match="holds no sweep"):
    report.write(tmp_path / "nothing")


def test_a_sweep_without_finished_runs_has_a_report(tmp_path):
  tasks.write(tmp_path, tasks.define("configs/x.py", {}, [run_of({"seed": 0})]))
  assert "No run is finished yet" in report.write(tmp_path)


def test_states_are_read_from_the_folders(root, tmp_path):
  folder = states.folder(root, "optim.lr=0.0001,seed=2")
  assert states.state(folder) == states.State("interrupted", 20)
  states.ask_to_stop(folder, "it lags behind")
  assert states.state(folder) == states.State("pruned", 20, "it lags behind")
  files.write_json(folder / "lock", {"host": "elsewhere", "pid": 1})  # fresh
  assert states.state(folder).state == "running"
  files.write_json(folder / "results.json", {"step": 20})
  assert states.state(folder).state == "finished"


def test_a_root_accepts_only_its_own_sweep(tmp_path):
  root, runs = tmp_path / "root", [run_of({"seed": s}) for s in range(3)]
  tasks.write(root, tasks.define("c.py", {}, runs[1:]))
  tasks.write(root, tasks.define("a.py", {"batch_size": 5}, runs[:2]))  # no run of the other has started
  assert list(tasks.read(root).runs) == ["seed=0", "seed=1"]
  (root / "runs").mkdir()
  tasks.write(root, tasks.define("a.py", {"batch_size": 5}, runs))  # more runs
  assert list(tasks.read(root).runs) == ["seed=0", "seed=1", "seed=2"]
  for definition, sentence in [
    (tasks.define("b.py", {"batch_size": 5}, runs), r"config \(a.py there, b.py now\)"),
    (tasks.define("a.py", {"batch_size": 6}, runs), r"config.batch_size \(5 there, 6 now\)"),
    (tasks.define("a.py", {"batch_size": 5}, runs[1:]), "runs that are not in this one: seed=0"),
    (tasks.define("a.py", {"batch_size": 5}, runs)._replace(search={"metric": "x"}), "search"),
  ]:
    with pytest.raises(errors.UserError, match=sentence):
      tasks.write(root, definition)
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "thesis.tex").touch()
  with pytest.raises(errors.UserError, match=r"do not belong to a sweep \(thesis.tex\)"):
    tasks.write(tmp_path / "other", tasks.define("a.py", {}, runs))


def test_new_tasks_replace_old_tasks_or_continue_their_numbering(tmp_path):
  lists = [[run_of({"seed": s})] for s in range(3)]
  assert [p.name for p in tasks.write_tasks(tmp_path, lists, {"cpus": 1})] == ["0000.json", "0001.json", "0002.json"]
  first = tasks.write_tasks(tmp_path, lists[2:], {"cpus": 2, "gpus": 0})
  assert [p.name for p in sorted((tmp_path / "tasks").glob("*.json"))] == ["0000.json"]
  found = json.loads(first[0].read_text())
  assert found == {
    "format": 1,
    "runs": [{"name": "seed=2", "workdir": "../runs/seed=2", "config": {}}],
    "resources": {"cpus": 2, "gpus": 0},
  }
  assert tasks.write_tasks(tmp_path, lists[:1], {}, keep=True)[0].name == "0001.json"

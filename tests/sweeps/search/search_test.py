"""Sweeps and searches with a fake launcher: resuming, counting, pruning, error messages and exit statuses."""

import json
import math
import sys
import types
from typing import NamedTuple

import optuna
import pytest

from dgm_jax.core import errors, files
from dgm_jax.sweeps import axes, definition, drive, states, tasks
from dgm_jax.sweeps.planning import plan
from dgm_jax.sweeps.search import search, study
from helpers import tables

TEST = f"{tables.ROOT / 'configs/iwae_mnist.py'}:test"


class Outcome(NamedTuple):
  task: object
  status: int
  attempts: int = 1
  tail: str = ""


class Launcher:
  """Writes made-up rows and results, best at optim.lr = 0.01; `fate` gives the outcome of a run."""

  def __init__(self):
    self.launched, self.fate = [], lambda run: "finished"

  def launch(self, paths, *, jobs=None, **options):
    return [Outcome(path, max(self.work(path, run) for run in json.loads(path.read_text())["runs"])) for path in paths]

  def work(self, path, run):
    self.launched.append(run["name"])
    folder, fate = path.parent / run["workdir"], self.fate(run)
    if fate == "crashed":
      return 137
    if fate == "stopped":
      return 4
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder, run["config"]["optim"]["lr"])
    files.write_json(folder / "config.json", run["config"])
    if fate == "failed":
      files.write_json(folder / "failure.json", {"error": "NaN.", "step": 3})
      return 3
    files.write_json(folder / "results.json", {"test/nll": 1.0, "step": 40})
    return 0


def write_rows(folder, lr, evaluations=4):
  value = -abs(math.log10(lr) + 2)
  rows = [{"step": 10 * i, "valid/log_px": value - 1 / (i + 1), "train/loss": 1.0} for i in range(evaluations + 1)]
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def fake_plan(runs, **options):
  names = [run.name for run in runs]
  group = plan.PlannedGroup(tuple(names), "", 1, 1, 99, 40)
  return plan.Plan((group,), ((0, tuple(names)),), 1e9, ("train/loss", "valid/log_px"), dict.fromkeys(names, 40))


@pytest.fixture
def launcher(monkeypatch):
  found = Launcher()
  monkeypatch.setattr(drive, "launcher", lambda name: types.SimpleNamespace(launch=found.launch))
  monkeypatch.setattr(plan, "make_in_process", fake_plan)
  return found


def sweep(root, seeds=3, retry=False):
  runs = definition.make_runs(TEST, {}, axes.product({"seed": range(seeds)}))
  return drive.run(root, tasks.define(TEST, {}, runs), runs, drive.Options(metric="valid/log_px"), retry)


def test_finished_runs_are_never_repeated_and_the_exit_status_is_right(launcher, tmp_path, capsys):
  launcher.fate = lambda run: "stopped" if run["config"]["seed"] == 2 else "finished"
  assert sweep(tmp_path) == 4
  assert "runs are not finished. To resume:\n" in capsys.readouterr().err
  launcher.fate = lambda run: "failed"
  assert sweep(tmp_path) == 3
  assert launcher.launched == ["seed=0", "seed=1", "seed=2", "seed=2"]
  assert "seed=2 failed at step 3: NaN." in capsys.readouterr().err
  assert sweep(tmp_path) == 3  # it would fail again
  assert len(launcher.launched) == 4
  launcher.fate = lambda run: "finished"
  (states.folder(tmp_path, "seed=2") / "failure.json").unlink()
  assert sweep(tmp_path) == 0
  assert sweep(tmp_path, seeds=4) == 0  # one more
  assert launcher.launched[4:] == ["seed=2", "seed=3"]


def test_a_crash_is_reported_with_its_task(launcher, tmp_path, capsys):
  launcher.fate = lambda run: "crashed"
  assert sweep(tmp_path) == 3
  assert "0000.json ended with status 137 after 1 attempts" in capsys.readouterr().err


def test_a_second_command_at_the_same_time_raises(launcher, tmp_path):
  def second(run):
    with pytest.raises(errors.UserError, match="is being worked on by another command"):
      sweep(tmp_path, seeds=1)
    return "finished"

  launcher.fate = second
  assert sweep(tmp_path, seeds=1) == 0


def test_a_config_that_has_changed_raises(launcher, tmp_path):
  assert sweep(tmp_path) == 0
  path = states.folder(tmp_path, "seed=1") / "config.json"
  path.write_text(path.read_text().replace('"batch_size": 50', '"batch_size": 60', 1))
  with pytest.raises(errors.UserError, match=r"seed=1 holds a run of another config. It differs in: batch_size"):
    sweep(tmp_path)


def test_the_error_of_a_missing_extra_gives_the_install_command(monkeypatch):
  monkeypatch.setitem(sys.modules, "optuna", None)
  with pytest.raises(errors.UserError, match=r"--search needs the package optuna, .*: pip install '.\[sweep\]'"):
    errors.import_package("optuna", "--search")
  with pytest.raises(ModuleNotFoundError):  # of no extra: a fault of ours
    errors.import_package("a_package_that_is_not_there")
  with pytest.raises(errors.UserError, match="Choices: local, ray, slurm"):
    drive.launcher("slum")


SPACE = {"optim.lr": axes.log_uniform(1e-4, 1.0), "seed": axes.choice([0, 1])}


def a_search(**changes):
  return study.Search(TEST, {}, SPACE, "valid/log_px", batch=4, trials=6)._replace(**changes)


def trials_of(root, found):
  return study.open_study(root, found).get_trials()


def test_trials_are_counted_across_commands_and_a_stopped_search_resumes_its_trials(launcher, tmp_path):
  launcher.fate = lambda run: "stopped" if "trial=0001" in run["name"] else "finished"
  assert search.run(tmp_path, a_search(), drive.Options()) == 4
  assert [t.state.name for t in trials_of(tmp_path, a_search())] == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]
  values = trials_of(tmp_path, a_search())[1].params
  launcher.fate = lambda run: "finished"
  assert search.run(tmp_path, a_search(), drive.Options()) == 0
  trials = trials_of(tmp_path, a_search())
  assert [t.state.name for t in trials] == ["COMPLETE"] * 6
  assert trials[1].params == values
  assert len({t.params["optim.lr"] for t in trials}) == 6
  assert len(set(launcher.launched)) == 12  # two seeds each
  assert sorted(launcher.launched) == sorted([*set(launcher.launched), "trial=0001,seed=0", "trial=0001,seed=1"])
  for t in trials:  # the mean over seeds of the latest value, and of every evaluation after step 0
    expected = [-abs(math.log10(t.params["optim.lr"]) + 2) - 1 / (i + 1) for i in range(1, 5)]
    assert t.value == pytest.approx(expected[-1])
    assert list(t.intermediate_values.values()) == pytest.approx(expected)
  assert search.run(tmp_path, a_search(trials=7), drive.Options()) == 0
  assert len(trials_of(tmp_path, a_search())) == 7
  assert len(tasks.read(tmp_path).runs) == 14


def test_failed_trials_count_as_pruned_and_crashed_trials_as_failed(launcher, tmp_path):
  fates = {"trial=0000": "failed", "trial=0001": "crashed"}
  launcher.fate = lambda run: fates.get(run["name"][:10], "finished")
  assert search.run(tmp_path, a_search(trials=3), drive.Options()) == 3
  assert [t.state.name for t in trials_of(tmp_path, a_search())] == ["PRUNED", "FAIL", "COMPLETE"]


@pytest.mark.parametrize("pruner, pruned", [("median", True), ("asha", True), ("none", False)])
def test_a_trial_that_lags_behind_is_asked_to_stop_and_keeps_its_num_steps(launcher, tmp_path, pruner, pruned):
  found = a_search(pruner=pruner, sampler="random", trials=8)
  assert (
    search.run(tmp_path, found._replace(space=SPACE | {"optim.lr": axes.log_uniform(5e-3, 2e-2)}), drive.Options()) == 0
  )
  searcher = search._Searcher(tmp_path, found, study.open_study(tmp_path, found))
  optuna_trial = searcher.study.ask()
  runs = search._runs(found, optuna_trial.number, {"optim.lr": 1.0})
  for run in runs:
    write_rows(states.folder(tmp_path, run.name), 1.0, evaluations=2)
  (searcher.folder / "lock").touch()
  searcher.look([search.Trial(optuna_trial, runs)])
  reasons = {states.stop_reason(states.folder(tmp_path, run.name)) for run in runs}
  if pruned:
    assert reasons == {f"pruned by {pruner} at evaluation 1: valid/log_px -2.5"}
    assert all(run.config["num_steps"] == 40 for run in runs)
    searcher.tell(search.Trial(optuna_trial, runs), [])
    assert searcher.study.get_trials()[-1].state == optuna.trial.TrialState.PRUNED
  else:
    assert reasons == {None}


@pytest.mark.parametrize(
  "changes, sentence",
  [
    ({"metric": ""}, "needs --metric"),
    ({"metric": "valid/log_p"}, "Did you mean 'valid/log_px'"),
    ({"space": {"seed": axes.choice([0])}}, "nothing to search"),
    ({"sampler": "tpee"}, "Did you mean 'tpe'"),
    ({"trials": 0}, "--trials=0"),
  ],
)
def test_invalid_searches_raise_before_anything_is_written(launcher, tmp_path, changes, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    search.run(tmp_path / "root", a_search(**changes), drive.Options())
  assert not (tmp_path / "root").exists()


def test_a_search_with_another_space_raises(launcher, tmp_path):
  assert search.run(tmp_path, a_search(trials=1), drive.Options()) == 0
  with pytest.raises(errors.UserError, match="It differs in: search"):
    search.run(tmp_path, a_search(space={"optim.lr": axes.log_uniform(1e-4, 1e-3)}), drive.Options())


def test_values_of_all_kinds_are_suggested_repeatably():
  space = {
    "a": axes.uniform(0, 1),
    "b": axes.log_uniform(1e-3, 1),
    "c": axes.integers(1, 4),
    "d": axes.choice([(1,), (2, 3)]),
    "seed": axes.choice([0, 1]),
  }
  in_memory = optuna.create_study()
  trial = in_memory.ask()
  values = study.suggest(trial, space)
  assert set(values) == {"a", "b", "c", "d"}
  assert values["d"] in [(1,), (2, 3)]
  assert study.suggest(trial, space) == values

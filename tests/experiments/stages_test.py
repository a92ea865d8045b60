"""Runs that start from others of their budget: planned once those are finished, named independently of the root."""

import pytest

from dgm_jax.core import errors, files
from dgm_jax.experiments import reproduce
from dgm_jax.experiments.harness import paper as papers
from dgm_jax.experiments.harness import reports, stages
from dgm_jax.experiments.papers.burda2016 import paper, tables
from dgm_jax.sweeps import drive, tasks
from helpers import made_runs

pytestmark = pytest.mark.smoke

BUDGET = paper.RUNS["table=2"]["test"]
NAMES = stages.run_names(BUDGET)
FIRST, SECOND = ("vae-1", "iwae-50"), ("vae-1-then-iwae-50", "iwae-50-then-vae-1")


def do(root, *flags):
  return reproduce.main(["burda2016", "--table=2", "--budget=test", f"--root={root}", *flags])


@pytest.fixture
def driven(monkeypatch):
  """(requested runs, a list for each stage; names of runs that fail): all other requested runs finish at once."""
  asked, failing = [], set()

  def run(folder, definition, runs, options, retry):
    tasks.write(folder, definition)
    asked.append([r.name for r in runs])
    for r in (r for r in runs if r.name not in failing):
      made_runs.finish(folder / "runs" / r.name, r.config, [-100.0, -101.0, -99.0, -98.0])
    return drive.FAILED if failing & set(asked[-1]) else drive.FINISHED

  monkeypatch.setattr(drive, "run", run)
  return asked, failing


def names_of(*cells):
  return [name for cell in cells for name in NAMES[cell]]


def test_a_run_starts_from_the_run_of_its_seed_under_any_root(tmp_path):
  for root in (tmp_path / "a", tmp_path / "b"):
    runs = {run.name: run for run in reproduce.plan(BUDGET, {}, "", root)[0]}
    assert [*runs] == names_of(*FIRST, *SECOND)
    for seed in (0, 1):
      for second, first in zip(SECOND, FIRST, strict=True):
        run = runs[NAMES[second][seed]]
        start = str(root / "runs" / NAMES[first][seed])
        assert (run.config["init_from"], run.config["seed"]) == (start, seed)
        assert f"--config.init_from={start}" in run.command
        assert run.overrides["init_from"] == first


def test_the_second_stage_is_planned_once_when_the_first_is_finished(tmp_path, driven):
  asked, _ = driven
  assert do(tmp_path) == 0
  assert asked == [names_of(*FIRST), names_of(*SECOND)]
  found = files.read_json(papers.folder(tmp_path, "burda2016", "table=2", "test") / "report.json")
  assert (found["finished"], found["of"]) == (8, 8)
  start = f"init_from={papers.folder(tmp_path, 'burda2016', 'table=2', 'test')}/runs/{NAMES['vae-1'][1]}"
  assert start in found["runs"][NAMES["vae-1-then-iwae-50"][1]]["command"]
  assert set(found["numbers"]["cells"]) == {*FIRST, *SECOND}


def test_runs_that_start_from_a_failed_run_wait_and_the_others_continue(tmp_path, driven):
  asked, failing = driven
  failing |= {NAMES["vae-1"][1]}
  assert do(tmp_path) == drive.FAILED
  assert asked == [names_of(*FIRST), [NAMES["vae-1-then-iwae-50"][0], *NAMES["iwae-50-then-vae-1"]]]
  failing.clear()
  asked.clear()
  assert do(tmp_path) == 0
  assert NAMES["vae-1-then-iwae-50"][1] in asked[-1]


def test_a_cell_of_the_second_stage_includes_the_runs_it_starts_from(tmp_path, driven):
  asked, _ = driven
  assert do(tmp_path, "--cells=iwae-50-then-vae-1") == 0
  assert asked == [names_of("iwae-50"), names_of("iwae-50-then-vae-1")]
  assert do(tmp_path, "--cells=vae-1") == 0
  assert asked[2:] == [names_of("vae-1")]


def test_a_stopped_command_does_not_begin_the_second_stage(tmp_path, monkeypatch):
  asked = []

  def run(folder, definition, runs, *options):
    tasks.write(folder, definition)
    asked.append(runs)
    made_runs.finish(folder / "runs" / runs[0].name, runs[0].config, [-100.0, -101.0])
    return drive.STOPPED

  monkeypatch.setattr(drive, "run", run)
  assert do(tmp_path) == drive.STOPPED
  assert len(asked) == 1


def test_an_error_in_one_item_does_not_stop_the_others(tmp_path, driven, monkeypatch, capsys):
  sweep = reproduce._sweep

  def fails(folder, budget, args):
    errors.require(budget is not paper.RUNS["table=1"]["test"], "the files are not there.")
    return sweep(folder, budget, args)

  monkeypatch.setattr(reproduce, "_sweep", fails)
  monkeypatch.setitem(paper.RUNS, "figure=posteriors", {})  # would measure trained runs, which `driven` does not make
  assert reproduce.main(["burda2016", "--budget=test", f"--root={tmp_path}"]) == 2
  assert "error: burda2016 --table=1: the files are not there." in capsys.readouterr().err
  assert reports.num_finished(papers.folder(tmp_path, "burda2016", "table=2", "test"), paper, "table=2", "test") == 8
  assert (tmp_path / "index.html").exists()
  with pytest.raises(errors.UserError, match="are not there"):  # as the only item it is an error of the command
    reproduce.main(["burda2016", "--table=1", "--budget=test", f"--root={tmp_path}"])


def test_switching_the_objective_is_reported_for_both_directions(tmp_path):
  near, far = [[-100.0, -101.0, -99.0, -98.0]] * 2, [[-103.0, -104.5, -102.0, -101.0]] * 2
  values = {"vae-1": far, "vae-1-then-iwae-50": near, "iwae-50": near, "iwae-50-then-vae-1": near}
  folder = made_runs.make(tmp_path, "burda2016", "table=2", values)
  found = paper.report("table=2", "test", folder)
  one, other = found["sentences"]
  assert "VAE k = 1 → IWAE k = 50 < VAE k = 1 is shown" in one
  assert "cannot show the order of NLL IWAE k = 50 < IWAE k = 50 → VAE k = 1" in other
  assert found["numbers"]["pairs"]["VAE k = 1 → IWAE k = 50 − VAE k = 1"]["difference"] == pytest.approx(-3.125)
  row = paper.summary(found["numbers"])
  assert "VAE 1 → IWAE 50 < VAE 1: shown" in row["ours"]
  assert row["published"].startswith("VAE 1 86.76, IWAE 50 84.78, VAE 1 → IWAE 50 84.88")


def test_the_second_stage_has_the_papers_rate_and_length(tmp_path):
  runs, _ = reproduce.plan(paper.RUNS["table=2"]["paper"], {}, "", tmp_path)
  for run in runs[6:]:
    assert (run.config["optim"]["lr"], run.config["optim"]["boundaries"], run.config["num_epochs"]) == (1e-4, (), 2187)
  assert {run.config["num_epochs"] for run in runs[:6]} == {3280}
  assert tables.label("iwae-5-2layers") == "IWAE k = 5, 2 layers"

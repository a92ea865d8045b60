"""Searches: Optuna proposes the values, the planner makes lanes of them, the folders say how well they did.

A batch of trials is asked for, its runs (one for each trial and seed) are planned and launched like those of a sweep,
and each trial is told the mean over its seeds of the metric.  The study lies in ROOT/optuna.journal: several processes
of several machines may work on one search with one ROOT, and a search that is stopped goes on; trials whose process is
gone are taken over, and their runs resume from their checkpoints.

Pruning.  At each evaluation i = 1, 2, ... of a run (the rungs; those of equal i are compared) the trial reports its
value.  If the pruner says so, ROOT/runs/NAME/stop.json asks the run to end: it ends after the chunk it is in, keeps its
checkpoint, and its program goes on with the other lanes.  A run is stopped, never shortened: schedules are fractions of
num_steps, and runs that are compared have the same.

A trial with a run that failed (NaN, a mistake in its config) counts as pruned, so that the sampler keeps away from
there; one whose process crashed counts as failed, and the sampler ignores it.
"""

import os
import pathlib
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import filelock

from dgm_jax.core import errors
from dgm_jax.sweeps import axes, drive, states, tasks
from dgm_jax.sweeps.definition import Run, make_run
from dgm_jax.sweeps.planning import plan
from dgm_jax.sweeps.search.study import Search, check, open_study, sampler, suggest
from dgm_jax.sweeps.watch import View
from dgm_jax.training import early_stopping
from dgm_jax.training.workdir import metrics
from dgm_jax.training.workdir.lock import locked


class Trial(NamedTuple):
  """An Optuna trial and its runs, one for each seed."""

  optuna: Any
  runs: tuple[Run, ...]


def _runs(search: Search, number: int, values: axes.Overrides) -> tuple[Run, ...]:
  if "seed" not in search.space:
    return (make_run(search.file, search.common, values)._replace(name=f"trial={number:04d}"),)
  seeds = search.space["seed"].values
  return tuple(
    make_run(search.file, search.common, values | {"seed": s})._replace(name=f"trial={number:04d},seed={s}")
    for s in seeds
  )


class _Searcher:
  """This process's part in a study; its folder says that it is alive."""

  def __init__(self, root: pathlib.Path, search: Search, study: Any):
    self.root, self.search, self.study = root, search, study
    self.name = f"{platform.node()}-{os.getpid()}-{time.time_ns() % 10**9:09d}"
    self.folder = root / "searchers" / self.name
    self.folder.mkdir(parents=True, exist_ok=True)

  def _abandoned(self, trial: Any) -> bool:
    owner = trial.user_attrs.get("owner")
    return owner is None or (owner != self.name and not states.is_alive(self.root / "searchers" / owner))

  def next_batch(self) -> list[Trial]:
    """Trials that others left, then new ones; their runs are in sweep.json.  One searcher at a time."""
    optuna = drive.extra("optuna")
    with filelock.FileLock(self.root / "optuna.lock"):
      known = self.study.get_trials(deepcopy=False)
      running = [t for t in known if t.state == optuna.trial.TrialState.RUNNING]
      taken = [optuna.trial.Trial(self.study, t._trial_id) for t in running if self._abandoned(t)]
      count = min(self.search.batch - len(taken), self.search.trials - len(known))
      for number in range(len(known), len(known) + max(count, 0)):
        self.study.sampler = sampler(optuna, self.search, number)
        taken.append(self.study.ask())
        taken[-1].set_user_attr("owner", self.name)
        suggest(taken[-1], self.search.space)  # the next one is drawn with it in mind
      batch = []
      for trial in taken[: self.search.batch]:
        trial.set_user_attr("owner", self.name)
        batch.append(Trial(trial, _runs(self.search, trial.number, suggest(trial, self.search.space))))
      tasks.write(self.root, definition(self.search, [run for t in batch for run in t.runs]))
    return batch

  def look(self, batch: Sequence[Trial]) -> None:
    """Reports what was evaluated since the last look, and prunes."""
    os.utime(self.folder / "lock")
    for trial in batch:
      if any(states.stop_reason(states.folder(self.root, run.name)) for run in trial.runs):
        continue
      told = len(self.study.get_trials(deepcopy=False)[trial.optuna.number].intermediate_values)
      for i, value in list(enumerate(evaluations(self.root, trial.runs, self.search.metric), 1))[told:]:
        trial.optuna.report(value, i)
        if trial.optuna.should_prune():
          for run in trial.runs:
            path = states.folder(self.root, run.name)
            states.ask_to_stop(
              path, f"pruned by {self.search.pruner} at evaluation {i}: {self.search.metric} {value:.6g}"
            )
          break

  def tell(self, trial: Trial, outcomes: Sequence) -> None:
    """Tells the study what became of a trial; one that was stopped stays open."""
    optuna = drive.extra("optuna")
    state = optuna.trial.TrialState
    found = [states.state(states.folder(self.root, run.name)) for run in trial.runs]
    for s in found:
      if s.note:
        trial.optuna.set_user_attr("note", s.note)
    kinds = {s.state for s in found}
    if kinds == {"finished"}:
      self.study.tell(trial.optuna.number, final_value(self.root, trial.runs, self.search.metric))
    elif kinds & {"pruned", "failed"}:
      self.study.tell(trial.optuna.number, state=state.PRUNED)
    elif all(outcome.status != drive.STOPPED for outcome in outcomes):
      self.study.tell(trial.optuna.number, state=state.FAIL)


def evaluations(root: pathlib.Path, runs: Sequence[Run], metric: str) -> list[float]:
  """The mean over runs of a metric at evaluations 1, 2, ..., as far as all of them are."""
  rows = [[r[metric] for r in metrics.read(states.folder(root, run.name)) if r["step"] and metric in r] for run in runs]
  return [statistics.fmean(values) for values in zip(*rows, strict=False)]


def final_value(root: pathlib.Path, runs: Sequence[Run], metric: str) -> float:
  """The mean over runs of the newest value; of the best one for runs that keep the checkpoint best by this metric."""

  def of(run):
    rows = [r for r in metrics.read(states.folder(root, run.name)) if r["step"] and metric in r]
    best = max(rows, key=lambda row: early_stopping.score(metric, row))
    return (best if run.config["keep_best"] == metric else rows[-1])[metric]

  return statistics.fmean(map(of, runs))


def definition(search: Search, runs: Sequence[Run]) -> tasks.Definition:
  """What sweep.json says of a search."""
  found = tasks.define(search.file, search.common, runs, shlex.join(sys.orig_argv))
  return found._replace(search=search.described())


def run(root: pathlib.Path, search: Search, options: drive.Options, say: Callable[[str], None] = print) -> int:
  """Searches until `trials` trials are done; returns the exit status, see drive.report_outcomes.

  Raises:
    UserError: a mistake; nothing is launched then.
  """
  check(search)
  tasks.check(root, definition(search, []))
  trial_run = _runs(search, 0, {path: d.draw(axes.generator(0)) for path, d in search.space.items() if path != "seed"})
  errors.choose("value of --metric", search.metric, plan.make_in_process(trial_run[:1]).metrics)
  tasks.write(root, definition(search, []))
  study = open_study(root, search)
  searcher, status = _Searcher(root, search, study), drive.FINISHED
  with locked(searcher.folder):
    while batch := searcher.next_batch():
      runs = [run for trial in batch for run in trial.runs]
      outcomes: list = []
      if todo := drive.left(root, runs):
        planned = drive.make_plan(todo, options)
        say(plan.describe(planned, drive.number_of_jobs(options)))
        with filelock.FileLock(root / "optuna.lock"):
          paths = drive.write(root, planned, todo, options, keep=True)
        view = View(root, planned.num_steps, search.metric)
        outcomes = drive.launch(paths, options, view, lambda batch=batch: searcher.look(batch))
      searcher.look(batch)
      for trial in batch:
        searcher.tell(trial, outcomes)
      status = max(status, drive.report_outcomes(root, [run.name for run in runs], outcomes))
      if status == drive.STOPPED:
        return status
  complete = [t for t in study.get_trials(deepcopy=False) if t.value is not None and t.state.name == "COMPLETE"]
  if complete:
    say(f"Best {search.metric} {study.best_value:.6g}, trial {study.best_trial.number}: {study.best_params}")
  return status

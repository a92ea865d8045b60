"""Searches: Optuna proposes values, the planner groups their runs into lanes, the runs' folders give the results.

The runs of a batch of trials (one for each trial and seed) are planned and launched like those of a sweep, and the
value of a trial is the mean of the metric over its seeds.  The study is stored in ROOT/optuna.journal: processes on
several machines may work on one search with a shared ROOT, and a stopped search can be resumed.  Trials whose process
is gone are taken over, and their runs resume from their checkpoints.

Pruning.  At each evaluation i = 1, 2, ... of its runs (a rung; trials are compared at equal i) a trial reports its
value.  If the pruner rejects it, ROOT/runs/NAME/stop.json asks its runs to end: each ends after the current chunk and
keeps its checkpoint, and the other lanes of its program continue.  A run is stopped but never given fewer steps, since
schedules are fractions of num_steps and must be the same in all runs that are compared.

A trial with a failed run (NaN, or an invalid config) counts as pruned, so that the sampler avoids its values; a trial
whose process crashed counts as failed, and the sampler ignores it.
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

from dgm_jax.core import errors, files, locks
from dgm_jax.sweeps import axes, drive, states, tasks
from dgm_jax.sweeps.definition import Run, make_run
from dgm_jax.sweeps.planning import describe, plan
from dgm_jax.sweeps.search.study import Search, check, open_study, sampler, suggest
from dgm_jax.sweeps.watch import View
from dgm_jax.training import early_stopping
from dgm_jax.training.processes import signals
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
  """This process's part of a study; the lock in its folder shows that it is alive."""

  def __init__(self, root: pathlib.Path, search: Search, study: Any):
    self.root, self.search, self.study = root, search, study
    self.name = f"{platform.node()}-{os.getpid()}-{time.time_ns() % 10**9:09d}"
    self.folder = root / "searchers" / self.name
    files.make_folder(self.folder)

  def _abandoned(self, trial: Any) -> bool:
    owner = trial.user_attrs.get("owner")
    return owner is None or (owner != self.name and not states.is_alive(self.root / "searchers" / owner))

  def next_batch(self) -> list[Trial]:
    """Abandoned trials, then new ones; adds their runs to sweep.json.  One searcher at a time."""
    optuna = errors.import_package("optuna", "--search")
    with locks.held(self.root / "optuna.lock"):
      known = self.study.get_trials(deepcopy=False)
      running = [t for t in known if t.state == optuna.trial.TrialState.RUNNING]
      taken = [optuna.trial.Trial(self.study, t._trial_id) for t in running if self._abandoned(t)]
      count = min(self.search.batch - len(taken), self.search.trials - len(known))
      for number in range(len(known), len(known) + max(count, 0)):
        self.study.sampler = sampler(optuna, self.search, number)
        taken.append(self.study.ask())
        taken[-1].set_user_attr("owner", self.name)
        suggest(taken[-1], self.search.space)  # the sampler takes it into account for the next trial
      batch = []
      for trial in taken[: self.search.batch]:
        trial.set_user_attr("owner", self.name)
        batch.append(Trial(trial, _runs(self.search, trial.number, suggest(trial, self.search.space))))
      tasks.write(self.root, definition(self.search, [run for t in batch for run in t.runs]))
    return batch

  def look(self, batch: Sequence[Trial]) -> None:
    """Reports evaluations since the last call, and prunes."""
    os.utime(self.folder / "lock")
    for trial in batch:
      if any(states.stop_reason(states.folder(self.root, run.name)) for run in trial.runs):
        continue
      reported = len(self.study.get_trials(deepcopy=False)[trial.optuna.number].intermediate_values)
      for i, value in list(enumerate(evaluations(self.root, trial.runs, self.search.metric), 1))[reported:]:
        trial.optuna.report(value, i)
        if trial.optuna.should_prune():
          for run in trial.runs:
            path = states.folder(self.root, run.name)
            states.ask_to_stop(
              path, f"pruned by {self.search.pruner} at evaluation {i}: {self.search.metric} {value:.6g}"
            )
          break

  def tell(self, trial: Trial, outcomes: Sequence) -> None:
    """Tells the study the outcome of a trial; a stopped trial stays open."""
    optuna = errors.import_package("optuna", "--search")
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
  """Mean over runs of a metric at evaluations 1, 2, ..., up to the last one that all runs have reached."""
  rows = [[r[metric] for r in metrics.read(states.folder(root, run.name)) if r["step"] and metric in r] for run in runs]
  return [statistics.fmean(values) for values in zip(*rows, strict=False)]


def final_value(root: pathlib.Path, runs: Sequence[Run], metric: str) -> float:
  """Mean over runs of the latest value, or of the best one for runs that keep the best checkpoint by this metric."""

  def of(run):
    rows = [r for r in metrics.read(states.folder(root, run.name)) if r["step"] and metric in r]
    best = max(rows, key=lambda row: early_stopping.score(metric, row))
    return (best if run.config["keep_best"] == metric else rows[-1])[metric]

  return statistics.fmean(map(of, runs))


def definition(search: Search, runs: Sequence[Run]) -> tasks.Definition:
  """The definition of a search, for sweep.json."""
  found = tasks.define(search.file, search.common, runs, shlex.join(sys.orig_argv))
  return found._replace(search=search.described())


def run(root: pathlib.Path, search: Search, options: drive.Options, say: Callable[[str], None] = print) -> int:
  """Searches until `trials` trials are done; returns the exit status, see drive.report_outcomes.

  Raises:
    UserError: an invalid option or run; nothing is launched then.
  """
  check(search)
  sentence = drive.check(options)
  errors.require(not sentence, sentence)
  tasks.check(root, definition(search, []))
  trial_run = _runs(search, 0, {path: d.draw(axes.generator(0)) for path, d in search.space.items() if path != "seed"})
  errors.choose("value of --metric", search.metric, plan.make_in_process(trial_run[:1]).metrics)
  tasks.write(root, definition(search, []))
  study = open_study(root, search)
  searcher, status = _Searcher(root, search, study), drive.FINISHED
  with locked(searcher.folder), signals.requests() as stop:
    while batch := searcher.next_batch():
      runs = [run for trial in batch for run in trial.runs]
      outcomes: list = []
      if todo := drive.left(root, runs):
        planned = drive.make_plan(todo, options)
        say(describe.describe(planned, drive.number_of_jobs(options)))
        with locks.held(root / "optuna.lock"):
          paths = drive.write(root, planned, todo, options, keep=True)
        view = View(root, planned.num_steps, search.metric)
        outcomes = drive.launch(paths, options, view, lambda batch=batch: searcher.look(batch))
      searcher.look(batch)
      for trial in batch:
        searcher.tell(trial, outcomes)
      status = max(status, drive.report_outcomes(root, [run.name for run in runs], outcomes))
      if status == drive.STOPPED:
        return status
      stop.check()  # the runs of the batch may all have ended by themselves
  complete = [t for t in study.get_trials(deepcopy=False) if t.value is not None and t.state.name == "COMPLETE"]
  if complete:
    say(f"Best {search.metric} {study.best_value:.6g}, trial {study.best_trial.number}: {study.best_params}")
  return status

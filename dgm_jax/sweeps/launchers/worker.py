"""Trains the remaining runs of one task of a sweep: lanes of one compiled program, or a single run.

  python -m dgm_jax.sweeps.launchers.worker ROOT/tasks/0003.json

Runs that are finished (results.json), failed (failure.json) or pruned (stop.json) are skipped; the others resume from
their checkpoints.  So a task may be started again whenever its process is gone.

Exit status: 0 all its runs are finished or pruned; 2 invalid task, or full disk; 3 some run reached NaN or Inf, or
is invalid (failure.json in its folder has the error); 4 stopped by SIGTERM or SIGINT, with everything saved.
"""

import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from dgm_jax.core import compilation_cache, errors, files, records
from dgm_jax.training import train
from dgm_jax.training.processes import signals
from dgm_jax.training.workdir import legacy_configs, recovery

_RESUMES = "The next worker of this task resumes."
_LOCK_PATIENCE_S = 60  # for the previous process of the task to end


def read(path: pathlib.Path) -> list[tuple[ConfigDict, pathlib.Path]]:
  """(config, folder) of each run of a task.

  Raises:
    UserError: there is no such task, or it has another format.
  """
  task = files.read_json(path)
  errors.require(isinstance(task, dict) and isinstance(task.get("runs"), list), f"{path} is not a task of a sweep.")
  errors.require(task.get("format") == 1, f"{path} has format {task.get('format')}; this version reads 1.")
  records.check(path, task["runs"], records.RUN_OF_TASK)
  config = lambda run: ConfigDict(legacy_configs.upgraded(run["config"]))
  return [(config(run), (path.parent / run["workdir"]).resolve()) for run in task["runs"]]


def work(path: pathlib.Path) -> int:
  """Runs a task; returns the exit status.

  Raises:
    UserError, StoppedError: see train.train_runs.
  """
  runs = read(path)
  left = [run for run in runs if not _is_over(run[1])]
  _train(left, path.absolute().parents[1])
  return 3 if any((workdir / "failure.json").exists() for _, workdir in runs) else 0


def _is_over(workdir: pathlib.Path) -> bool:
  if any((workdir / name).exists() for name in ("failure.json", "stop.json")):
    return True
  try:
    return recovery.results(workdir) is not None
  except errors.UserError:  # which training says, too
    return False


def _train(runs: list[tuple[ConfigDict, pathlib.Path]], root: pathlib.Path) -> None:
  """Trains runs of the sweep in `root` as lanes; an invalid one gets a failure.json, and the others continue."""
  if not runs:
    return
  try:
    outcomes = _retry_while_locked(lambda: train.train_runs(*map(list, zip(*runs, strict=True)), own_folder=root))
  except (errors.LockedError, errors.DiskFullError):
    raise
  except errors.UserError as e:
    if len(runs) > 1:
      half = len(runs) // 2
      _train(runs[:half], root)
      _train(runs[half:], root)
      return
    [(_, workdir)], outcomes = runs, [e]
    files.make_folder(workdir)
    files.write_json(workdir / "failure.json", {"error": str(e), "step": None})
  for (_, workdir), outcome in zip(runs, outcomes, strict=True):
    if isinstance(outcome, errors.DivergenceError | errors.UserError):
      print(f"error: {workdir.name}: {outcome}", file=sys.stderr, flush=True)


def _retry_while_locked(function: Callable[[], Any]) -> Any:
  """Calls `function` until no other process, which may be about to end, holds the runs."""
  deadline = time.monotonic() + _LOCK_PATIENCE_S
  while True:
    try:
      return function()
    except errors.LockedError:
      if time.monotonic() > deadline:
        raise
      time.sleep(1.0)


def main(arguments: list[str]) -> int:
  """Entry point; prints a user error as one sentence."""
  logging.set_verbosity(logging.WARNING)
  compilation_cache.use()
  try:
    errors.require(len(arguments) == 1, "Give one task: python -m dgm_jax.sweeps.launchers.worker ROOT/tasks/0000.json")
    return work(pathlib.Path(arguments[0]))
  except errors.UserError as e:
    print(f"error: {e}", file=sys.stderr, flush=True)
    return 2
  except errors.StoppedError as e:
    print(f"{e} {_RESUMES}", file=sys.stderr, flush=True)
    return signals.STOPPED


if __name__ == "__main__":
  with signals.requests(_RESUMES):
    sys.exit(main(sys.argv[1:]))

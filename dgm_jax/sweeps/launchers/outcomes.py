"""Outcomes of tasks, for all launchers: exit statuses, attempts, the end of the log.

Exit status of a worker: 0 its runs are finished; 2 user error; 3 a run failed; 4 it was stopped, with its state saved.
Anything else is a crash, including death by a signal (negative, as in subprocess; -9 often means out of memory).
"""

import json
import os
import pathlib
import signal
from collections.abc import Sequence
from typing import NamedTuple

from dgm_jax.core import errors

FINISHED, MISTAKE, DIVERGED, STOPPED = 0, 2, 3, 4
ATTEMPTS = 2


class Outcome(NamedTuple):
  """Outcome of a task.

  Attributes:
    task: the task's file.
    status: exit status of its last worker; also STOPPED if the launcher was stopped before starting one.
    attempts: number of workers, not counting those lost with their node.
    tail: the last lines of its log; empty if status is 0 or 4.
  """

  task: pathlib.Path
  status: int
  attempts: int
  tail: str


def ignore(outcome: Outcome) -> None:
  """Does nothing."""


def crashed(status: int) -> bool:
  """Whether the status is that of a crash, which is worth another attempt."""
  return status not in (FINISHED, MISTAKE, DIVERGED, STOPPED)


def log_of(task: pathlib.Path) -> pathlib.Path:
  """Log file with the output of a task's workers."""
  return task.with_suffix(".log")


def tail(path: pathlib.Path, lines: int = 20, most: int = 16_384) -> str:
  """The last lines of a file, from at most its last `most` bytes; empty if there is no file."""
  try:
    with open(path, "rb") as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(max(0, size - most))
      text = file.read().decode(errors="replace")
  except FileNotFoundError:
    return ""
  return "\n".join(text.splitlines()[-lines:])


def resources(task: pathlib.Path) -> tuple[int, int]:
  """(cpus, gpus) that a task requests."""
  try:
    wanted = json.loads(task.read_text()).get("resources", {})
  except (OSError, ValueError, AttributeError) as e:
    raise errors.UserError(f"{task} cannot be read as a sweep's task: {e}.") from e
  return max(1, wanted.get("cpus", 1)), wanted.get("gpus", 0)


def largest(tasks: Sequence[pathlib.Path]) -> tuple[int, int]:
  """(cpus, gpus) that are enough for any of the tasks."""
  wanted = [resources(task) for task in tasks]
  return max((cpus for cpus, _ in wanted), default=1), max((gpus for _, gpus in wanted), default=0)


def check_jobs(jobs: int | None) -> None:
  """Raises UserError unless `jobs` is None or at least 1."""
  errors.require(jobs is None or jobs >= 1, f"--jobs={jobs}; it must be 1 or more.")


def describe(status: int) -> str:
  """Describes a crash."""
  if status >= 0:
    return f"ended with status {status}"
  why = " (out of memory?)" if status == -signal.SIGKILL else ""
  return f"was killed by {signal.Signals(-status).name}{why}"

"""What becomes of tasks: exit statuses, attempts, the end of the log; the same for all launchers.

A worker's exit status: 0 its runs are finished; 2 a user's mistake; 3 a run diverged; 4 it was stopped, and saved.
Anything else is a crash, and so is death by a signal (negative, as subprocess has it; -9 is what a lack of memory ends
with).
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
  """What became of a task.

  Attributes:
    task: its file.
    status: exit status of its last worker; STOPPED, too, if none was started before the launcher was stopped.
    attempts: how many workers there were, without those that were lost with their node.
    tail: the last lines of its log, unless status is 0 or 4.
  """

  task: pathlib.Path
  status: int
  attempts: int
  tail: str


def ignore(outcome: Outcome) -> None:
  """Does nothing."""


def crashed(status: int) -> bool:
  """Whether it is worth another attempt."""
  return status not in (FINISHED, MISTAKE, DIVERGED, STOPPED)


def log_of(task: pathlib.Path) -> pathlib.Path:
  """Where the output of a task's workers is."""
  return task.with_suffix(".log")


def tail(path: pathlib.Path, lines: int = 20, most: int = 16_384) -> str:
  """The last lines of a file, at most `most` bytes; empty if there is no file."""
  try:
    with open(path, "rb") as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(max(0, size - most))
      text = file.read().decode(errors="replace")
  except FileNotFoundError:
    return ""
  return "\n".join(text.splitlines()[-lines:])


def resources(task: pathlib.Path) -> tuple[int, int]:
  """(cpus, gpus) that a task asks for."""
  try:
    wanted = json.loads(task.read_text()).get("resources", {})
  except (OSError, ValueError, AttributeError) as e:
    raise errors.UserError(f"{task} cannot be read as a sweep's task: {e}.") from e
  return max(1, wanted.get("cpus", 1)), wanted.get("gpus", 0)


def largest(tasks: Sequence[pathlib.Path]) -> tuple[int, int]:
  """(cpus, gpus) that are enough for each of the tasks."""
  wanted = [resources(task) for task in tasks]
  return max((cpus for cpus, _ in wanted), default=1), max((gpus for _, gpus in wanted), default=0)


def check_jobs(jobs: int | None) -> None:
  """Refuses a number of jobs that is none."""
  errors.require(jobs is None or jobs >= 1, f"--jobs={jobs} is not a number of processes; give 1 or more.")


def describe(status: int) -> str:
  """A crash in words."""
  if status >= 0:
    return f"ended with status {status}"
  why = " (out of memory?)" if status == -signal.SIGKILL else ""
  return f"was killed by {signal.Signals(-status).name}{why}"

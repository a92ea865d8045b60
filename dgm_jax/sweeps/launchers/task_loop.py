"""The loop shared by all launchers: starts tasks, retries after a crash, and stops on a signal."""

import pathlib
import signal
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from absl import logging

from dgm_jax.sweeps.launchers import outcomes
from dgm_jax.sweeps.launchers.outcomes import Outcome
from dgm_jax.training.processes import signals


class Backend(Protocol):
  """Runs workers."""

  def submit(self, tasks: Sequence[pathlib.Path]) -> None:
    """Starts a worker for each task."""

  def poll(self) -> dict[pathlib.Path, int]:
    """{task: exit status} of workers that have ended since the last call; waits briefly."""

  def stop(self, hard: bool) -> None:
    """Sends SIGTERM, or SIGKILL if `hard`, to the workers and cancels those not started; does not wait."""


def supervise(
  backend: Backend,
  paths: Sequence[pathlib.Path],
  window: int | None,
  on_change: Callable[[Outcome], None] = outcomes.ignore,
) -> list[Outcome]:
  """Runs all tasks and retries a crashed one once.

  At SIGINT or SIGTERM the workers get SIGTERM, and this function returns when they have ended; a second signal kills
  them.

  Args:
    backend: runs the workers.
    paths: the tasks' files.
    window: maximum number of tasks at a time; None to submit all to the backend at once.
    on_change: called with the outcome of each task as soon as it is known.

  Returns:
    The outcomes in the order of `paths`.
  """
  waiting: deque[pathlib.Path] = deque(paths)
  running: set[pathlib.Path] = set()
  attempts = dict.fromkeys(paths, 0)
  ended: dict[pathlib.Path, Outcome] = {}

  def settle(task: pathlib.Path, status: int) -> None:
    if received and status in (-signal.SIGTERM, -signal.SIGKILL):
      status = outcomes.STOPPED  # the signal came before it could save, or it did not stop
    if outcomes.crashed(status) and attempts[task] < outcomes.ATTEMPTS and not received:
      logging.warning("%s: its worker %s; trying once more.", task, outcomes.describe(status))
      waiting.appendleft(task)
      return
    said = "" if status in (outcomes.FINISHED, outcomes.STOPPED) else outcomes.tail(outcomes.log_of(task))
    ended[task] = Outcome(task, status, attempts[task], said)
    on_change(ended[task])

  with signals.requests() as stop, stop.counting() as received:
    heard = 0
    try:
      while running or (waiting and not received):
        if len(received) > heard:
          heard = len(received)
          backend.stop(hard=heard > 1)
        if not received:
          room = len(waiting) if window is None else window - len(running)
          batch = [waiting.popleft() for _ in range(min(room, len(waiting)))]
          running.update(batch)
          attempts |= {task: attempts[task] + 1 for task in batch}
          backend.submit(batch)
        for task, status in backend.poll().items():
          running.remove(task)
          settle(task, status)
    except BaseException:
      backend.stop(hard=False)
      raise
  return [ended.get(path, Outcome(path, outcomes.STOPPED, attempts[path], "")) for path in paths]

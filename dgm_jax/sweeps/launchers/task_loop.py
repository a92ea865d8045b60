"""The loop of every launcher: which task next, once more after a crash, and what to do at a signal."""

import pathlib
import signal
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from absl import logging

from dgm_jax.sweeps.launchers import outcomes, processes
from dgm_jax.sweeps.launchers.outcomes import Outcome


class Backend(Protocol):
  """Where workers run."""

  def submit(self, tasks: Sequence[pathlib.Path]) -> None:
    """Starts a worker for each."""

  def poll(self) -> dict[pathlib.Path, int]:
    """{task: exit status} of workers that have ended since; waits a moment."""

  def stop(self, hard: bool) -> None:
    """Sends SIGTERM to the workers, SIGKILL if `hard`, and drops what has not started; does not wait."""


def supervise(
  backend: Backend,
  paths: Sequence[pathlib.Path],
  window: int | None,
  on_change: Callable[[Outcome], None] = outcomes.ignore,
) -> list[Outcome]:
  """Has all tasks done, at most `window` at once (None: as many as the backend likes), a crashed one twice.

  SIGINT or SIGTERM to this process: the workers get SIGTERM, it waits for them and returns; at a second one they are
  killed.

  Args:
    backend: where.
    paths: the tasks' files.
    window: see above.
    on_change: called with the outcome of each task when it is known.

  Returns:
    The outcomes in the order of `paths`.
  """
  waiting: deque[pathlib.Path] = deque(paths)
  running: set[pathlib.Path] = set()
  attempts = dict.fromkeys(paths, 0)
  ended: dict[pathlib.Path, Outcome] = {}

  def settle(task: pathlib.Path, status: int) -> None:
    if received and status in (-signal.SIGTERM, -signal.SIGKILL):
      status = outcomes.STOPPED  # before it could answer, or because it did not
    if outcomes.crashed(status) and attempts[task] < outcomes.ATTEMPTS and not received:
      logging.warning("%s: its worker %s; trying once more.", task, outcomes.describe(status))
      waiting.appendleft(task)
      return
    said = "" if status in (outcomes.FINISHED, outcomes.STOPPED) else outcomes.tail(outcomes.log_of(task))
    ended[task] = Outcome(task, status, attempts[task], said)
    on_change(ended[task])

  with processes.counted(signal.SIGINT, signal.SIGTERM) as received:
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

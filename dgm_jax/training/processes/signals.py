"""Signals that ask a run to stop: it completes the current chunk of steps, saves and exits."""

import signal
import threading
import time
from typing import Any, Self

from dgm_jax.core import errors

_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # from a scheduler, and from Ctrl-C
# Seconds within which a second signal is an echo of the first: SLURM signals all processes of a job, and the parents of
# this one pass theirs on.
_ECHO = 1.0


class StopRequest:
  """Context in which SIGTERM and SIGINT do not kill the process: `received` is the name of the signal, or None.

  While `deferred` is false, there is nothing to save, and a signal raises StoppedError at once.  A second signal always
  does, unless it is an echo of the first.  The context does nothing outside the main thread, which receives all
  signals.
  """

  def __init__(self):
    self.received: str | None = None
    self.deferred = False
    self._since = 0.0
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> Self:
    if threading.current_thread() is threading.main_thread():
      self._previous = {number: signal.signal(number, self._receive) for number in _SIGNALS}
    return self

  def __exit__(self, *exception: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _receive(self, number: int, frame: object) -> None:
    del frame
    now = time.monotonic()
    if self.received is None:
      self._since = now
    elif now - self._since < _ECHO:
      return
    at_once = self.received is not None or not self.deferred
    self.received = signal.Signals(number).name
    if at_once:
      raise errors.StoppedError(f"Stopped by {self.received}; what was saved before is kept.")

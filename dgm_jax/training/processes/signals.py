"""Signals that ask a run to stop: it ends the chunk it is in, saves and leaves."""

import signal
import threading
import time
from typing import Any, Self

from dgm_jax.core import errors

_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # a scheduler's, and Ctrl-C's
# Seconds in which a second signal is the first one again: SLURM signals all processes of a job, and then those that
# started this one pass theirs on.
_ECHO = 1.0


class StopRequest:
  """Within this context SIGTERM and SIGINT do not kill: `received` names the first one, or is None.

  Outside `deferred` parts, where nothing is to be saved, it raises StoppedError at once, and so does a second signal
  everywhere, unless it is an echo of the first.  In a thread other than the main one, which gets no signals, the
  context does nothing.
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

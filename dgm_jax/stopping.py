"""Signals that ask a run to stop: it ends the chunk it is in, saves and leaves."""

import signal
import threading
from typing import Any, Self

from dgm_jax import errors

_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # a scheduler's, and Ctrl-C's


class StopRequest:
  """Within this context SIGTERM and SIGINT do not kill: `received` names the first one, or is None.

  Outside `deferred` parts, where nothing is to be saved, it raises StoppedError at once, and so does a second signal
  everywhere.  In a thread other than the main one, which gets no signals, the context does nothing.
  """

  def __init__(self):
    self.received: str | None = None
    self.deferred = False
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
    at_once = self.received is not None or not self.deferred
    self.received = signal.Signals(number).name
    if at_once:
      raise errors.StoppedError(f"Stopped by {self.received}; what was saved before is kept.")

"""Signals that ask a process to stop: they set a flag, which its loop reads where everything can be saved.

A handler that raises an exception does so inside whatever runs, also while another library holds its locks or joins its
threads; closing that library then waits for ever.  So no handler here raises.  A thread hears the signals, too, even
during a compilation, which the main thread's handlers have to wait for, and ends a process that does not stop in time.
"""

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from dgm_jax.core import errors

GRACE_S = 30.0  # how long a process may take to stop; SLURM and Kubernetes kill it after as long
STOPPED = 4  # exit status
_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # from a scheduler, and from Ctrl-C
# Seconds within which a second signal is an echo of the first: SLURM signals all processes of a job, and the parents of
# this one pass theirs on.
_ECHO = 1.0
_LOOK = 0  # no signal: wakes the thread
_CLOSING_S = 5.0  # how long loggers may take to close


class StopRequest:
  """What SIGTERM and SIGINT do from `begin` on; before, they have their usual effect.

  While `deferred` is true they set `received`, and the loop is to save and to call `check`.  Else there is nothing to
  save.  Then, at a second signal that is no echo of the first, and `grace` seconds after the first one, the process
  ends at once with status 4 and a sentence.  Without `resume` the process is not ours to end, but a notebook, say:
  there the signal has its usual effect instead, and no time is set.

  Outside the main thread, which alone may set handlers, nothing is ever received.

  Attributes:
    received: name of the first signal, or None.
    deferred: whether there is something to save.
    grace: seconds.
    kept: what is saved, as a clause.
    closing: called before the process ends if there is nothing to save: what others buffer, such as loggers.
  """

  def __init__(self, resume: str = ""):
    self.received: str | None = None
    self.deferred, self.grace, self.kept = False, GRACE_S, "what was saved before is kept"
    self.closing: list[Callable[[], None]] = []
    self._resume, self._counted = resume, None
    self._first: float | None = None  # when the first signal came
    self._deadline: float | None = None
    self._previous: dict[int, Any] = {}
    self._listener: threading.Thread | None = None

  def begin(self, grace: float | None = None) -> None:
    """From now on signals have the effect that the class describes."""
    self.grace = grace or self.grace
    if threading.current_thread() is not threading.main_thread():
      return
    if self._resume and not self._listener:
      self._reader, self._writer = os.pipe()
      os.set_blocking(self._writer, False)
      self._outer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
      self._listener = threading.Thread(target=self._listen, daemon=True)
      self._listener.start()
    for number in _SIGNALS:
      handler = signal.getsignal(number)
      if handler not in (signal.SIG_IGN, self._handle):  # `nohup` and the shell's `&` make processes ignore some
        self._previous[number] = handler or signal.SIG_DFL  # None: it was set in C
        signal.signal(number, self._handle)

  def check(self) -> None:
    """Raises StoppedError if a signal was received; to be called where it is safe to stop."""
    if self.received:
      raise errors.StoppedError(f"Stopped by {self.received}; {self.kept}.")

  @contextlib.contextmanager
  def counting(self) -> Iterator[list[int]]:
    """Context in which each signal is only appended to the list: what waits for other processes passes them on."""
    self.begin()
    self._counted = []
    try:
      yield self._counted
    finally:
      self._counted = None
      if self.received and self._listener:
        self._deadline = time.monotonic() + self.grace
        os.write(self._writer, bytes([_LOOK]))

  def close(self) -> None:
    """Gives signals back their former effect."""
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous = {}
    if self._listener:
      signal.set_wakeup_fd(self._outer)
      listener, self._listener = self._listener, None
      os.write(self._writer, bytes([_LOOK]))
      listener.join()
      os.close(self._reader)
      os.close(self._writer)

  def _handle(self, number: int, frame: object) -> None:
    """In the main thread."""
    del frame
    now, name = time.monotonic(), signal.Signals(number).name
    if self._counted is not None:
      self._counted.append(number)
      self.received = self.received or name
    elif self._resume:
      self.received = self.received or name  # all else is done by the thread
    elif self.deferred and self._first is None:
      self._first, self.received = now, name
    elif self._first is None or now - self._first >= _ECHO:
      signal.signal(number, self._previous.pop(number))
      os.kill(os.getpid(), number)

  def _listen(self) -> None:
    """In the thread."""
    while True:
      left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
      if not select.select([self._reader], [], [], left)[0]:
        self._end(f" and not done within {self.grace:g} s")
      for number in os.read(self._reader, 64):
        if self._listener is None:
          return
        if number in _SIGNALS:
          self._hear(signal.Signals(number).name)
        elif number != _LOOK and self._outer >= 0:  # of an event loop around us
          with contextlib.suppress(OSError):
            os.write(self._outer, bytes([number]))

  def _hear(self, name: str) -> None:
    now, first = time.monotonic(), self._first is None
    self._first, self.received = now if first else self._first, self.received or name
    if self._counted is not None:
      return
    if first and self.deferred:
      self._deadline = now + self.grace
      _say(f"{name}: stopping within {self.grace:g} s; a second signal ends the process at once.")
    elif first or now - self._first >= _ECHO:
      self._end()

  def _end(self, why: str = "") -> None:
    """Ends the process from the thread, whatever the main thread does."""
    if not self.deferred:
      closing = threading.Thread(target=lambda: [close() for close in self.closing], daemon=True)
      closing.start()
      closing.join(_CLOSING_S)
    for child in multiprocessing.active_children():
      child.kill()
    _say(f"error: Stopped by {self.received}{why}; {self.kept}. {self._resume}")
    os._exit(STOPPED)


def _say(text: str) -> None:
  """Prints to stderr: not through sys.stderr, whose lock the main thread may hold, nor where nobody reads any more."""
  with contextlib.suppress(OSError):
    if select.select([], [2], [], 1.0)[1]:
      os.write(2, f"{text}\n".encode())


_CURRENT: list[StopRequest] = []  # at most one


@contextlib.contextmanager
def requests(resume: str = "") -> Iterator[StopRequest]:
  """Context with the process's StopRequest; within another one it is that one.

  Args:
    resume: a sentence that says how to continue, of a command, whose process may be ended; "" if it may not.
  """
  if threading.current_thread() is not threading.main_thread():
    yield StopRequest()
  elif _CURRENT:
    yield _CURRENT[0]
  else:
    _CURRENT.append(stop := StopRequest(resume))
    try:
      yield stop
    finally:
      _CURRENT.clear()
      ending = stop.received and isinstance(sys.exception(), SystemExit)
      if not ending:  # else what Python does at its exit has to be done in time, too
        stop.close()

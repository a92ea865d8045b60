"""What SIGTERM and SIGINT do before, during and after the part of a process in which there is something to save."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from dgm_jax.core import errors
from dgm_jax.training.processes import signals
from helpers import tables

pytestmark = pytest.mark.smoke

# Works in C without a look at Python, as a compilation does: the handlers of the main thread have to wait.
_STUCK = "hashlib.pbkdf2_hmac('sha512', b'x' * 99, b'x', 200_000_000)"
_SCRIPT = """
import hashlib, sys, time
from dgm_jax.training.processes import signals
with signals.requests("Call it again.") as stop:
  {before}
  print("ready", flush=True)
  {work}
  stop.check()
"""
CASES = {  # what precedes the work, the work, the signals, the exit status, what is said
  "before begin": ("pass", "time.sleep(60)", 1, -signal.SIGTERM, ""),
  "nothing to save": (
    "stop.begin()",
    _STUCK,
    1,
    4,
    "error: Stopped by SIGTERM; what was saved before is kept. Call it",
  ),
  "out of time": (
    "stop.begin(0.5); stop.deferred = True",
    _STUCK,
    1,
    4,
    "Stopped by SIGTERM and not done within 0.5 s;",
  ),
  "a second one": ("stop.begin(); stop.deferred = True", _STUCK, 2, 4, "error: Stopped by SIGTERM; what was saved"),
  "an exit that hangs": (
    "stop.begin(0.5); stop.deferred = True",
    "time.sleep(0.3)\n  import atexit; atexit.register(time.sleep, 60); sys.exit(4)",
    1,
    4,
    "not done within 0.5 s",
  ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_process_always_ends(case):
  before, work, count, status, sentence = CASES[case]
  script = _SCRIPT.format(before=before, work=work)
  process = subprocess.Popen(
    [sys.executable, "-c", script], cwd=tables.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )
  process.stdout.readline()
  process.send_signal(signal.SIGTERM)
  if count > 1:
    time.sleep(signals._ECHO + 0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
  try:
    _, printed = process.communicate(timeout=5)
  finally:
    process.kill()
  assert (process.returncode, sentence in printed) == (status, True), printed
  assert "Traceback" not in printed


def test_a_signal_sets_a_flag_and_its_echo_does_not_count_as_a_second_one(monkeypatch):
  """SLURM signals all processes of a job, and the parent process passes its signal on."""
  with signals.requests() as stop, signals.requests() as same:
    assert same is stop
    stop.begin()
    stop.deferred = True
    for _ in range(3):
      os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(errors.StoppedError, match="Stopped by SIGINT; what was saved before is kept"):
      stop.check()
    monkeypatch.setattr(signals, "_ECHO", 0.0)
    with pytest.raises(KeyboardInterrupt):  # not our process: the usual effect
      os.kill(os.getpid(), signal.SIGINT)
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_are_counted_for_other_processes_and_a_flag_remains():
  with signals.requests() as stop:
    with stop.counting() as counted:
      for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert counted == [signal.SIGTERM, signal.SIGINT]
    with pytest.raises(errors.StoppedError, match="SIGTERM"):
      stop.check()


def test_an_ignored_signal_stays_ignored():
  """A shell's `&` and nohup make a process ignore signals, which then are not meant for it."""
  previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
  with contextlib.ExitStack() as stack:
    stack.callback(signal.signal, signal.SIGINT, previous)
    stop = stack.enter_context(signals.requests())
    stop.begin()
    stop.deferred = True
    os.kill(os.getpid(), signal.SIGINT)
    stop.check()

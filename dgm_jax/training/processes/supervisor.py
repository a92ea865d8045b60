"""A parent process for a process that trains together with others.

If another process of the run dies, JAX's runtime may end this one in C++ without a message.  So it runs as a child, and
its parent, which does not use JAX, reports what happened.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_CHILD = "DGM_SUPERVISED"
LOST = 5  # exit status: another process of the run is gone
_OWN = (0, 1, 2, 3, 4, LOST, 130)  # exit statuses of `main` itself


def is_child() -> bool:
  """Whether this process runs under a supervising parent."""
  return _CHILD in os.environ


def end_with_parent(parent: int | None = None) -> None:
  """Makes the system send SIGTERM to this process when its parent dies, if the system supports that.

  Args:
    parent: its process id; None in a process that run_as_child started.
  """
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
  if str(parent or os.environ[_CHILD]) != str(os.getppid()):  # the parent has died already
    sys.exit(LOST)


def run_as_child(resume: str) -> int:
  """Runs this command as a child process and returns its exit status; signals are passed on.

  Args:
    resume: the command that resumes the run, for messages.
  """
  child = subprocess.Popen(
    [sys.executable, *sys.orig_argv[1:]], env=os.environ | {_CHILD: str(os.getpid())}, start_new_session=True
  )
  passed_on: list[int] = []

  def pass_on(number, frame):
    del frame
    passed_on.append(number)
    child.send_signal(number)

  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, pass_on)
  status = child.wait()
  if status in _OWN:
    return status
  if -status in passed_on:  # before there was something to save
    print(f"error: Stopped by {signal.Signals(-status).name}. The same command resumes:\n  {resume}", file=sys.stderr)
    return 4
  how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
  print(
    f"error: This process of the run {how}, as happens when another one died. What was saved is kept; the same "
    f"command, in all processes, resumes:\n  {resume}",
    file=sys.stderr,
    flush=True,
  )
  return LOST

"""Becomes a worker: python -I -S child.py PARENT CORES PATIENCE COMMAND... TASK, run by processes.start.

A separate program, not a function called between fork and exec, because the processes that start workers have threads
(JAX's, Ray's).  It needs only the standard library and starts in hundredths of a second.
"""

import ctypes
import fcntl
import json
import os
import pathlib
import platform
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def die_with(parent: int) -> None:
  """Makes the kernel send SIGTERM when the parent ends, even by SIGKILL, so that the worker saves and stops.

  Strictly, when the thread that started this process ends (prctl(2)); that thread waits for the worker.
  """
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent has already ended
      sys.exit(4)


def locks(task: pathlib.Path) -> list[pathlib.Path]:
  """The lock files of a task's runs; none if the file is invalid, which the worker will report."""
  try:
    return [task.parent / run["workdir"] / "lock" for run in json.loads(task.read_text())["runs"]]
  except (OSError, ValueError, KeyError, TypeError):
    return []


def holder(lock: pathlib.Path) -> str | None:
  """The content of the lock file, which describes its holder; None if no process holds the lock."""
  try:
    # a link is not followed, and a pipe does not block
    with open(os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
      try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
      except BlockingIOError:
        return file.read() or "unknown"
  except OSError:  # the run does not exist yet, or the file system has no locks
    pass
  return None


def wait_for_locks(task: pathlib.Path, patience: float) -> None:
  """Waits while another process holds one of the task's runs, at most `patience` seconds.

  It may be the previous worker of the same task, which is saving because its launcher or node is gone.
  """
  deadline = time.monotonic() + patience
  for lock in locks(task):
    reported = False
    while (who := holder(lock)) is not None and time.monotonic() < deadline:
      if not reported:
        print(f"# {lock.parent} is held by {who}; waiting", flush=True)
      reported = True
      time.sleep(0.2)


def main(parent: str, cores: str, patience: str, *command: str) -> None:
  """Binds this process to its parent and its cores, waits until its runs are free, and becomes the worker."""
  die_with(int(parent))
  signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # SLURM warns all processes of a job; the parent reacts
  if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, map(int, cores.split(",")))
  print(
    f"# {time.strftime('%Y-%m-%d %H:%M:%S')} {platform.node()}, process {os.getpid()}, cores {cores or 'any'}",
    flush=True,
  )
  wait_for_locks(pathlib.Path(command[-1]), float(patience))
  os.execvp(command[0], command)


if __name__ == "__main__":
  main(*sys.argv[1:])

"""Becomes a worker: python -I -S child.py PARENT CORES PATIENCE COMMAND... TASK, run by processes.start.

A program of its own, instead of a function called between fork and exec, because the processes that start workers have
threads (JAX's, Ray's).  It needs the standard library alone, and starts in hundredths of a second.
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

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def die_with(parent: int) -> None:
  """Has the kernel send SIGTERM when the parent ends, even by SIGKILL: the worker saves and stops.

  More exactly, when the thread ends that started this process (prctl(2)); it waits for the worker.
  """
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended already
      sys.exit(4)


def locks(task: pathlib.Path) -> list[pathlib.Path]:
  """The lock files of a task's runs; none if the file says nothing of them: that is for the worker to report."""
  try:
    return [task.parent / run["workdir"] / "lock" for run in json.loads(task.read_text())["runs"]]
  except (OSError, ValueError, KeyError, TypeError):
    return []


def holder(lock: pathlib.Path) -> str | None:
  """What the lock's file says of the process that holds it, None if none does."""
  try:
    with open(lock) as file:
      try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
      except BlockingIOError:
        return file.read() or "unknown"
  except OSError:  # there is no such run yet, or no locks on this file system
    pass
  return None


def wait_for_locks(task: pathlib.Path, patience: float) -> None:
  """Waits while another process has one of the task's runs, at most `patience` seconds.

  That may be the last worker of the same task, which saves because its launcher or node is gone.
  """
  deadline = time.monotonic() + patience
  for lock in locks(task):
    told = False
    while (who := holder(lock)) is not None and time.monotonic() < deadline:
      if not told:
        print(f"# {lock.parent} is held by {who}; waiting", flush=True)
      told = True
      time.sleep(0.2)


def main(parent: str, cores: str, patience: str, *command: str) -> None:
  """Binds this process to its parent and its cores, waits for its runs to be free, and becomes the worker."""
  die_with(int(parent))
  signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # SLURM's warning goes to all processes of a job: the parent acts on it
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

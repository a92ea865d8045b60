"""Worker processes of all launchers: starting, ending and signalling them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import machine, outcomes

WORKER = (sys.executable, "-m", "dgm_jax.sweeps.launchers.worker")
PATIENCE = 600.0  # seconds for the previous worker of a task to save and exit
_ROOT = pathlib.Path(__file__).parents[3]
_CHILD = pathlib.Path(__file__).with_name("child.py")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def python_path() -> str:
  """PYTHONPATH that begins with this dgm_jax, valid in any working directory."""
  others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
  return os.pathsep.join(dict.fromkeys([str(_ROOT), *others]))


def start(
  worker: Sequence[str],
  task: pathlib.Path,
  cores: Sequence[int] = (),
  env: Mapping[str, str] | None = None,
  cwd: str | None = None,
  patience: float = PATIENCE,
) -> subprocess.Popen:
  """Starts `worker` on a task, pinned to `cores` (empty: not pinned), appending its output to the task's log.

  It leads its own process group, so that Ctrl-C does not reach it, gets SIGTERM when this process ends, and waits at
  most `patience` seconds for other processes to release its runs.
  """
  task = task.absolute()
  env = os.environ | (env or {}) | {"PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}
  if cores:  # XLA counts the cores itself
    env |= dict.fromkeys(_THREADS, str(len(cores)))
  command = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), ",".join(map(str, cores)), str(patience)]
  with open(outcomes.log_of(task), "ab") as log:
    return subprocess.Popen(
      [*command, *worker, str(task)],
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      env=env,
      cwd=cwd,
      process_group=0,
    )


def kill_group(process: subprocess.Popen) -> None:
  """Sends SIGKILL to a worker and its children, which may hold its locks and its memory."""
  with contextlib.suppress(ProcessLookupError, PermissionError):
    os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def counted(*numbers: int) -> Iterator[list[int]]:
  """Within this context the signals only append their numbers to the list.

  Outside the main thread, which alone receives signals, the list stays empty.
  """
  received: list[int] = []
  if threading.current_thread() is not threading.main_thread():
    yield received
    return
  previous = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in numbers}
  try:
    yield received
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


def run(
  worker: Sequence[str],
  task: pathlib.Path,
  cpus: int,
  env: Mapping[str, str] | None = None,
  cwd: str | None = None,
  received: Sequence[int] = (),
  patience: float = PATIENCE,
) -> int:
  """Runs `worker` on a task, on cores that are free, and returns its exit status.

  The worker gets SIGTERM when `received` is no longer empty (see counted), or at a KeyboardInterrupt, with which Ray
  cancels tasks.  If no cores can be borrowed, the log says why.
  """
  asked = False
  with contextlib.ExitStack() as stack:
    try:
      cores = stack.enter_context(machine.borrowed(cpus))
    except errors.UserError as e:
      with open(outcomes.log_of(task), "a") as log:
        print(f"error: {e}", file=log)
      return outcomes.MISTAKE
    process = start(worker, task, cores, env, cwd if cwd and os.path.isdir(cwd) else None, patience)
    try:
      while True:
        try:
          if received and not asked:
            raise KeyboardInterrupt
          if (status := process.poll()) is not None:
            break
          time.sleep(0.1)
        except KeyboardInterrupt:
          asked = True
          process.terminate()
    finally:
      process.terminate()  # no effect if it has ended
  if outcomes.crashed(status):
    kill_group(process)
  return outcomes.STOPPED if asked and status == -signal.SIGTERM else status

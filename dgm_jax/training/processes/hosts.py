"""Several processes, usually one per host, that train one run together: who writes, who waits, how they agree.

With one process, nothing is communicated.  Communication goes through the devices (gloo on CPU, NCCL on GPU).
"""

import contextlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from dgm_jax.core import errors

_HEARTBEAT_S = 30  # a process that is silent for this long is considered dead
_PATIENCE_S = 20  # how long a process that ends waits for the others to end
_LONGEST_SENTENCE = 4096


def expected(environment: dict[str, str] = os.environ) -> bool:
  """Whether this process was started as one of several: by SLURM's srun, or on a slice of several TPU hosts."""
  tasks = environment.get("SLURM_STEP_NUM_TASKS", "")
  slurm = tasks.isdecimal() and int(tasks) > 1 and "SLURM_PROCID" in environment
  return slurm or "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def connect(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> None:
  """Joins the other processes; JAX detects what is not given (SLURM, Open MPI, TPU slices, Kubernetes).

  Raises:
    UserError: the other processes cannot be detected, or do not answer.
  """
  given = (coordinator, num_processes, process_id)
  errors.require(
    all(v is None for v in given) or all(v is not None for v in given),
    "--coordinator=HOST:PORT, --num_processes and --process_id go together.",
  )
  if num_processes is not None:
    errors.require(num_processes >= 1, f"--num_processes = {num_processes}; it must be 1 or more.")
    errors.require(
      0 <= process_id < num_processes, f"--process_id = {process_id}; it must be in 0 .. {num_processes - 1}."
    )
    errors.require(":" in coordinator, f"--coordinator = {coordinator!r}; it must be HOST:PORT of process 0.")
  previous = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would only run after the wait
  try:
    jax.distributed.initialize(
      *given, heartbeat_timeout_seconds=_HEARTBEAT_S, initialization_timeout=300, shutdown_timeout_seconds=_PATIENCE_S
    )
  except (ValueError, RuntimeError) as e:
    reason = (str(e).strip() or type(e).__name__).splitlines()[0]
    raise errors.UserError(
      f"The other processes cannot be reached: {reason} Give --coordinator=HOST:PORT (of process 0), --num_processes "
      "and --process_id on each, or start them with srun."
    ) from e
  finally:
    signal.signal(signal.SIGINT, previous)
    if signal.getsignal(signal.SIGTERM) in (None, signal.SIG_DFL):
      signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX's preemption service would swallow it


def is_first() -> bool:
  """Whether this process is the one that writes logs, figures and results."""
  return jax.process_index() == 0


def on_first_host(function: Callable[[], None]) -> None:
  """Calls `function` in the first process; the others wait, and raise the same UserError."""
  sentence = b""
  if is_first():
    try:
      function()
    except errors.UserError as e:
      if jax.process_count() == 1:
        raise
      sentence = str(e).encode()[:_LONGEST_SENTENCE]
  if jax.process_count() > 1:
    padded = jax.device_get(jnp.array(list(sentence.ljust(_LONGEST_SENTENCE, b"\0"))))
    received = multihost_utils.broadcast_one_to_all(padded)
    if sentence := bytes(received.tolist()).rstrip(b"\0"):
      raise errors.UserError(sentence.decode(errors="ignore"))


def any_of(*flags: bool) -> tuple[bool, ...]:
  """For each flag whether any process has set it, so that all processes react at the same step."""
  if jax.process_count() == 1:
    return flags
  return tuple(bool(of_all.any()) for of_all in multihost_utils.process_allgather(flags))


def wait_for(path: pathlib.Path) -> None:
  """Waits for a file of the first process.  If that process dies meanwhile, JAX ends this one."""
  while not path.exists():
    time.sleep(0.5)


def depart(status: int, orderly: bool = True) -> None:
  """Ends this process if it is one of several; else does nothing.

  Args:
    status: the exit status.
    orderly: whether to wait briefly for the others to end, so that none considers this one dead.
  """
  if jax.process_count() == 1:
    return
  if orderly:
    with contextlib.suppress(Exception):  # the others are gone or busy; the reason to end was printed
      jax.distributed.shutdown()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)  # without Python's exit handlers, which wait for the others, too

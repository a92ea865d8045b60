"""Runs sweeps on this machine: one process per core, or one per GPU."""

import pathlib
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import machine, outcomes, processes, task_loop
from dgm_jax.sweeps.launchers.outcomes import Outcome


class Slot(NamedTuple):
  """Resources for one process at a time."""

  cores: tuple[int, ...]
  env: dict[str, str]


def launch(
  paths: Sequence[pathlib.Path],
  *,
  jobs: int | None = None,
  on_change: Callable[[Outcome], None] = outcomes.ignore,
  worker: Sequence[str] = processes.WORKER,
  patience: float = processes.PATIENCE,
) -> list[Outcome]:
  """Runs tasks in processes on this machine; see task_loop.supervise for signals and crashes.

  Args:
    paths: the tasks' files.
    jobs: number of concurrent processes; by default as many as fit, given the cores or GPUs that a task requests.
    on_change: called with the outcome of each task.
    worker: command of a worker; the task's file is appended.
    patience: seconds to wait for other processes that hold a task's runs.
  """
  outcomes.check_jobs(jobs)
  if not paths:
    return []
  places = slots(jobs, *outcomes.largest(paths))
  return task_loop.supervise(_Processes(places, worker, patience), paths, len(places), on_change)


def slots(jobs: int | None, cpus: int, gpus: int) -> list[Slot]:
  """Divides this machine among `jobs` processes.

  Args:
    jobs: number of processes, None for as many as fit; if there are more than cores, processes share cores.
    cpus: cores per process, if `jobs` is None and there are no GPUs.
    gpus: GPUs per process; at least one if the machine has GPUs.

  Raises:
    UserError: there are too few GPUs.
  """
  cores = machine.share(machine.cores(), machine.quota())
  devices = machine.gpus()
  if devices:
    each = max(1, gpus)
    count = len(devices) // each
    errors.require(count > 0, f"A task asks for {each} GPUs, but only {len(devices)} are available here.")
    errors.require(
      jobs is None or jobs <= count, f"--jobs={jobs} is more than this machine's GPUs allow; at most {count}."
    )
    envs = [{"CUDA_VISIBLE_DEVICES": ",".join(devices[i * each : (i + 1) * each])} for i in range(jobs or count)]
  else:
    errors.require(gpus == 0, f"A task asks for {gpus} GPUs, but none are available here.")
    tpu = machine.has_tpu()
    errors.require(not tpu or jobs in (None, 1), f"--jobs={jobs}: only one process at a time can use a TPU.")
    envs = [{}] * (1 if tpu else jobs or max(1, len(cores) // cpus))
  n = len(envs)
  parts = [cores[i * len(cores) // n : (i + 1) * len(cores) // n] or (cores[i % len(cores)],) for i in range(n)]
  return [Slot(part, env) for part, env in zip(parts, envs, strict=True)]


class _Processes:
  """The backend: one process in each slot."""

  def __init__(self, places: list[Slot], worker: Sequence[str], patience: float):
    self._free, self._worker, self._patience = places[::-1], worker, patience
    self._running: dict[pathlib.Path, tuple[subprocess.Popen, Slot]] = {}

  def submit(self, tasks: Sequence[pathlib.Path]) -> None:
    for task in tasks:
      slot = self._free.pop()
      try:
        process = processes.start(self._worker, task, slot.cores, slot.env, patience=self._patience)
      except OSError as e:
        raise errors.UserError(f"{task}: no worker could be started ({e}).") from e
      self._running[task] = process, slot

  def poll(self) -> dict[pathlib.Path, int]:
    time.sleep(0.05)
    ended = {task: process.returncode for task, (process, _) in self._running.items() if process.poll() is not None}
    for task, status in ended.items():
      process, slot = self._running.pop(task)
      self._free.append(slot)
      if outcomes.crashed(status):
        processes.kill_group(process)
    return ended

  def stop(self, hard: bool) -> None:
    for process, _ in self._running.values():
      if hard:
        processes.kill_group(process)
      else:
        process.terminate()

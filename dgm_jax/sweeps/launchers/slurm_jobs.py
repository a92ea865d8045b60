"""SLURM jobs, or submitit's local stand-in for them: what a job runs, how jobs are watched and stopped."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import outcomes, processes

ABSENT = errors.missing_package(ModuleNotFoundError(name="submitit"), "--launcher=slurm")
_ARRAY = 1000  # jobs per array; SLURM's MaxArraySize is 1001 unless an administrator changed it
_LOST = 5  # polls in which a job is not queued and has no result, before it counts as dead


class Work:
  """The function of a job: runs a worker on one task."""

  def __init__(self, task: pathlib.Path, cpus: int, worker: Sequence[str], cwd: str, patience: float):
    self._args = worker, task, cpus, None, cwd
    self._patience = patience

  def __call__(self) -> tuple[int, bool]:
    """(exit status of the worker, whether its time limit stopped it and the job could not be requeued)."""
    with processes.counted(signal.SIGTERM, signal.SIGUSR2) as received:
      status = processes.run(*self._args, received=received, patience=self._patience)
    time_up = status == outcomes.STOPPED and signal.SIGUSR2 in received
    if time_up:
      try:
        signal.getsignal(signal.SIGUSR2)(signal.SIGUSR2, None)  # submitit's handler requeues the job and exits
      except Exception as e:  # requeueing is forbidden, or the job was requeued too often
        print(e, flush=True)
    return status, time_up

  def checkpoint(self) -> Any:
    """What to run when the job starts again; called by submitit."""
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(self)


class Jobs:
  """The backend of task_loop.supervise: one job for each task."""

  def __init__(
    self,
    folder: pathlib.Path,
    cluster: str,
    restarts: int,
    common: dict[str, Any],
    options: dict[str, Any],
    work: Sequence[Any],
  ):
    try:
      import submitit
    except ImportError as e:
      raise errors.UserError(ABSENT) from e
    self._submitit, self.folder, self._work, self._local = submitit, folder, work, cluster == "local"
    self._restarts: dict[pathlib.Path, int] = defaultdict(lambda: restarts)
    self._missing: dict[pathlib.Path, int] = defaultdict(int)
    self._jobs: dict[pathlib.Path, Any] = {}
    self._stopping = False
    options = {k: v for k, v in options.items() if v is not None}
    known = submitit.SlurmExecutor._valid_parameters()
    if others := {k: options.pop(k) for k in options.keys() - known}:
      options["additional_parameters"] = others
    options["setup"] = [f"export PYTHONPATH={shlex.quote(processes.python_path())}"]
    try:
      self._executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=restarts)
      self._executor.update_parameters(**common, **{f"slurm_{k}": v for k, v in options.items()})
    except (RuntimeError, ValueError, NameError, AssertionError, TypeError) as e:
      raise errors.UserError(f"--launcher=slurm cannot be used: {_words(e)}") from e

  def submit(self, tasks: Sequence[pathlib.Path]) -> None:
    alike = defaultdict(list)
    for task in tasks:
      alike[outcomes.resources(task)].append(task)
    for (cpus, gpus), group in alike.items():
      # since SLURM 22.05 srun does not inherit the number of CPUs from sbatch (see its release notes)
      counts = {"cpus_per_task": cpus, "slurm_srun_args": [f"--cpus-per-task={cpus}"]}
      self._executor.update_parameters(**counts, gpus_per_node=gpus or None)
      for start in range(0, len(group), _ARRAY):
        part = group[start : start + _ARRAY]
        self._jobs.update(zip(part, self._submit(part, cpus), strict=True))

  def _submit(self, tasks: Sequence[pathlib.Path], cpus: int) -> list[Any]:
    environment = self._submitit.helpers.environment_variables(PYTHONPATH=processes.python_path())
    try:
      with environment, self._executor.batch():
        return [self._executor.submit(Work(task.absolute(), cpus, *self._work)) for task in tasks]
    except Exception as e:  # of submitit, or of a command that it runs
      raise errors.UserError(f"The jobs could not be submitted: {_words(e)}") from e

  def poll(self) -> dict[pathlib.Path, int]:
    time.sleep(0.2 if self._local else 2)
    ids = None if self._local else queue()
    ended = {}
    for task, job in list(self._jobs.items()):
      if not job.done() if self._local else ids is None or job.job_id in ids:
        self._missing.pop(task, None)
      elif (status := self._status(task, job)) is not None:
        del self._jobs[task]
        ended[task] = status
    return ended

  def _status(self, task: pathlib.Path, job: Any) -> int | None:
    """Exit status of a job that has left the queue; None if it is not known yet, or the job was resubmitted."""
    if not job.paths.result_pickle.exists():  # the job was killed, or the network file system lags behind
      self._missing[task] += 1
      return None if self._missing[task] < (2 if self._stopping else _LOST) else -signal.SIGKILL
    try:
      status, time_up = job.result()
    except Exception as e:  # raised in the job, outside the worker
      with open(outcomes.log_of(task), "a") as log:
        print(f"# job {job.job_id}: {e}", file=log)
      return 1
    if time_up and not self._stopping and self._restarts[task] > 0:
      self._restarts[task] -= 1
      self.submit([task])
      return None
    return status

  def stop(self, hard: bool) -> None:
    self._stopping = True
    ids = [job.job_id for job in self._jobs.values()]
    if self._local:  # a job's id is that of submitit's controller process, which forwards signals
      for number in ids:
        try:
          os.kill(int(number), signal.SIGINT if hard else signal.SIGTERM)
        except ProcessLookupError:
          continue
    elif hard:
      _scancel(*ids)
    else:  # a plain scancel would give running jobs only KillWait seconds (default 30) to save
      _scancel("--state=PENDING", *ids)
      _scancel("--signal=TERM", *ids)

  def numbers(self) -> list[str]:
    """Numbers of the jobs, as squeue prints them."""
    return [job.job_id for job in self._jobs.values()]

  def how_to_look(self) -> str:
    """Text with the numbers of the jobs and the commands that show and stop them."""
    numbers = ",".join(sorted({job.job_id.partition("_")[0] for job in self._jobs.values()}, key=int))
    return (
      f"{len(self._jobs)} tasks were submitted as jobs {numbers}.\n"
      f"  squeue -j {numbers}         shows their states\n"
      f"  scancel --signal=TERM {numbers.replace(',', ' ')}   stops running jobs, which save first\n"
      f"Output of the tasks: {self.folder.parent / 'tasks'}/*.log; of the jobs: {self.folder}."
    )


def queue() -> set[str] | None:
  """Numbers of the user's waiting and running jobs, None if SLURM does not answer."""
  if shutil.which("squeue") is None:
    return None
  try:
    done = subprocess.run(["squeue", "--me", "-h", "-r", "-o", "%i"], capture_output=True, text=True, timeout=60)
  except subprocess.TimeoutExpired:
    return None
  return set(done.stdout.split()) if done.returncode == 0 else None


def _scancel(*args: str) -> None:
  subprocess.run(["scancel", "--quiet", *args], capture_output=True, check=False)


def _words(error: BaseException) -> str:
  return " ".join(str(error).split())

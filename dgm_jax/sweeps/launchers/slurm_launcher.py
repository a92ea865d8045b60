"""Runs sweeps on a SLURM cluster with submitit: https://github.com/facebookincubator/submitit.

One job for each task, in arrays of jobs with equal resources.  Before the time limit of a job SLURM sends SIGUSR2: the
worker saves, and the job requeues itself and later resumes its runs from their checkpoints.
"""

import importlib.util
import pathlib
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from dgm_jax.core import errors, files
from dgm_jax.sweeps.launchers import machine, outcomes, processes, slurm_jobs, task_loop
from dgm_jax.sweeps.launchers.outcomes import Outcome

_DETACHED = "detached.json"  # numbers of the jobs that nobody waits for


def launch(
  paths: Sequence[pathlib.Path],
  *,
  jobs: int | None = None,
  on_change: Callable[[Outcome], None] = outcomes.ignore,
  worker: Sequence[str] = processes.WORKER,
  partition: str | None = None,
  time: str | int = "24:00:00",
  memory: float | None = None,
  signal_delay_s: int | None = None,
  detach: bool = False,
  cluster: str = "slurm",
  restarts: int = 10,
  patience: float = processes.PATIENCE,
  **slurm: Any,
) -> list[Outcome]:
  """Submits tasks as jobs and waits for them; see task_loop.supervise for signals and crashes.

  submitit's files and the jobs' own output go to slurm/ beside the tasks' folder.

  Args:
    paths: the tasks' files, in a folder that all nodes share.
    jobs: maximum number of concurrent jobs, None for SLURM's limit.
    on_change: called with the outcome of each task.
    worker: command of a worker; the task's file is appended.
    partition: SLURM partition; by default the cluster's own.
    time: time limit of a job, in minutes or in SLURM's format: 30, 8:00:00, 2-12:00:00.
    memory: main memory of a job in GB; by default that of the partition.
    signal_delay_s: seconds before the time limit at which a worker is asked to save; by default 120, but at most half
      the limit.
    detach: return as soon as the jobs are submitted, with no outcomes, after printing their numbers and the commands
      that show and stop them.
    cluster: slurm, or local for processes on this machine that submitit starts.
    restarts: how often a job may reach its time limit.
    patience: seconds to wait for other processes that hold a task's runs.
    **slurm: slurm_KEY=VALUE for other sbatch options: slurm_account, slurm_constraint, ...; slurm_exclusive=true for
      options without a value.

  Raises:
    UserError: submitit or SLURM is not available, an option is unknown, or sbatch rejects the jobs.
  """
  outcomes.check_jobs(jobs)
  if not paths:
    return []
  limit = minutes(time)
  options = {"partition": partition, "array_parallelism": jobs}
  options["signal_delay_s"] = min(120, 30 * limit) if signal_delay_s is None else signal_delay_s
  for name, value in slurm.items():
    errors.require(name.startswith("slurm_"), f"Unknown option {name!r} of SLURM; those of sbatch begin with slurm_.")
    options[name.removeprefix("slurm_")] = _value(value)
  common = {"name": "dgm_jax", "timeout_min": limit, "mem_gb": memory}
  work = [tuple(worker), str(pathlib.Path.cwd()), patience]
  backend = slurm_jobs.Jobs(paths[0].absolute().parent.parent / "slurm", cluster, restarts, common, options, work)
  if detach:
    backend.submit(paths)
    files.write_json(backend.folder / _DETACHED, backend.numbers())
    print(backend.how_to_look(), flush=True)
    return []
  window = (jobs or len(machine.cores())) if cluster == "local" else None
  return task_loop.supervise(backend, paths, window, on_change)


def busy(root: pathlib.Path) -> str:
  """A sentence that names the jobs of an earlier command with `detach` that are still queued or running; "" if none."""
  numbers = set(files.read_json(root / "slurm" / _DETACHED) or ())
  left = sorted({number.partition("_")[0] for number in numbers & (slurm_jobs.queue() or set())}, key=int)
  if not left:
    return ""
  return (
    f"Jobs {', '.join(left)} of --root {root}, which an earlier command submitted with --launcher.detach, are queued "
    f"or running: wait for them, or stop them with `scancel --signal=TERM {' '.join(left)}`."
  )


def elsewhere(cluster: str = "slurm", **_: Any) -> bool:
  """Whether tasks may run on other machines than this one."""
  return cluster != "local"


def absent(cluster: str = "slurm", time: str | int = 1, **_: Any) -> str:
  """Why jobs cannot be submitted with these options of `launch`, as a sentence; "" if SLURM is here.

  Raises:
    UserError: an option has an invalid value.
  """
  errors.choose("value of --launcher.cluster", cluster, ("slurm", "local"))
  minutes(time)
  try:
    if importlib.util.find_spec("submitit") is None:
      return slurm_jobs.ABSENT
  except ValueError:  # raised for a module that is None
    return slurm_jobs.ABSENT
  missing = [name for name in ("sbatch", "srun", "squeue") if cluster == "slurm" and shutil.which(name) is None]
  if not missing:
    return ""
  return (
    f"--launcher=slurm needs {missing[0]}, which is not on this machine's PATH: run the command on a login node of the "
    "cluster, or choose --launcher=local or --launcher=ray."
  )


def minutes(limit: str | int) -> int:
  """Converts a SLURM time limit to minutes: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

  Raises:
    UserError: it has none of these formats, or is zero.
  """
  found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(limit).strip())
  errors.require(found is not None, f"--launcher.time={limit} is not a time limit; give minutes, H:M:S or D-H:M:S.")
  days, *rest = found.groups()
  first, second, third = (int(x or 0) for x in rest)
  if days is not None or rest[2] is not None:
    total = (int(days or 0) * 24 + first) * 60 + second + (third > 0)
  else:
    total = first + (second > 0)
  errors.require(total > 0, f"--launcher.time={limit} is not a positive time limit.")
  return total


def _value(text: Any) -> Any:
  """A number, True (for an option without a value), or the text."""
  if str(text).isdigit():
    return int(text)
  return True if str(text).lower() == "true" else text

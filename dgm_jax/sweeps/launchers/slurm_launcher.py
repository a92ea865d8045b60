"""Sweeps on a SLURM cluster, through submitit: https://github.com/facebookincubator/submitit.

One job for each task, in arrays of those that ask for the same.  Before a job's time is up SLURM sends SIGUSR2: the
worker saves, and the job puts itself into the queue again, where it goes on from its runs' checkpoints.
"""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from dgm_jax.core import errors
from dgm_jax.sweeps.launchers import machine, outcomes, processes, slurm_jobs, task_loop
from dgm_jax.sweeps.launchers.outcomes import Outcome


def launch(
  paths: Sequence[pathlib.Path],
  *,
  jobs: int | None = None,
  on_change: Callable[[Outcome], None] = outcomes.ignore,
  worker: Sequence[str] = processes.WORKER,
  partition: str | None = None,
  time: str | int = 24 * 60,
  mem_gb: float | None = None,
  signal_delay_s: int | None = None,
  detach: bool = False,
  cluster: str = "slurm",
  restarts: int = 10,
  patience: float = processes.PATIENCE,
  **slurm: Any,
) -> list[Outcome]:
  """Submits tasks as jobs, and waits for them; see supervise.supervise for signals and crashes.

  submitit's files and the jobs' own output go to slurm/ beside the tasks' folder.

  Args:
    paths: the tasks' files, in a folder that all nodes share.
    jobs: how many run at once, None for what SLURM allows.
    on_change: called with the outcome of each task.
    worker: command of a worker, before the task's file.
    partition: SLURM's.
    time: limit of a job, in minutes or as SLURM writes it: 30, 8:00:00, 2-12:00:00.
    mem_gb: memory of a job.
    signal_delay_s: how long before the limit a worker is asked to save, by default two minutes or half the limit.
    detach: return at once, with no outcomes, having printed the jobs' numbers and how to look at them.
    cluster: slurm, or local for processes of this machine that submitit starts.
    restarts: how often a job may run out of time.
    patience: seconds to wait for other processes that have a task's runs.
    **slurm: slurm_KEY=VALUE for other options of sbatch: slurm_account, slurm_constraint, ...; slurm_exclusive=true for
      those without a value.

  Raises:
    UserError: submitit or SLURM is not there, an option is not known, or sbatch refuses the jobs.
  """
  outcomes.check_jobs(jobs)
  if not paths:
    return []
  limit = minutes(time)
  options = {"partition": partition, "array_parallelism": jobs}
  options["signal_delay_s"] = min(120, 30 * limit) if signal_delay_s is None else signal_delay_s
  for name, value in slurm.items():
    errors.require(name.startswith("slurm_"), f"Unknown option {name!r} of SLURM; others begin with slurm_.")
    options[name.removeprefix("slurm_")] = _value(value)
  common = {"name": "dgm_jax", "timeout_min": limit, "mem_gb": mem_gb}
  work = [tuple(worker), str(pathlib.Path.cwd()), patience]
  backend = slurm_jobs.Jobs(paths[0].absolute().parent.parent / "slurm", cluster, restarts, common, options, work)
  if detach:
    backend.submit(paths)
    print(backend.how_to_look(), flush=True)
    return []
  window = (jobs or len(machine.cores())) if cluster == "local" else None
  return task_loop.supervise(backend, paths, window, on_change)


def minutes(limit: str | int) -> int:
  """A time limit of SLURM in minutes: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

  Raises:
    UserError: it is none of these, or no time.
  """
  found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(limit).strip())
  errors.require(found is not None, f"--time={limit} is not a time; give minutes, H:M:S or D-H:M:S.")
  days, *rest = found.groups()
  first, second, third = (int(x or 0) for x in rest)
  if days is not None or rest[2] is not None:
    total = (int(days or 0) * 24 + first) * 60 + second + (third > 0)
  else:
    total = first + (second > 0)
  errors.require(total > 0, f"--time={limit} is no time at all.")
  return total


def _value(text: Any) -> Any:
  """A number, True (of an option without a value), or the text."""
  if str(text).isdigit():
    return int(text)
  return True if str(text).lower() == "true" else text

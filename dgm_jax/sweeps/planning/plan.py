"""Plans a sweep: groups runs into lanes, cuts groups to fit in memory, divides them among processes, estimates times.

  task   lanes of one compiled program, trained by one process
  group  all runs that could be lanes of one program (see grouping); its tasks differ only in the number of lanes

Memory of a task: the process and the training set, once; for each lane its state and the peak of a training step or of
an evaluation, whichever is larger (see memory).  The final evaluation takes one lane at a time and is not counted.
"""

import concurrent.futures
import itertools
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from dgm_jax.core import errors
from dgm_jax.data import sources
from dgm_jax.sweeps.definition import Run
from dgm_jax.sweeps.planning import grouping
from dgm_jax.sweeps.planning import memory as memory_module
from dgm_jax.sweeps.planning.timing import Timing, measure

_USABLE = 0.75  # fraction of the memory that is planned for: estimates are within a factor of about two
_PROCESS = 0.6e9  # bytes of Python, JAX and compiled programs, counted where programs run in RAM


class PlannedGroup(NamedTuple):
  """Runs that could be lanes of one program.

  Attributes:
    names: names of the runs.
    why: how they differ from the most similar other group, "" for the only group.
    lane_bytes, fixed_bytes: memory of each lane, and once per task.
    fit: maximum number of lanes that fit in memory.
    num_steps: training steps of a run.
    timing: times for `timed_lanes` lanes; None if not requested.
  """

  names: tuple[str, ...]
  why: str
  lane_bytes: int
  fixed_bytes: int
  fit: int
  num_steps: int
  timed_lanes: int = 0
  timing: Timing | None = None


class Plan(NamedTuple):
  """The tasks of a sweep.

  Attributes:
    groups: see PlannedGroup.
    tasks: (index of the group, names of the runs) of each task; the longest first.
    memory: bytes that one task may use.
    metrics: names of the metrics that all runs have.
    num_steps: {name of a run: its training steps}.
    platform: platform of the devices, "cpu", "gpu" ...
    traces: number of configs traced to find the groups.
  """

  groups: tuple[PlannedGroup, ...]
  tasks: tuple[tuple[int, tuple[str, ...]], ...]
  memory: float
  metrics: tuple[str, ...]
  num_steps: dict[str, int]
  platform: str = ""
  traces: int = 0

  def seconds(self, task: int) -> float:
    """Estimated seconds of a task: compilation and training, without evaluation."""
    number, names = self.tasks[task]
    timing, group = self.groups[number].timing, self.groups[number]
    return timing.compile + timing.step * group.num_steps * len(names) / group.timed_lanes


def _gigabytes(num_bytes: float) -> str:
  return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"


def cost(group: grouping.Group) -> tuple[int, int]:
  """(bytes per lane, bytes once per task) of a group."""
  config, experiment, jaxprs = group.config, group.experiment, group.programs.jaxprs
  chunk = jaxprs["train_chunk"]
  state = sum(memory_module.num_bytes(v.aval) for v in chunk.jaxpr.invars) - memory_module.num_bytes(
    jaxprs["init"].in_avals[0]
  )
  train = experiment.splits.train
  state -= sum(a.nbytes for a in train.values())
  training = memory_module.peak(chunk) - state  # the new state overwrites the old one
  evaluation = max(memory_module.peak(jaxprs[name]) for name in jaxprs if name not in ("init", "train_chunk"))
  on_device = sources.num_bytes(train)
  if sources.choose(config.data.source, train) == "streaming":
    on_device = 3 * experiment.batch_size * experiment.log_every * on_device // len(train["x"])
  process = _PROCESS + sum(map(sources.num_bytes, experiment.splits.parts().values()))
  in_ram = jax.default_backend() == "cpu"
  return int(state + max(training, evaluation, 0)), int(on_device + (process if in_ram else 0))


def divide(sizes: Sequence[int], jobs: int) -> list[int]:
  """Maximum number of lanes per task of each group that gives `jobs` processes shares as equal as possible."""
  share = max(1, math.ceil(sum(sizes) / jobs))
  return [math.ceil(n / math.ceil(n / share)) for n in sizes]


def _pieces(names: Sequence[str], cap: int) -> list[tuple[str, ...]]:
  """Splits names into as few pieces of at most `cap` as possible, whose sizes differ by at most one."""
  count = math.ceil(len(names) / cap)
  ends = [len(names) * i // count for i in range(count + 1)]
  return [tuple(names[a:b]) for a, b in itertools.pairwise(ends)]


def _fit(group: grouping.Group, limit: float) -> tuple[int, int, int]:
  """(bytes per lane, bytes once per task, number of lanes that fit).

  Raises:
    UserError: not even one lane fits.
  """
  lane, once = cost(group)
  fit = int((_USABLE * limit - once) // lane)
  errors.require(
    fit >= 1,
    f"Run {group.runs[0].name} does not fit in memory: it needs about {_gigabytes(lane)}, plus {_gigabytes(once)} for "
    f"process and data, and {_USABLE:.0%} of {_gigabytes(limit)} may be used. Use a smaller batch_size or model, "
    "data.source=streaming or fewer --jobs, or give --memory=GB if there is more.",
  )
  return lane, once, fit


def make(
  runs: Sequence[Run], *, jobs: int = 1, max_lanes: int = 0, gigabytes: float = 0.0, timed: bool = False
) -> Plan:
  """Builds and traces the runs, estimates their memory and divides them into tasks; uses this process's devices.

  Args:
    runs: the runs to train.
    jobs: number of concurrent processes.
    max_lanes: maximum number of lanes of a task; 0 for no limit.
    gigabytes: memory of one task; 0 for that of the device, or the free RAM, divided by the jobs that share it.
    timed: whether to also compile and time a few steps of each group.

  Raises:
    UserError: a run is invalid, or does not fit in memory on its own.
  """
  device, builder = jax.local_devices()[0], grouping.Builder()
  groups = grouping.group(runs, builder)
  sharing = math.ceil(jobs / (1 if device.platform == "cpu" else jax.local_device_count()))
  limit = gigabytes * 1e9 or memory_module.available(device) / sharing
  return arrange(groups, jobs, max_lanes, limit, timed)._replace(platform=device.platform, traces=builder.count)


def arrange(groups: Sequence[grouping.Group], jobs: int, max_lanes: int, limit: float, timed: bool = False) -> Plan:
  """Cuts groups to fit in `limit` bytes and divides them among the jobs; other arguments as in `make`."""
  shares = divide([len(g.runs) for g in groups], jobs)
  planned, tasks, num_steps = [], [], {}
  for i, (group, share) in enumerate(zip(groups, shares, strict=True)):
    lane, once, fit = _fit(group, limit)
    names, steps = tuple(run.name for run in group.runs), group.experiment.num_steps
    pieces = _pieces(names, min(fit, share, max_lanes or len(names)))
    tasks += [(i, piece) for piece in pieces]
    num_steps |= dict.fromkeys(names, steps)
    widest = max(map(len, pieces))
    timing = measure(group, widest) if timed else None
    reason = grouping.why(group, [g for g in groups if g is not group])
    planned.append(PlannedGroup(names, reason, lane, once, fit, steps, widest, timing))
  tasks.sort(key=lambda task: -len(task[1]) * planned[task[0]].lane_bytes * planned[task[0]].num_steps)
  common = set.intersection(*(set(g.programs.metrics) for g in groups))
  return Plan(tuple(planned), tuple(tasks), limit, tuple(sorted(common)), num_steps)


def _result_or_message(function: Callable, *args, **kwargs):
  """(result, message of a UserError or None): text is sent between processes more reliably than an exception."""
  try:
    return function(*args, **kwargs), None
  except errors.UserError as e:
    return None, str(e)


def make_in_process(runs: Sequence[Run], **options) -> Plan:
  """`make` in a separate process, so that this one holds neither devices nor their memory."""
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    plan, sentence = pool.submit(_result_or_message, make, runs, **options).result()
  errors.require(sentence is None, str(sentence))
  return plan


def describe(plan: Plan, jobs: int, shown: int = 3) -> str:
  """The plan as text; `shown` is the number of runs listed by name for each program."""
  count = sum(len(g.names) for g in plan.groups)
  lines = [
    f"{count} runs in {len(plan.groups)} compiled programs (found by {plan.traces} traces), {len(plan.tasks)} tasks "
    f"for {jobs} concurrent processes, {_gigabytes(plan.memory)} each"
  ]
  for i, group in enumerate(plan.groups):
    sizes = [len(names) for number, names in plan.tasks if number == i]
    lines.append(
      f"  program {i + 1}: {len(group.names)} runs of {group.num_steps:,} steps, lanes per task "
      f"{', '.join(map(str, sizes))}; memory {_gigabytes(group.lane_bytes)} per lane + "
      f"{_gigabytes(group.fixed_bytes)}, at most {group.fit:,} lanes fit"
    )
    more = f", and {len(group.names) - shown} more" if len(group.names) > shown else ""
    lines.append(f"    {'; '.join(group.names[:shown])}{more}")
    if group.why:
      lines.append(f"    separate because {group.why}")
    if group.timing is not None:
      lines.append(
        f"    {1e3 * group.timing.step:,.2f} ms per step of {group.timed_lanes} lanes, compiled in "
        f"{group.timing.compile:.1f} s"
      )
  if all(group.timing for group in plan.groups):
    seconds = [plan.seconds(i) for i in range(len(plan.tasks))]
    lines.append(
      f"Estimated without evaluation: {_time(sum(seconds))} in total, {_time(makespan(seconds, jobs))} with {jobs}"
    )
    lines[-1] += " processes that share no cores" if jobs > 1 and plan.platform == "cpu" else " concurrent processes"
  return "\n".join(lines)


def makespan(seconds: Sequence[float], jobs: int) -> float:
  """Seconds until the last of `jobs` processes ends, if they take the tasks in order."""
  ends = [0.0] * max(1, min(jobs, os.cpu_count() * 1000))
  for s in seconds:
    ends[ends.index(min(ends))] += s
  return max(ends)


def _time(seconds: float) -> str:
  if seconds < 120:
    return f"{seconds:.0f} s"
  return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""What will run together: groups of lanes, cut to fit the memory, divided among processes; and how long it will take.

  task   lanes of one compiled program, one process's work
  group  all runs that could be lanes of one program (see lanes); its tasks have the same program but for the lanes

Memory of a task: the process and the training set once, and for each lane its state and what a step of training, or an
evaluation, holds at its highest (see memory).  The final evaluation works on one lane after another and is not counted.
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

_USABLE = 0.75  # of the memory: estimates are within a factor of two or so
_PROCESS = 0.6e9  # bytes of Python, JAX and compiled programs, where programs run in the RAM


class PlannedGroup(NamedTuple):
  """Runs that could be lanes of one program.

  Attributes:
    names: of the runs.
    why: what parts them from the others, "" for the only group.
    lane_bytes, fixed_bytes: memory of each lane, and once for a task.
    fit: the most lanes that fit.
    num_steps: of a run.
    timing: of `timed_lanes` lanes; None if not asked for.
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
  """What will run together.

  Attributes:
    groups: see PlannedGroup.
    tasks: (group, names of the runs) each; the longest first.
    memory: bytes that one task may use.
    metrics: names of what all runs measure.
    num_steps: of each run.
    platform: of the devices, "cpu", "gpu" ...
    traces: how many programs were traced to find the groups.
  """

  groups: tuple[PlannedGroup, ...]
  tasks: tuple[tuple[int, tuple[str, ...]], ...]
  memory: float
  metrics: tuple[str, ...]
  num_steps: dict[str, int]
  platform: str = ""
  traces: int = 0

  def seconds(self, task: int) -> float:
    """Estimated time of a task: compiling and training, without evaluation."""
    number, names = self.tasks[task]
    timing, group = self.groups[number].timing, self.groups[number]
    return timing.compile + timing.step * group.num_steps * len(names) / group.timed_lanes


def _gigabytes(num_bytes: float) -> str:
  return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"


def cost(group: grouping.Group) -> tuple[int, int]:
  """(bytes of each lane, bytes once) of a group's task."""
  config, experiment, jaxprs = group.config, group.experiment, group.programs.jaxprs
  chunk = jaxprs["train_chunk"]
  state = sum(memory_module.num_bytes(v.aval) for v in chunk.jaxpr.invars) - memory_module.num_bytes(
    jaxprs["init"].in_avals[0]
  )
  train = experiment.splits.train
  state -= sum(a.nbytes for a in train.values())
  training = memory_module.peak(chunk) - state  # the new state takes the place of the old one
  evaluation = max(memory_module.peak(jaxprs[name]) for name in jaxprs if name not in ("init", "train_chunk"))
  on_device = sources.num_bytes(train)
  if sources.choose(config.data.source, train) == "streaming":
    on_device = 3 * config.batch_size * config.log_every * on_device // len(train["x"])
  process = _PROCESS + sum(map(sources.num_bytes, experiment.splits.parts().values()))
  in_ram = jax.default_backend() == "cpu"
  return int(state + max(training, evaluation, 0)), int(on_device + (process if in_ram else 0))


def divide(sizes: Sequence[int], jobs: int) -> list[int]:
  """How many lanes a task of each group may have, so that `jobs` processes have equal shares, as far as that goes."""
  share = max(1, math.ceil(sum(sizes) / jobs))
  return [math.ceil(n / math.ceil(n / share)) for n in sizes]


def _pieces(names: Sequence[str], cap: int) -> list[tuple[str, ...]]:
  """As few pieces of at most `cap` as possible, of sizes that differ by one at most."""
  count = math.ceil(len(names) / cap)
  ends = [len(names) * i // count for i in range(count + 1)]
  return [tuple(names[a:b]) for a, b in itertools.pairwise(ends)]


def _fit(group: grouping.Group, limit: float) -> tuple[int, int, int]:
  """(bytes of a lane, bytes once, lanes that fit).

  Raises:
    UserError: not even one does.
  """
  lane, once = cost(group)
  fit = int((_USABLE * limit - once) // lane)
  errors.require(
    fit >= 1,
    f"Run {group.runs[0].name} does not fit: it needs about {_gigabytes(lane)} and {_gigabytes(once)} for process and "
    f"data, of {_gigabytes(limit)} {_USABLE:.0%} are planned with. A smaller batch_size or model, data.source="
    "streaming, fewer --jobs at once, or --memory=GB if there is more.",
  )
  return lane, once, fit


def make(
  runs: Sequence[Run], *, jobs: int = 1, max_lanes: int = 0, gigabytes: float = 0.0, timed: bool = False
) -> Plan:
  """Builds, traces, estimates and divides; see make_in_process for a caller that is to leave the devices alone.

  Args:
    runs: what is to be run.
    jobs: processes at once.
    max_lanes: the most lanes of a task; 0 for no limit of its own.
    gigabytes: that one task may use; 0 for the device's, or the RAM that is free, divided by the jobs that share it.
    timed: whether to compile and time a few steps of each group, too.

  Raises:
    UserError: a run that cannot be, or does not fit alone.
  """
  device, builder = jax.local_devices()[0], grouping.Builder()
  groups = grouping.group(runs, builder)
  sharing = math.ceil(jobs / (1 if device.platform == "cpu" else jax.local_device_count()))
  limit = gigabytes * 1e9 or memory_module.available(device) / sharing
  return arrange(groups, jobs, max_lanes, limit, timed)._replace(platform=device.platform, traces=builder.count)


def arrange(groups: Sequence[grouping.Group], jobs: int, max_lanes: int, limit: float, timed: bool = False) -> Plan:
  """Cuts groups to fit `limit` bytes and divides them among the jobs; the rest as in `make`."""
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


def _quietly(function: Callable, *args, **kwargs):
  """(result, sentence of a UserError): an exception of our own class would be one of a class the parent lacks."""
  try:
    return function(*args, **kwargs), None
  except errors.UserError as e:
    return None, str(e)


def make_in_process(runs: Sequence[Run], **options) -> Plan:
  """`make` in a process of its own, so that this one holds neither devices nor their memory."""
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    plan, sentence = pool.submit(_quietly, make, runs, **options).result()
  errors.require(sentence is None, str(sentence))
  return plan


def describe(plan: Plan, jobs: int, shown: int = 3) -> str:
  """The plan in lines."""
  count = sum(len(g.names) for g in plan.groups)
  lines = [
    f"{count} runs in {len(plan.groups)} compiled programs (found by {plan.traces} traces), {len(plan.tasks)} tasks "
    f"for {jobs} processes at once, {_gigabytes(plan.memory)} each"
  ]
  for i, group in enumerate(plan.groups):
    sizes = [len(names) for number, names in plan.tasks if number == i]
    lines.append(
      f"  program {i + 1}: {len(group.names)} runs of {group.num_steps:,} steps, lanes per task "
      f"{', '.join(map(str, sizes))}; memory {_gigabytes(group.lane_bytes)} a lane + {_gigabytes(group.fixed_bytes)}, "
      f"{group.fit:,} lanes would fit"
    )
    more = f", and {len(group.names) - shown} more" if len(group.names) > shown else ""
    lines.append(f"    {'; '.join(group.names[:shown])}{more}")
    if group.why:
      lines.append(f"    on its own because {group.why}")
    if group.timing is not None:
      lines.append(
        f"    {1e3 * group.timing.step:,.2f} ms a step of {group.timed_lanes} lanes, compiled in "
        f"{group.timing.compile:.1f} s"
      )
  if all(group.timing for group in plan.groups):
    seconds = [plan.seconds(i) for i in range(len(plan.tasks))]
    lines.append(
      f"Estimated without evaluation: {_time(sum(seconds))} in all, {_time(makespan(seconds, jobs))} with {jobs}"
    )
    lines[-1] += " at once, if they do not share cores" if jobs > 1 and plan.platform == "cpu" else " at once"
  return "\n".join(lines)


def makespan(seconds: Sequence[float], jobs: int) -> float:
  """When the last of `jobs` processes is done that take the tasks in order."""
  ends = [0.0] * max(1, min(jobs, os.cpu_count() * 1000))
  for s in seconds:
    ends[ends.index(min(ends))] += s
  return max(ends)


def _time(seconds: float) -> str:
  if seconds < 120:
    return f"{seconds:.0f} s"
  return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

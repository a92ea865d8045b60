"""Plans a sweep: groups runs into lanes, cuts groups to fit in memory, divides them among processes.

  task   lanes of one compiled program, trained by one process
  group  all runs that could be lanes of one program (see grouping); its tasks differ only in the number of lanes

Memory of a task: the process and the training set, once; for each lane its state and the peak of a training step or of
an evaluation, whichever is larger.  It is estimated from the traces (see memory), or, on request, that of the compiled
programs (see compiled).  The final evaluation takes one lane at a time and is not counted.
"""

import concurrent.futures
import itertools
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from dgm_jax.core import errors
from dgm_jax.core import memory as memory_module
from dgm_jax.data import sources
from dgm_jax.sweeps.definition import Run
from dgm_jax.sweeps.planning import compiled, grouping
from dgm_jax.sweeps.planning.compiled import Compiled
from dgm_jax.training import folds
from dgm_jax.training.checks import is_alone
from dgm_jax.training.processes import supervisor

_USABLE = {False: 0.75, True: 0.9}  # fraction of the memory that is planned for, by whether it is that of XLA
_PROCESS = 0.6e9  # bytes of Python, JAX and compiled programs, counted where programs run in RAM
_SMALL_GPU = 16e9  # bytes, of a GPU of which nothing is known: the smallest that is common in clusters
WORKERS = ("here", "cpu", "gpu")


class PlannedGroup(NamedTuple):
  """Runs that could be lanes of one program.

  Attributes:
    names: names of the runs.
    why: how they differ from the most similar other group, "" for the only group.
    lane_bytes, fixed_bytes: memory of each lane, and once per task.
    fit: maximum number of lanes that fit in memory.
    num_steps: training steps of a run.
    compiled: memory and time of the compiled programs; None if they were not compiled.
  """

  names: tuple[str, ...]
  why: str
  lane_bytes: int
  fixed_bytes: int
  fit: int
  num_steps: int
  compiled: Compiled | None = None


class Plan(NamedTuple):
  """The tasks of a sweep.

  Attributes:
    groups: see PlannedGroup.
    tasks: (index of the group, names of the runs) of each task; the longest first.
    memory: bytes that one task may use.
    about_memory: where that number is from, if it is not this machine's, as a clause.
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
  about_memory: str = ""

  def seconds(self, task: int) -> float:
    """Estimated seconds of a task: compilation and training, without evaluation."""
    number, names = self.tasks[task]
    found, group = self.groups[number].compiled, self.groups[number]
    return found.compile + found.step * group.num_steps * len(names) / found.lanes


def show_bytes(num_bytes: float) -> str:
  """A size in GB or MB."""
  return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"


def cost(group: grouping.Group, in_ram: bool | None = None) -> tuple[int, int]:
  """(estimated bytes per lane, bytes once per task) of a group; `in_ram`: whether its arrays share RAM with Python."""
  experiment, jaxprs = group.experiment, group.programs.jaxprs
  chunk = jaxprs["train_chunk"]
  state = sum(memory_module.num_bytes(v.aval) for v in chunk.jaxpr.invars) - memory_module.num_bytes(
    jaxprs["init"].in_avals[0]
  )
  train = experiment.splits.train
  state -= sum(a.nbytes for a in train.values())
  training = memory_module.peak(chunk) - state  # the new state overwrites the old one
  evaluation = max(memory_module.peak(jaxprs[name]) for name in jaxprs if name not in ("init", "train_chunk"))
  on_device = sources.num_bytes(train)
  if compiled.streamed(group):
    on_device = 3 * experiment.examples_per_step * experiment.log_every * on_device // len(train["x"])
  process = _PROCESS + sum(map(sources.num_bytes, experiment.splits.parts().values()))
  in_ram = jax.default_backend() == "cpu" if in_ram is None else in_ram
  of_lane = on_device if folds.KEY in group.inputs else 0  # each fold has its own rows
  return int(state + max(training, evaluation, 0) + of_lane), int(on_device + (process if in_ram else 0))


def divide(sizes: Sequence[int], jobs: int) -> list[int]:
  """Maximum number of lanes per task of each group that gives `jobs` processes shares as equal as possible."""
  share = max(1, math.ceil(sum(sizes) / jobs))
  return [math.ceil(n / math.ceil(n / share)) for n in sizes]


def _pieces(names: Sequence[Any], cap: int) -> list[tuple[Any, ...]]:
  """Splits names into as few pieces of at most `cap` as possible, whose sizes differ by at most one."""
  count = math.ceil(len(names) / cap)
  ends = [len(names) * i // count for i in range(count + 1)]
  return [tuple(names[a:b]) for a, b in itertools.pairwise(ends)]


def _fit(group: grouping.Group, limit: float, usable: float, lane: float, once: float) -> int:
  """The number of lanes that fit in `limit` bytes.

  Raises:
    UserError: not even one lane fits.
  """
  fit = int((usable * limit - once) // max(1, lane))
  errors.require(
    fit >= 1,
    f"Run {group.runs[0].name} does not fit in memory: it needs about {show_bytes(lane)}, plus {show_bytes(once)} for "
    f"process and data, and {usable:.0%} of {show_bytes(limit)} may be used. Use a smaller batch_size or model, "
    "data.source=streaming or fewer --jobs, or give --memory=GB if there is more.",
  )
  return fit


def _limit(workers: str, gigabytes: float, jobs: int) -> tuple[float, str]:
  """(bytes that a task may use, where that number is from)."""
  device = jax.local_devices()[0]
  if gigabytes:
    return gigabytes * 1e9, ""
  if workers == "gpu" and device.platform == "cpu":
    return _SMALL_GPU, "assumed of a GPU, since there is none here: --memory=GB says what it has"
  available = memory_module.available(device)
  if workers != "here":
    return available, "as on this machine: --memory=GB says what the others have"
  return available / math.ceil(jobs / (1 if device.platform == "cpu" else jax.local_device_count())), ""


def make(
  runs: Sequence[Run],
  *,
  jobs: int = 1,
  max_lanes: int = 0,
  gigabytes: float = 0.0,
  workers: str = "here",
  compile: bool = False,
) -> Plan:
  """Builds and traces the runs, estimates their memory and divides them into tasks; uses this process's devices.

  Args:
    runs: the runs to train.
    jobs: number of concurrent processes.
    max_lanes: maximum number of lanes of a task; 0 for no limit.
    gigabytes: memory of one task; 0 for that of the device, or the free RAM, divided by the jobs that share it.
    workers: where the tasks will run: "here", or on the "cpu" or "gpu" of other machines.
    compile: whether to also compile each group's programs, for their exact memory and the time of a step.

  Raises:
    UserError: a run is invalid, or does not fit in memory on its own.
  """
  builder, platform = grouping.Builder(), jax.local_devices()[0].platform
  groups = grouping.group(runs, builder)
  limit, about = _limit(workers, gigabytes, jobs)
  in_ram = platform == "cpu" if workers == "here" else workers == "cpu"
  made = arrange(groups, jobs, max_lanes, limit, compile, in_ram)
  return made._replace(platform=platform, traces=builder.count, about_memory=about)


def arrange(
  groups: Sequence[grouping.Group],
  jobs: int,
  max_lanes: int,
  limit: float,
  compile: bool = False,
  in_ram: bool | None = None,
) -> Plan:
  """Cuts groups to fit in `limit` bytes and divides them among the jobs; other arguments as in `make` and `cost`."""
  shares = divide([len(g.runs) for g in groups], jobs)
  planned, tasks, num_steps = [], [], {}
  for i, (group, share) in enumerate(zip(groups, shares, strict=True)):
    lane, once = cost(group, in_ram)
    names, steps = tuple(run.name for run in group.runs), group.experiment.num_steps
    alone = is_alone(group.config)
    most = 1 if alone else min(share, max_lanes or len(names))
    found = None
    if compile:
      lane, fit, found = _exact(group, lane, once, most, limit)
    else:
      fit = _fit(group, limit, _USABLE[False], lane, once)
    pieces = _pieces(names, min(fit, most))
    tasks += [(i, piece) for piece in pieces]
    num_steps |= dict.fromkeys(names, steps)
    reason = grouping.why(group, [g for g in groups if g is not group])
    if alone and len(names) > 1:
      reason = "; ".join(filter(None, ["aggressive updates: one run at a time", reason]))
    planned.append(PlannedGroup(names, reason, lane, once, fit, steps, found))
  tasks.sort(key=lambda task: -len(task[1]) * planned[task[0]].lane_bytes * planned[task[0]].num_steps)
  common = set.intersection(*(set(g.programs.metrics) for g in groups))
  return Plan(tuple(planned), tuple(tasks), limit, tuple(sorted(common)), num_steps)


def _exact(group: grouping.Group, lane: int, once: int, most: int, limit: float) -> tuple[int, int, Compiled]:
  """(bytes per lane, lanes that fit, the compiled programs of the widest task), by XLA; `lane` is the estimate."""
  size = lambda fit: max(map(len, _pieces(group.runs, max(1, min(fit, most)))))  # lanes of the widest task
  resident = 0 if compiled.streamed(group) else sources.num_bytes(group.experiment.splits.train)
  of_lane = lambda found: (found.num_bytes - resident) // found.lanes
  found, program = compiled.compile_group(group, size(int((_USABLE[False] * limit - once) // max(1, lane))))
  fit = _fit(group, limit, _USABLE[True], of_lane(found), once)
  if size(fit) != found.lanes:
    found, program = compiled.compile_group(group, size(fit))
  return of_lane(found), fit, found._replace(step=compiled.time_step(group, program, found.lanes))


def _result_or_message(function: Callable, *args, **kwargs):
  """(result, message of a UserError or None): text is sent between processes more reliably than an exception."""
  try:
    return function(*args, **kwargs), None
  except errors.UserError as e:
    return None, str(e)


def _one_process() -> concurrent.futures.ProcessPoolExecutor:
  """A process that ends with this one: it would wait for work for ever, and hold this one's output open."""
  context = multiprocessing.get_context("spawn")
  start = {"initializer": supervisor.end_with_parent, "initargs": (os.getpid(),)}
  return concurrent.futures.ProcessPoolExecutor(1, mp_context=context, **start)


def make_in_process(runs: Sequence[Run], **options) -> Plan:
  """`make` in a separate process, so that this one holds neither devices nor their memory."""
  with _one_process() as pool:
    plan, sentence = pool.submit(_result_or_message, make, runs, **options).result()
  errors.require(sentence is None, str(sentence))
  return plan

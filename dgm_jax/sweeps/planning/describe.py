"""A plan as text."""

import os
from collections.abc import Sequence

from dgm_jax.core.memory import MEASURED
from dgm_jax.sweeps.planning.plan import Plan, show_bytes


def describe(plan: Plan, jobs: int, shown: int = 3) -> str:
  """The plan as text; `shown` is the number of runs listed by name for each program."""
  count = sum(len(g.names) for g in plan.groups)
  lines = [
    f"{count} runs in {len(plan.groups)} compiled programs (found by {plan.traces} traces), {len(plan.tasks)} tasks "
    f"for {jobs} concurrent processes, {show_bytes(plan.memory)} each"
    + (f" ({plan.about_memory})" if plan.about_memory else "")
  ]
  for i, group in enumerate(plan.groups):
    sizes = [len(names) for number, names in plan.tasks if number == i]
    lines.append(
      f"  program {i + 1}: {len(group.names)} runs of {group.num_steps:,} steps, lanes per task "
      f"{', '.join(map(str, sizes))}; memory {show_bytes(group.lane_bytes)} per lane + "
      f"{show_bytes(group.fixed_bytes)}, at most {group.fit:,} lanes fit"
    )
    more = f", and {len(group.names) - shown} more" if len(group.names) > shown else ""
    lines.append(f"    {'; '.join(group.names[:shown])}{more}")
    if group.why:
      lines.append(f"    separate because {group.why}")
    if (found := group.compiled) is not None:
      lines.append(
        f"    with {found.lanes} lanes: {show_bytes(found.num_bytes)} according to XLA, {1e3 * found.step:,.2f} ms per "
        f"step, compiled in {found.compile:.1f} s"
      )
  if any(group.compiled is None for group in plan.groups):
    lines.append(
      f"Memory per lane is an estimate, {MEASURED.low} to {MEASURED.high} times that of the compiled program for "
      f"{len(MEASURED.configs)} configs; --plan=compile compiles, and gives it exactly, with the time of a step"
    )
  else:
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

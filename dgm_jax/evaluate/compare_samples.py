"""Differences between runs of the numbers that evaluate.samples gives, which are of whole sets and of no example."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PREFIX = "test/samples_"
_SETTING = ("features", "num", "seed", "against", "against_size", "floor", "floor_size")
_BESIDE = ("_stderr", "_floor", "_why", "_expected", "_total", "_bias", "_sigma", "_radius", "_cells")


class Number(NamedTuple):
  """A number of each of two methods, averaged over their seeds.

  Attributes:
    name: samples_NAME.
    first, second: the numbers.
    stderr: of their difference; None where a run has no standard error of it.
    first_spread, second_spread: standard deviation over the seeds; None for one seed.
    num_samples: of each run.
  """

  name: str
  first: float
  second: float
  stderr: float | None
  first_spread: float | None
  second_spread: float | None
  num_samples: int


def has(results: Mapping[str, Any]) -> bool:
  """Whether there are any such numbers."""
  return any(name.startswith(PREFIX) for name in results)


def settings(results: Mapping[str, Any]) -> dict[str, Any]:
  """What was compared with what."""
  return {name: results[PREFIX + name] for name in _SETTING if PREFIX + name in results}


def caveat(runs: Sequence[Mapping[str, Any]]) -> str:
  """The sentence that says why runs with such numbers cannot be compared by them; "" if they can."""
  of_runs = [settings(results) for results in runs]
  if not all(of_runs):
    return "" if not any(of_runs) else "samples_... are left out: not all runs have them."
  for name in _SETTING:
    values = list(dict.fromkeys(str(found.get(name, "none")) for found in of_runs))
    if len(values) > 1 and name != "seed":
      return f"samples_... are left out: samples_{name} differs ({', '.join(values)})."
  return ""


def numbers(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> list[Number]:
  """The numbers that all runs have; none if `caveat` says why."""
  runs = [*first, *second]
  if not all(map(has, runs)) or caveat(runs):
    return []
  of_setting = {PREFIX + name for name in _SETTING}
  names = [n for n in runs[0] if n.startswith(PREFIX) and n not in of_setting and not n.endswith(_BESIDE)]
  found = []
  for name in names:
    values = [[results.get(name) for results in of] for of in (first, second)]
    if all(isinstance(v, int | float) for of in values for v in of):
      means, spreads = zip(*(_mean_and_spread(of) for of in values), strict=True)
      error = _error(f"{name}_stderr", first, second)
      found.append(Number(name.removeprefix("test/"), *means, error, *spreads, runs[0][f"{PREFIX}num"]))
  return found


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
  return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _error(name: str, *methods: Sequence[Mapping[str, Any]]) -> float | None:
  """Of the difference of means over seeds, taken as independent: the real examples are the same, so it is too large."""
  if not all(isinstance(results.get(name), float) for of in methods for results in of):
    return None
  return math.sqrt(sum(sum(results[name] ** 2 for results in of) / len(of) ** 2 for of in methods))

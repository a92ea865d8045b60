"""Functions that make and combine sweeps: iterables of flat override dicts, {"optim.lr": 1e-3, "seed": 0}.

  product({"optim.lr": [1e-4, 1e-3], "seed": range(8)})                  16 runs
  zip_({"objective.num_samples": [1, 5], "objective.eval_samples": [1, 5]})   2 runs, values in pairs
  chain(a, b)                                                            all runs of a, then all runs of b
  random(20, 0, {"optim.lr": log_uniform(1e-4, 1e-2), "batch_size": choice([50, 100])})   20 draws, seed 0
  product(zip_(...), {"seed": range(3)})                                 sweeps can be multiplied, too

A key is a config path, or `arg.NAME` for an argument of the config file (the text after the colon of FILE:ARGUMENT).
"""

import hashlib
import itertools
import json
import math
import random as _random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import errors

Overrides = dict[str, Any]
MOST_RUNS = 1_000_000  # which still fit in memory
_LONGEST = 100  # maximum length of a run's name; file systems allow 255 bytes


class Distribution(NamedTuple):
  """Distribution of the values of an axis.

  Attributes:
    kind: "uniform", "log_uniform", "integers" or "choice".
    low, high: range of a distribution of numbers, both ends included.
    values: values of "choice".
  """

  kind: str
  low: float = 0.0
  high: float = 0.0
  values: tuple = ()

  def __str__(self) -> str:
    inside = self.values if self.kind == "choice" else (self.low, self.high)
    return f"{self.kind}({', '.join(map(str, inside))})"

  def draw(self, rng: _random.Random) -> Any:
    """Draws one value."""
    if self.kind == "choice":
      return rng.choice(self.values)
    if self.kind == "integers":
      return rng.randint(int(self.low), int(self.high))
    log = self.kind == "log_uniform"
    return math.exp(rng.uniform(math.log(self.low), math.log(self.high))) if log else rng.uniform(self.low, self.high)


def log_uniform(low: float, high: float) -> Distribution:
  """Log-uniform distribution on [low, high]."""
  errors.require(0 < low < high < math.inf, f"log_uniform({low}, {high}): 0 < low < high is needed.")
  return Distribution("log_uniform", low, high)


def uniform(low: float, high: float) -> Distribution:
  """Uniform distribution on [low, high]."""
  errors.require(-math.inf < low < high < math.inf, f"uniform({low}, {high}): low < high is needed.")
  return Distribution("uniform", low, high)


def integers(low: int, high: int) -> Distribution:
  """Uniform distribution on the integers from low to high, both included."""
  whole = isinstance(low, int) and isinstance(high, int)
  errors.require(whole and low < high, f"integers({low}, {high}): integers with low < high are needed.")
  return Distribution("integers", low, high)


def choice(values: Iterable[Any]) -> Distribution:
  """Uniform distribution on the given values."""
  values = tuple(values)
  errors.require(bool(values), "choice() needs at least one value.")
  return Distribution("choice", values=values)


DISTRIBUTIONS = {"log_uniform": log_uniform, "uniform": uniform, "integers": integers, "choice": choice}


def _values(path: str, values: Any) -> list:
  """The values of an axis as a list; a single value or distribution becomes a list of one."""
  if isinstance(values, str | Distribution) or not isinstance(values, Iterable):
    return [values]
  values = list(itertools.islice(values, MOST_RUNS + 1))
  errors.require(bool(values), f"Axis {path!r} has no values.")
  errors.require(len(values) <= MOST_RUNS, f"Axis {path!r} has more values than a sweep has runs, {MOST_RUNS:,}.")
  return values


def _join(overrides: Iterable[Overrides]) -> Overrides:
  """Merges override dicts, whose keys must be disjoint."""
  joined: Overrides = {}
  for one in overrides:
    for path in one:
      errors.require(path not in joined, f"Axis {path!r} is given twice.")
    joined |= one
  return joined


def _columns(parts: Sequence[Mapping[str, Any] | Iterable[Overrides]]) -> list[list[Overrides]]:
  """One list of override dicts for each axis of the mappings and for each sweep."""
  columns = []
  for part in parts:
    if isinstance(part, Mapping):
      columns += [[{path: value} for value in _values(path, values)] for path, values in part.items()]
    else:
      columns.append(list(part))
  return columns


def product(*parts: Mapping[str, Any] | Iterable[Overrides]) -> list[Overrides]:
  """Cartesian product of axes and sweeps; the last varies fastest.

  Args:
    *parts: mappings {path: values}, in which each key is an axis, or sweeps.
  """
  columns = _columns(parts)
  count = math.prod(map(len, columns))
  errors.require(count <= MOST_RUNS, f"The product of the axes has {count:,} runs; a sweep has at most {MOST_RUNS:,}.")
  return [_join(row) for row in itertools.product(*columns)]


def zip_(*parts: Mapping[str, Any] | Iterable[Overrides]) -> list[Overrides]:
  """Combines the first values of all axes, then the second values, ...

  Raises:
    UserError: the axes have different lengths.
  """
  columns = _columns(parts)
  lengths = {", ".join(column[0]) if column else "an empty sweep": len(column) for column in columns}
  listed = ", ".join(f"{name} has {n}" for name, n in lengths.items())
  errors.require(len({len(c) for c in columns}) <= 1, f"zip_ needs axes of equal length: {listed}.")
  return [_join(row) for row in zip(*columns, strict=True)]


def chain(*sweeps: Iterable[Overrides]) -> list[Overrides]:
  """Concatenates sweeps."""
  return list(itertools.chain(*sweeps))


def generator(seed: int | str) -> _random.Random:
  """Random generator for Distribution.draw."""
  return _random.Random(seed)


def random(n: int, seed: int, space: Mapping[str, Any]) -> list[Overrides]:
  """n independent draws.  Draw i is a function of (seed, i, path): a larger n adds draws without changing others.

  Args:
    n: number of draws.
    seed: seed of the draws.
    space: {path: distribution}; a list of values stands for `choice`.
  """
  errors.require(n >= 1, f"random({n}, ...): the number of draws must be 1 or more.")

  def draw(i, path, values):
    of = values if isinstance(values, Distribution) else choice(_values(path, values))
    return of.draw(generator(f"{seed}/{i}/{path}"))

  return [{path: draw(i, path, values) for path, values in space.items()} for i in range(n)]


def space_of(sweep: Sequence[Overrides]) -> dict[str, Distribution]:
  """The search space of a sweep: its distributions, and its lists of values as choices.

  Raises:
    UserError: the sweep is not the full product of its axes.
  """
  keys = {tuple(sorted(overrides)) for overrides in sweep}
  errors.require(len(keys) == 1, "A search needs the full product of its axes: all runs must have the same keys.")
  found = {}
  for path in sweep[0]:
    distinct = list({json.dumps(o[path], default=str): o[path] for o in sweep}.values())
    alone = len(distinct) == 1 and isinstance(distinct[0], Distribution)
    errors.require(
      alone or not any(isinstance(v, Distribution) for v in distinct), f"Axis {path!r} mixes values and distributions."
    )
    found[path] = distinct[0] if alone else choice(distinct)
  sizes = math.prod(len(d.values) for d in found.values() if d.kind == "choice")
  errors.require(sizes == len(sweep), "A search needs the full product of its axes, as from product({...}).")
  return found


def show(value: Any) -> str:
  """Text of a value for names, tables and commands; the command line parses it back to the same value."""
  if isinstance(value, list | tuple):
    return f"({','.join(map(show, value))}{',' if len(value) == 1 else ''})"
  return value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)


def digest(value: Any) -> str:
  """The first eight hexadecimal digits of the SHA-256 hash of a JSON value."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def run_name(overrides: Overrides) -> str:
  """A folder name that depends only on the overrides, not on their order: "optim.lr=0.001,seed=3".

  A name that is too long, or has characters that are unsafe in file names, is shortened and ends with a hash.
  """
  paths = sorted(overrides, key=lambda path: (path == "seed", path))
  full = ",".join(f"{path}={show(overrides[path])}" for path in paths) or "base"
  safe = re.sub(r"[^A-Za-z0-9._=,+()-]", "_", full)
  if safe == full and len(full) <= _LONGEST:
    return full
  return f"{safe[: _LONGEST - 9]}-{digest(overrides)}"

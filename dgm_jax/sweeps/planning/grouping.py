"""Groups the runs that can be lanes of one compiled program.

Two runs can be lanes of one program if
  1. their configs are equal except for `seed`, `init_from` (the state at step 0) and the floats that are inputs of the
     program (experiment.hyper_parameters): the loop reads nothing else, so it does the same for both at the same
     steps, on the same data; or on the folds of data.fold, whose rows and statistics are inputs, too (training.folds);
  2. the same floats are inputs of both programs;
  3. everything that the loop compiles for them has the same trace, with those inputs abstract.
Tracing checks condition 3, so a float that is baked into a program as a constant separates its runs.  Not every run is
traced.  Of the runs that satisfy 1 and 2, the first is traced, and variants of it with other values of the keys in
which they differ: all values of a key if there are at most _TRACED, else the extremes, a selection between them, and
values at which code often branches (0, 1, -1); of seeds the extremes.  A variant takes another value of every key at
once; if one has another program, the keys are told apart by variants of one key each.  This misses a program that
depends on a threshold between two traced values, or on two keys jointly.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dgm_jax.core import errors, files
from dgm_jax.sweeps.axes import show
from dgm_jax.sweeps.definition import Run
from dgm_jax.sweeps.planning.trace import Programs, trace
from dgm_jax.training import folds
from dgm_jax.training.build import build, load
from dgm_jax.training.experiment import Experiment, hyper_parameters
from dgm_jax.training.train import check_options
from dgm_jax.training.workdir import warm_start

_TRACED = 12  # up to this number, all values of a key are traced
_STATE_KEYS = ("seed", "init_from")


class Group(NamedTuple):
  """Runs that can be lanes of one program.

  Attributes:
    runs: the runs, in the order of the sweep.
    config, experiment, programs: those of the first run.
    static: {path: value} that all runs share, including floats that are baked into the program.
    inputs: config paths that are inputs of the program.
  """

  runs: list[Run]
  config: ConfigDict
  experiment: Experiment
  programs: Programs
  static: dict[str, Any]
  inputs: frozenset[str]


class Builder:
  """Builds and traces configs; loads the data once for each distinct config.data."""

  def __init__(self):
    self._loaded: dict[str, Any] = {}
    self.count = 0  # number of traces

  def __call__(self, config: ConfigDict) -> tuple[Experiment, Programs]:
    section = json.dumps(config.data.to_dict(), sort_keys=True)
    if section not in self._loaded:
      self._loaded[section] = load(config)
    experiment = build(config, self._loaded[section])
    check_options(config, experiment)
    self.count += 1
    return experiment, trace(config, experiment)


def _with(config: ConfigDict, path: str, value: Any) -> ConfigDict:
  other = ConfigDict(config.to_dict())
  other.update_from_flattened_dict({path: value})
  return other


def _traced_values(path: str, values: Sequence[float]) -> list[float]:
  values = sorted(set(values))
  if path == "seed":  # a seed in a program differs for each: two tell
    return sorted({values[0], values[-1]})
  if len(values) <= _TRACED:
    return values
  spread = {values[round(i * (len(values) - 1) / 5)] for i in range(6)}
  return sorted(spread | {v for v in values if v in (0, 1, -1)})


def _classes(path: str, runs: Sequence[Run], first: ConfigDict, texts: dict, builder: Builder) -> dict[Any, str]:
  """{value of the path: hashes of its programs}; all are equal if the traced values show no difference."""
  values = {files.flatten(run.config)[path]: run for run in reversed(runs)}
  own = first[path] if "." not in path else files.flatten(first.to_dict())[path]

  def traced(value):
    if value == own:
      return json.dumps(texts)
    try:
      return json.dumps(builder(_with(first, path, value))[1].texts)
    except errors.UserError:  # the variant may be invalid where the run with this value is valid
      run = values[value]
      try:
        return json.dumps([run.name, builder(ConfigDict(run.config))[1].texts])
      except errors.UserError as e:
        raise errors.UserError(f"Run {run.name}: {e}") from e

  found = {value: traced(value) for value in _traced_values(path, list(values))}
  if set(found.values()) == {json.dumps(texts)}:
    return dict.fromkeys(values, json.dumps(texts))
  return {value: found[value] if value in found else traced(value) for value in values}


def _all_alike(runs: Sequence[Run], paths: Sequence[str], first: ConfigDict, texts: dict, builder: Builder) -> bool:
  """Whether variants of the first run, each with other values of all paths, have its programs."""
  flat = [files.flatten(run.config) for run in runs]
  others = [[v for v in _traced_values(p, [f[p] for f in flat]) if v != flat[0][p]] for p in paths]
  try:
    for i in range(max(map(len, others), default=0)):
      other = first
      for path, values in zip(paths, others, strict=True):
        other = _with(other, path, values[i % len(values)])
      if builder(other)[1].texts != texts:
        return False
  except errors.UserError:  # values that are valid in other combinations, or a run that is invalid and will be named
    return False
  return True


def _split(
  runs: list[Run], static: dict, inputs: frozenset[str], builder: Builder, settled: frozenset[str] = frozenset()
) -> list[Group]:
  """Splits runs that satisfy 1 and 2 into groups that satisfy 3; keys in `settled` are already checked."""
  first = ConfigDict(runs[0].config)
  try:
    experiment, programs = builder(first)
  except errors.UserError as e:
    raise errors.UserError(f"Run {runs[0].name}: {e}") from e
  flat = {run.name: files.flatten(run.config) for run in runs}
  paths = [p for p in sorted({"seed", *inputs} - settled) if len({f[p] for f in flat.values()}) > 1]
  if _all_alike(runs, paths, first, programs.texts, builder):
    return [Group(runs, first, experiment, programs, static, inputs)]
  for path in paths:
    classes = _classes(path, runs, first, programs.texts, builder)
    if len(set(classes.values())) > 1:  # baked in: one part per program, each split by the other keys
      parts: dict[str, list[Run]] = {}
      for run in runs:
        parts.setdefault(classes[flat[run.name][path]], []).append(run)
      return [
        group
        for part in parts.values()
        for group in _split(part, static | {path: flat[part[0].name][path]}, inputs, builder, settled | {path})
      ]
  return [Group(runs, first, experiment, programs, static, inputs)]


def _check_start(run: Run) -> None:
  """Raises UserError if init_from has no checkpoint: building checks this, but only a group's first run is built."""
  if place := run.config.get("init_from"):
    try:
      warm_start.check(place)
    except errors.UserError as e:
      raise errors.UserError(f"Run {run.name}: {e}") from e


def group(runs: Sequence[Run], builder: Builder | None = None) -> list[Group]:
  """Groups the runs that can be lanes of one program, in the order of the sweep.

  Raises:
    UserError: a run is invalid; the message names it.
  """
  buckets: dict[str, tuple[list[Run], dict, frozenset[str]]] = {}
  for run in runs:
    _check_start(run)
    inputs = frozenset(hyper_parameters(ConfigDict(run.config))) | folds.inputs(ConfigDict(run.config))
    static = {k: v for k, v in files.flatten(run.config).items() if k not in inputs and k not in _STATE_KEYS}
    key = json.dumps([static, sorted(inputs)], sort_keys=True)
    buckets.setdefault(key, ([], static, inputs))[0].append(run)
  builder = builder or Builder()
  return [g for bucket in buckets.values() for g in _split(*bucket, builder)]


def _differing(a: Group, b: Group) -> list[str]:
  keys = a.static.keys() | b.static.keys()
  return sorted(k for k in keys if a.static.get(k) != b.static.get(k))


def _shown(value: Any) -> str:
  text = show(value)
  return text if len(text) <= 40 else f"{text[:37]}..."


def _kind_of_difference(a: Programs, b: Programs) -> str:
  if a.texts == b.texts:
    return "changes the training loop, not the program"
  if a.operations != b.operations:
    return "different operations"
  return "different shapes" if a.shapes != b.shapes else "a different constant in the program"


def why(group: Group, others: Sequence[Group]) -> str:
  """How a group differs from the most similar other one, as clauses; "" if it is the only one."""
  if not others:
    return ""
  nearest = min(others, key=lambda other: len(_differing(group, other)))
  only_here, only_there = group.inputs - nearest.inputs, nearest.inputs - group.inputs
  value = lambda group, k: _shown(group.static.get(k, "absent"))
  clauses = [f"{k} is {value(nearest, k)} in others: not an input of their program" for k in sorted(only_here)]
  clauses += [f"{k} is {value(group, k)} here: not an input of the program" for k in sorted(only_there)]
  kind = _kind_of_difference(group.programs, nearest.programs)
  for k in _differing(group, nearest):
    if k not in only_here | only_there:
      clauses.append(f"{k} is {value(group, k)} here, {value(nearest, k)} in others: {kind}")
  return "; ".join(clauses)

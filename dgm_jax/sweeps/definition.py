"""Builds the runs of a sweep from a config file, its sweep() and the command line.

A config file may define `sweep()`, which returns override dicts (see axes), and `sweep_NAME()`, chosen by --name=NAME.
"""

import ast
import json
import pathlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dgm_jax.core import config_args, errors, options, own_code
from dgm_jax.sweeps import axes
from dgm_jax.training import settings


class Run(NamedTuple):
  """One run of a sweep.

  Attributes:
    name: name of its folder in ROOT/runs.
    overrides: {path: value} set by the sweep.
    config: the full config, as in config.json.
    command: command line that trains this run alone, without --workdir.
  """

  name: str
  overrides: axes.Overrides
  config: dict[str, Any]
  command: tuple[str, ...]


def _kind(config: Any, path: str) -> type:
  *sections, name = path.split(".")
  for section in sections:
    config = config[section]
  return config.get_type(name)


def _sequence(text: str) -> Any:
  """The value of a text like "(1, 2)"; the words of one like "tensorboard,mlflow"."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return options.words(text)


def typed(config: Any, path: str, value: Any) -> Any:
  """Converts `value`, a number or text, to the type of the config's value at `path`.

  Raises:
    UserError: the config has no such path, or the value cannot be converted.
  """
  config_args.check_path(config, path)
  kind = _kind(config, path)
  wrong = errors.UserError(f"Axis {path!r}: {axes.show(value)!r} is not of the config's type {kind.__name__}.")
  if isinstance(value, axes.Distribution):
    errors.require(
      value.kind == "choice" or kind is float or (kind is int and value.kind == "integers"),
      f"Axis {path!r}: {value} does not draw values of the config's type {kind.__name__}.",
    )
    return value._replace(values=tuple(typed(config, path, v) for v in value.values))
  try:
    if kind is bool:
      return {"true": True, "false": False}[str(value).lower()]
    if kind in (int, float):
      if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise wrong
      return kind(value)
    if kind is str and isinstance(value, str):
      return value
    if kind in (tuple, list):
      value = _sequence(value) if isinstance(value, str) else value
      if isinstance(value, tuple | list):
        return kind(value)
  except (KeyError, ValueError, TypeError, SyntaxError):
    raise wrong from None
  raise wrong


def _with_arguments(file: str, overrides: Mapping[str, Any]) -> str:
  """FILE:ARGUMENT extended by `arg.NAME` and by data.name, since the options of a config depend on its data set."""
  values = {path[4:]: axes.show(v) for path, v in overrides.items() if path.startswith("arg.")}
  values |= {"data": axes.show(overrides["data.name"])} if "data.name" in overrides else {}
  return config_args.with_arguments(file, values)


def _loaded(file: str, values: Mapping[str, Any]) -> ConfigDict:
  """The config with the arguments among `values`, and with the sections of evaluations that their paths ask for."""
  config = config_args.load(_with_arguments(file, values))
  if any(path.startswith(("evaluate.", "track.")) for path in values):
    from dgm_jax.training.build import with_evaluations  # imports models and JAX, which most commands do without

    config = with_evaluations(config, values)
  return config


def typed_common(file: str, common: Mapping[str, Any]) -> dict[str, Any]:
  """Converts the values of --config.PATH=TEXT, shared by all runs, to the config's types."""
  config = _loaded(file, common)
  return {path: typed(config, path, text) for path, text in common.items()}


def typed_space(file: str, common: Mapping[str, Any], sweep: Iterable[Mapping[str, Any]]) -> list[axes.Overrides]:
  """Converts the values of a sweep, which may be distributions, to the config's types."""
  config = _loaded(file, common)
  argument = lambda path: path.startswith("arg.")
  return [{path: v if argument(path) else typed(config, path, v) for path, v in o.items()} for o in sweep]


def make_run(file: str, common: Mapping[str, Any], overrides: Mapping[str, Any]) -> Run:
  """Builds a run from a config file and overrides.

  Args:
    file: FILE[:ARGUMENT] of the config.
    common: {path: value or text} shared by all runs.
    overrides: {path: value or text} of this run.

  Raises:
    UserError: an unknown path, or an invalid value.
  """
  for path in overrides:
    errors.require(path not in common, f"{path!r} is both an axis and set by --config.{path}: give only one of them.")
  config = _loaded(file, {**common, **overrides})
  values = {}
  for path, value in {**common, **overrides}.items():
    values[path] = axes.show(value) if path.startswith("arg.") else typed(config, path, value)
    errors.require(
      not isinstance(values[path], axes.Distribution),
      f"Axis {path!r} is the distribution {values[path]}, but a sweep needs values: draw some with "
      "axes.random(n, seed, ...), or search with --search=tpe.",
    )
  plain = {path: v for path, v in values.items() if not path.startswith("arg.")}
  try:
    with config.unlocked():
      config.update_from_flattened_dict(plain)
  except (TypeError, ValueError) as e:
    raise errors.UserError(f"{', '.join(plain)}: {e}") from e
  settings.check(config)
  flags = [f"--config.{p}={repr(v) if isinstance(v, tuple | list) else axes.show(v)}" for p, v in plain.items()]
  argument = _with_arguments(file, {p: v for p, v in values.items() if p != "data.name"})
  own = {path: values[path] for path in overrides}
  command = ("python", "-m", "dgm_jax.main", f"--config={argument}", *flags)
  return Run(axes.run_name(own), own, config.to_dict(), command)


def _made(file: str, name: str, sweep: Callable[[], Any]) -> list[axes.Overrides]:
  """What a sweep function of a config file returns, validated."""
  path = config_args.find(file)
  with own_code.running(path, f"{name} of {str(path)!r} failed"):
    made = sweep()
    base = list(made) if isinstance(made, Iterable) else made
  is_sweep = isinstance(base, list) and all(isinstance(o, Mapping) and all(isinstance(k, str) for k in o) for o in base)
  errors.require(
    is_sweep, f"{name} of {file} must return mappings {{path: value}}, as axes.product does; it is {made!r:.80}."
  )
  errors.require(bool(base), f"{name} of {file} is empty.")
  return base


def overrides_of(file: str, name: str = "", command_line: Mapping[str, Sequence[Any]] | None = None) -> list:
  """The override dicts of a config file's sweep, multiplied by the axes of the command line.

  Args:
    file: FILE[:ARGUMENT].
    name: NAME of the function sweep_NAME(); "" for sweep(), if it is defined.
    command_line: {path: values} of --sweep.PATH=VALUES; they replace an axis of the same path in sweep().

  Raises:
    UserError: there is no such sweep, or it is empty.
  """
  functions = config_args.functions(file)
  named = {k.removeprefix("sweep_"): f for k, f in functions.items() if k.startswith("sweep_") and callable(f)}
  command_line = command_line or {}
  if name:
    sweep = named[errors.choose(f"sweep of {file}", name, named)]
  else:
    sweep = functions.get("sweep")
    also = f" It defines {', '.join(f'--name={n}' for n in sorted(named))}." if named else ""
    errors.require(
      sweep is not None or bool(command_line), f"{file} has no sweep(), and no --sweep.PATH=VALUES is given.{also}"
    )
  base = _made(file, f"sweep_{name}()" if name else "sweep()", sweep) if sweep else [{}]
  kept = [{path: v for path, v in overrides.items() if path not in command_line} for overrides in base]
  distinct = {json.dumps(o, sort_keys=True, default=str): o for o in kept}
  return axes.product(list(distinct.values()) if len(distinct) < len(base) and command_line else kept, command_line)


def make_runs(file: str, common: Mapping[str, Any], sweep: Iterable[Mapping[str, Any]]) -> list[Run]:
  """The runs of a sweep, in order.

  Raises:
    UserError: an empty sweep, duplicate overrides, an unknown path or an invalid value.
  """
  runs = [make_run(file, common, overrides) for overrides in sweep]
  errors.require(bool(runs), "The sweep is empty.")
  name, count = Counter(run.name for run in runs).most_common(1)[0]
  errors.require(count == 1, f"The sweep contains the run {name!r} {count} times; all runs must be different.")
  return runs


def shell_command(run: Run, root: pathlib.Path) -> str:
  """Shell command that trains this run alone, to be run from the folder that contains the package."""
  return shlex.join([*run.command, f"--workdir={root / 'runs' / run.name}"])

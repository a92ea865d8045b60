"""From a config file, its sweep() and the command line to the runs of a sweep.

A config file may define `sweep()`, which gives override dicts (see axes), and `sweep_NAME()`, chosen by --name=NAME.
"""

import ast
import json
import pathlib
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dgm_jax.core import config_args, errors
from dgm_jax.sweeps import axes


class Run(NamedTuple):
  """One run of a sweep.

  Attributes:
    name: its folder in ROOT/runs.
    overrides: {path: value}, what the sweep sets.
    config: the whole config, as config.json has it.
    command: the arguments that run it alone, but for --workdir.
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


def typed(config: Any, path: str, value: Any) -> Any:
  """`value`, a number or its text, as what the config has at `path`.

  Raises:
    UserError: the config has no such path, or the value does not fit.
  """
  config_args.check_path(config, path)
  kind = _kind(config, path)
  wrong = errors.UserError(f"Axis {path!r}: {axes.show(value)!r} is no {kind.__name__}, which the config has there.")
  if isinstance(value, axes.Distribution):
    errors.require(
      value.kind == "choice" or kind is float or (kind is int and value.kind == "integers"),
      f"Axis {path!r}: {value} gives numbers of another kind than the config's {kind.__name__}.",
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
      value = ast.literal_eval(value) if isinstance(value, str) else value
      if isinstance(value, tuple | list):
        return kind(value)
  except (KeyError, ValueError, TypeError, SyntaxError):
    raise wrong from None
  raise wrong


def _with_arguments(file: str, overrides: Mapping[str, Any]) -> str:
  """FILE:ARGUMENT with what `arg.NAME` and data.name (another data set has other options) add to the argument."""
  pairs = [f"{path[4:]}={axes.show(v)}" for path, v in overrides.items() if path.startswith("arg.")]
  pairs += [f"data={axes.show(overrides['data.name'])}"] if "data.name" in overrides else []
  return ",".join(filter(None, [file if ":" in file else f"{file}:", *pairs])).replace(":,", ":") if pairs else file


def typed_common(file: str, common: Mapping[str, Any]) -> dict[str, Any]:
  """What --config.PATH=TEXT of all runs say, as what the config has there."""
  config = config_args.load(_with_arguments(file, common))
  return {path: typed(config, path, text) for path, text in common.items()}


def typed_space(file: str, common: Mapping[str, Any], sweep: Iterable[Mapping[str, Any]]) -> list[axes.Overrides]:
  """A sweep whose values may be distributions, as what the config has there."""
  config = config_args.load(_with_arguments(file, common))
  argument = lambda path: path.startswith("arg.")
  return [{path: v if argument(path) else typed(config, path, v) for path, v in o.items()} for o in sweep]


def make_run(file: str, common: Mapping[str, Any], overrides: Mapping[str, Any]) -> Run:
  """The run of a config under overrides.

  Args:
    file: FILE[:ARGUMENT] of the config.
    common: {path: value or text} of all runs.
    overrides: {path: value or text} of this one.

  Raises:
    UserError: a path or a value that cannot be.
  """
  for path in overrides:
    errors.require(path not in common, f"{path!r} is an axis of the sweep and --config.{path} too: give one of them.")
  config = config_args.load(_with_arguments(file, {**common, **overrides}))
  values = {}
  for path, value in {**common, **overrides}.items():
    values[path] = axes.show(value) if path.startswith("arg.") else typed(config, path, value)
    errors.require(
      not isinstance(values[path], axes.Distribution),
      f"Axis {path!r} is {values[path]}, which has no list of values: draw some with axes.random(n, seed, ...), or "
      "search with --search=tpe.",
    )
  plain = {path: v for path, v in values.items() if not path.startswith("arg.")}
  try:
    with config.unlocked():
      config.update_from_flattened_dict(plain)
  except (TypeError, ValueError) as e:
    raise errors.UserError(f"{', '.join(plain)}: {e}") from e
  flags = [f"--config.{p}={repr(v) if isinstance(v, tuple | list) else axes.show(v)}" for p, v in plain.items()]
  argument = _with_arguments(file, {p: v for p, v in values.items() if p != "data.name"})
  own = {path: values[path] for path in overrides}
  command = ("python", "-m", "dgm_jax.main", f"--config={argument}", *flags)
  return Run(axes.run_name(own), own, config.to_dict(), command)


def overrides_of(file: str, name: str = "", command_line: Mapping[str, Sequence[Any]] | None = None) -> list:
  """The sweep of a config file times the axes of the command line.

  Args:
    file: FILE[:ARGUMENT].
    name: of the function sweep_NAME(); "" for sweep(), if there is one.
    command_line: {path: values} of --sweep.PATH=VALUES; an axis that sweep() has, too, takes its place.

  Raises:
    UserError: no such sweep, or none at all.
  """
  functions = config_args.functions(file)
  named = {k.removeprefix("sweep_"): f for k, f in functions.items() if k.startswith("sweep_") and callable(f)}
  command_line = command_line or {}
  if name:
    sweep = named[errors.choose(f"sweep of {file}", name, named)]
  else:
    sweep = functions.get("sweep")
    also = f" It has {', '.join(f'--name={n}' for n in sorted(named))}." if named else ""
    errors.require(
      sweep is not None or bool(command_line), f"{file} has no sweep(), and no --sweep.PATH=VALUES is given.{also}"
    )
  base = list(sweep()) if sweep else [{}]
  errors.require(bool(base), f"The sweep {name or 'sweep()'} of {file} is empty.")
  kept = [{path: v for path, v in overrides.items() if path not in command_line} for overrides in base]
  distinct = {json.dumps(o, sort_keys=True, default=str): o for o in kept}
  return axes.product(list(distinct.values()) if len(distinct) < len(base) and command_line else kept, command_line)


def make_runs(file: str, common: Mapping[str, Any], sweep: Iterable[Mapping[str, Any]]) -> list[Run]:
  """The runs of a sweep, in its order.

  Raises:
    UserError: an empty sweep, the same overrides twice, a path or value that cannot be.
  """
  runs = [make_run(file, common, overrides) for overrides in sweep]
  errors.require(bool(runs), "The sweep is empty.")
  name, count = Counter(run.name for run in runs).most_common(1)[0]
  errors.require(count == 1, f"The sweep has {name!r} {count} times: every run must differ from the others.")
  return runs


def shell_command(run: Run, root: pathlib.Path) -> str:
  """What runs it alone, in any shell, from the folder that the package lies in."""
  return shlex.join([*run.command, f"--workdir={root / 'runs' / run.name}"])

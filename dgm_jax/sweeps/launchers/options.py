"""The launchers and their options, as their `launch` functions declare and describe them: for --help and for checks.

An option --launcher.NAME=VALUE is a parameter of `launch`; its annotation gives the type, its docstring the help text.
"""

import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from dgm_jax.core import errors

LAUNCHERS = {"local": "local", "ray": "ray_launcher", "slurm": "slurm_launcher"}
_OURS = {"paths", "jobs", "on_change", "worker"}  # arguments of `launch` that are not options of the command line
_SHARED = ("jobs", "cpus", "gpus")  # options of all launchers, which may be given with and without `launcher.`
_WORDS = {bool: "true or false", int: "an integer", float: "a number"}


class Option(NamedTuple):
  """An option of a launcher.

  Attributes:
    name: its name; NAME_KEY for any option that begins with NAME_.
    kind: bool, int, float or str.
    default: its value if it is not given.
    help: what it does.
  """

  name: str
  kind: type
  default: Any
  help: str


def module(name: str) -> ModuleType:
  """The module of a launcher.

  Raises:
    UserError: there is none of this name.
  """
  errors.choose("launcher", name, LAUNCHERS)
  return importlib.import_module(f"dgm_jax.sweeps.launchers.{LAUNCHERS[name]}")


def _described(function: Callable) -> dict[str, str]:
  """{argument: its description} of a docstring's section Args."""
  section = re.search(r"^Args:\n((?:  .*\n|\n(?=  ))*)", f"{inspect.getdoc(function) or ''}\n", re.MULTILINE)
  entries = re.split(r"^  (?=\S)", section[1], flags=re.MULTILINE)[1:] if section else []
  pairs = (entry.partition(":")[::2] for entry in entries)
  return {name.lstrip("*"): " ".join(text.split()) for name, text in pairs}


def of(launch: Callable) -> dict[str, Option]:
  """{name: option} of a launcher's function."""
  texts, hints, found = _described(launch), typing.get_type_hints(launch), {}
  for p in inspect.signature(launch).parameters.values():
    if p.name in _OURS:
      continue
    kinds = set(typing.get_args(hints.get(p.name)) or (hints.get(p.name),))
    kind = next((k for k in (bool, str, float, int) if k in kinds), str)
    rest = p.kind is p.VAR_KEYWORD
    name = f"{p.name}_KEY" if rest else p.name
    found[name] = Option(name, kind, None if rest else p.default, texts.get(p.name, ""))
  return found


def text() -> str:
  """Help text for the options of all launchers."""
  same = ", ".join(f"--launcher.{name}" for name in _SHARED)
  lines = [f"options of the launchers ({same} are the same as --{', --'.join(_SHARED)}):"]
  for name in LAUNCHERS:
    lines.append(f"\n  --launcher={name}")
    for option in of(module(name).launch).values():
      default = "" if option.default is None else f" (default: {str(option.default).removesuffix('.0')})"
      value = {bool: "", int: "=N", float: "=NUMBER", str: "=TEXT"}[option.kind]
      head = f"    --launcher.{option.name}{value}"
      indent = " " * 31
      said = textwrap.wrap(f"{option.help}{default}", 118, initial_indent=indent, subsequent_indent=indent)
      lines += [f"{head:<30} {said[0].strip()}", *said[1:]] if len(head) < 30 else [head, *said]
  return "\n".join(lines)


def with_short_names(arguments: Sequence[str]) -> list[str]:
  """The command line with --jobs, --cpus and --gpus instead of --launcher.jobs, --launcher.cpus and --launcher.gpus."""
  return [re.sub(rf"^--launcher\.({'|'.join(_SHARED)})(?==|$)", r"--\1", argument) for argument in arguments]


def flags(name: str) -> set[str]:
  """The options of a launcher that may be given without a value."""
  return {f"launcher.{o.name}" for o in of(module(name).launch).values() if o.kind is bool}


def dotted(arguments: Sequence[str], groups: Sequence[str], flags: set[str] = frozenset()) -> dict[str, dict[str, str]]:
  """{group: {path: text}} of --GROUP.PATH=TEXT and --GROUP.PATH TEXT, and of --GROUP.PATH if it is one of `flags`.

  Raises:
    UserError: an argument of another form, one without a value, or one that is given twice.
  """
  found: dict[str, dict[str, str]] = {group: {} for group in groups}
  rest = list(arguments)
  while rest:
    flag, equals, value = rest.pop(0).partition("=")
    key = flag.removeprefix("--")
    group, _, path = key.partition(".")
    known = flag.startswith("--") and group in groups and path
    errors.require(bool(known), f"Unknown option {flag!r}; --help lists the options.")
    errors.require(path not in found[group], f"{flag} is given twice.")
    if not equals:
      alone = key in flags and (not rest or rest[0].startswith("--"))
      errors.require(alone or bool(rest), f"{flag} needs a value.")
      value = "true" if alone else rest.pop(0)
    found[group][path] = value
  return found


def _typed(option: Option, name: str, value: str) -> Any:
  try:
    return {"true": True, "false": False}[value.lower()] if option.kind is bool else option.kind(value)
  except (KeyError, ValueError):
    raise errors.UserError(f"--launcher.{name}={value}: {_WORDS[option.kind]} is needed.") from None


def parse(launcher: str, given: Mapping[str, str]) -> dict[str, Any]:
  """The options of a launcher as values of their types, from texts.

  Raises:
    UserError: an unknown name, with the nearest one, or a value of another type.
  """
  known = of(module(launcher).launch)
  open_ended = {name.removesuffix("KEY"): option for name, option in known.items() if name.endswith("_KEY")}
  found = {}
  for name, value in given.items():
    rest = next((option for prefix, option in open_ended.items() if name.startswith(prefix)), None)
    if name not in known and rest is None:
      choices = (f"--launcher.{known_name}" for known_name in known)
      raise errors.unknown(f"option of --launcher={launcher}:", f"--launcher.{name}", choices)
    found[name] = _typed(known.get(name, rest), name, value)
  return found

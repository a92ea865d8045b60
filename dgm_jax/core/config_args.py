"""A config file and its argument, `configs/x.py:quick,k=50,data=mnist5k`: words and pairs, checked against a spec."""

import pathlib
import runpy
import sys
import types
from collections.abc import Mapping
from typing import Any

from dgm_jax.core import errors


def _value(what: str, name: str, text: str, default: Any) -> Any:
  """`text` as the type of `default`, a tuple of choices, a number or a flag."""
  if isinstance(default, bool):
    values = {"true": True, "false": False}
    return values[errors.choose(f"value of {what} {name!r}", text.lower(), values)]
  if isinstance(default, tuple):
    values = {str(choice): choice for choice in default}
    return values[errors.choose(f"value of {what} {name!r}", text, values)]
  try:
    return type(default)(text)
  except ValueError:
    kind = {"int": "an integer", "float": "a number"}.get(type(default).__name__, "a word")
    raise errors.UserError(f"{what[0].upper()}{what[1:]} {name}={text!r} must be {kind}.") from None


def parse(arg: str | None, what: str = "config argument", **spec: Any) -> types.SimpleNamespace:
  """Reads "word,key=value,...".

  Args:
    arg: what stands after the colon.
    what: what its names are called in error messages.
    **spec: name=default.  A default of False makes a word that may stand alone, a tuple gives the choices, of which
      the first is the default; anything else gives its type.

  Returns:
    A namespace of the values, and `given`, the set of names that `arg` mentions.

  Raises:
    UserError: an unknown name or a value that does not fit.
  """
  values = {k: v[0] if isinstance(v, tuple) else v for k, v in spec.items()}
  given = set()
  for part in filter(None, (arg or "").split(",")):
    name, equals, text = (s.strip() for s in part.partition("="))
    errors.choose(what, name, spec)
    if not equals:
      errors.require(spec[name] is False, f"{what[0].upper()}{what[1:]} {name!r} needs a value: {name}=...")
      text = "true"
    values[name] = _value(what, name, text, spec[name])
    given.add(name)
  return types.SimpleNamespace(**values, given=given)


def functions(config: str) -> dict[str, Any]:
  """What the file of FILE[:ARGUMENT] defines, by name.

  Raises:
    UserError: there is no such file; the files that are there are named.
  """
  path = pathlib.Path(config.partition(":")[0])
  if not path.is_file():
    choices = [str(p) for p in path.parent.glob("*.py") if p.stem != "__init__"] or ["no .py file in that folder"]
    errors.choose("config file", str(path), choices)
  beside = str(pathlib.Path(__file__).parents[2])  # where configs/ lies, whose files import each other
  if beside not in sys.path:
    sys.path.append(beside)
  return runpy.run_path(str(path))


def load(config: str) -> Any:
  """The config that FILE[:ARGUMENT] stands for."""
  return functions(config)["get_config"](*config.partition(":")[2:] if ":" in config else ())


def check_path(config: Mapping[str, Any], path: str) -> None:
  """Refuses a path, "optim.lr", that the config lacks, with the nearest key and the choices."""
  node, seen = config, "config"
  for name in path.split("."):
    errors.require(hasattr(node, "keys"), f"{seen} is a value and has no key {name!r}.")
    errors.choose(f"key of {seen}", name, node.keys())
    node, seen = node[name], f"{seen}.{name}"

"""Config files and their arguments, `configs/x.py:quick,k=50,data=mnist5k`: flags and key=value pairs, validated."""

import importlib
import pathlib
import runpy
import types
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import errors, renamed

_CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def _value(what: str, name: str, text: str, default: Any) -> Any:
  """Parses `text` by the type of `default`: a flag, a tuple of choices, a number or a word."""
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
    arg: the text after the colon; None for none.
    what: the noun for a name in error messages.
    **spec: name=default.  False declares a flag, which may be given without a value; a tuple lists the choices, the
      first of which is the default; any other default determines the type.

  Returns:
    A namespace of the values, and `given`, the set of names that `arg` mentions.

  Raises:
    UserError: an unknown name, or an invalid or missing value.
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


def names() -> list[str]:
  """The configs of this package, by name."""
  return sorted(p.stem for p in _CONFIGS.glob("*.py") if p.stem not in ("__init__", "base"))


def find(config: str) -> pathlib.Path:
  """The file of NAME[:ARGUMENT] or FILE[:ARGUMENT].

  A name, or a path configs/NAME.py that does not exist here, is a config of this package.  `base`, which is no config
  without an argument, is found but not among the choices.

  Raises:
    UserError: there is no such file; the message lists the choices.
  """
  text = config.partition(":")[0]
  path = pathlib.Path(text)
  if path.is_file():
    return path
  if text in ("base", "base.py", "configs/base.py"):
    return _CONFIGS / "base.py"
  if path.parent == pathlib.Path():
    return _CONFIGS / f"{errors.choose('config', path.name.removesuffix('.py'), names())}.py"
  if path.parent == pathlib.Path("configs"):
    return _CONFIGS / pathlib.Path(errors.choose("config file", text, [f"configs/{n}.py" for n in names()])).name
  here = [str(p) for p in path.parent.glob("*.py") if p.stem not in ("__init__", "base")]
  raise errors.unknown("config file", text, here or ["no .py file in that folder"])


def functions(config: str) -> dict[str, Any]:
  """What the file of NAME[:ARGUMENT] or FILE[:ARGUMENT] defines, {name: value}.

  A config of this package is imported as dgm_jax.configs.NAME, so that it exists once; another file is run.

  Raises:
    UserError: there is no such file (the message lists the choices), or it defines no get_config.
  """
  path = find(config)
  is_ours = path.resolve().parent == _CONFIGS.resolve()
  defined = vars(importlib.import_module(f"dgm_jax.configs.{path.stem}")) if is_ours else runpy.run_path(str(path))
  errors.require("get_config" in defined, f"{path} defines no get_config.")
  return defined


def load(config: str) -> Any:
  """The config of FILE[:ARGUMENT]: what get_config(ARGUMENT) of the file returns.  Raises: see `functions`."""
  return functions(config)["get_config"](*config.partition(":")[2:] if ":" in config else ())


def check_path(config: Any, path: str) -> None:
  """Raises UserError, with the nearest key and the choices, if the ConfigDict has no key `path`, such as "optim.lr"."""
  renamed.check(path)
  node, seen = config, "config"
  for name in path.split("."):
    errors.require(hasattr(node, "keys"), f"{seen} is a value and has no key {name!r}.")
    errors.choose(f"key of {seen}", name, node.keys())
    node, seen = node[name], f"{seen}.{name}"


def _with_data_set(config: str, arguments: Sequence[str]) -> str:
  """FILE:ARGUMENT with data=NAME added for --config.data.name=NAME: another data set has other options."""
  for override, following in zip(arguments, [*arguments[1:], ""], strict=True):
    flag, equals, name = override.lstrip("-").partition("=")
    if override.startswith("-") and flag == "config.data.name":
      config += f"{',' if config.partition(':')[2] else ':' * (':' not in config)}data={name if equals else following}"
  return config


def checked_arguments(argv: Sequence[str]) -> list[str]:
  """A command line whose --config and --config.PATH are validated, so that mistakes are answered with the choices.

  Raises:
    UserError: no such config file, argument or key.
  """
  argv = list(argv)
  for i, arg in enumerate(argv[1:], 1):
    name, equals, value = arg.lstrip("-").partition("=")
    if arg.startswith("-") and name == "config" and (equals or i + 1 < len(argv)):
      value = _with_data_set(value if equals else argv[i + 1], argv)
      argv = [*argv[:i], f"--config={value}", *argv[i + (1 if equals else 2) :]]
      config = load(value)
      for override in argv[1:]:
        key = override.lstrip("-").partition("=")[0]
        if override.startswith("-") and key.startswith("config."):
          check_path(config, key.removeprefix("config."))
  return argv

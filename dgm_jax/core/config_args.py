"""Config files and their arguments, `configs/x.py:quick,k=50,data=mnist5k`: flags and key=value pairs, validated."""

import importlib
import pathlib
import runpy
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dgm_jax.core import errors, own_code, paths, renamed

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
    UserError: an unknown name, an invalid or missing value, or a name that is given twice.
  """
  values = {k: v[0] if isinstance(v, tuple) else v for k, v in spec.items()}
  given = set()
  for part in filter(None, (arg or "").split(",")):
    name, equals, text = (s.strip() for s in part.partition("="))
    errors.choose(what, name, spec)
    errors.require(name not in given, f"{what[0].upper()}{what[1:]} {name!r} is given twice, in {arg!r}.")
    if not equals:
      errors.require(spec[name] is False, f"{what[0].upper()}{what[1:]} {name!r} needs a value: {name}=...")
      text = "true"
    values[name] = _value(what, name, text, spec[name])
    given.add(name)
  return types.SimpleNamespace(**values, given=given)


def with_arguments(config: str, values: Mapping[str, str]) -> str:
  """NAME:ARGUMENT or FILE:ARGUMENT extended by "name=value", which replaces what ARGUMENT says of that name."""
  if not values:
    return config
  file, _, arg = config.partition(":")
  kept = [part for part in filter(None, arg.split(",")) if part.partition("=")[0].strip() not in values]
  return f"{file}:{','.join([*kept, *(f'{name}={value}' for name, value in values.items())])}"


def in_folder(folder: pathlib.Path) -> list[pathlib.Path]:
  """The config files of a folder; `base`, which is no config without an argument, is not among them."""
  return sorted(p for p in folder.glob("*.py") if p.stem not in ("__init__", "base"))


def names() -> list[str]:
  """The configs of this package, by name."""
  return [p.stem for p in in_folder(_CONFIGS)]


def find(config: str) -> pathlib.Path:
  """The file of NAME[:ARGUMENT] or FILE[:ARGUMENT].

  A name, or a path configs/NAME.py that does not exist here, is a config of this package; so is `base`.

  Raises:
    UserError: there is no such file; the message lists the choices.
  """
  text = config.partition(":")[0]
  path = paths.named("config file", text)
  if path.is_file():
    return path
  if text in ("base", "base.py", "configs/base.py"):
    return _CONFIGS / "base.py"
  folder = path if path.is_dir() and text else path.parent
  if folder == pathlib.Path():
    return _CONFIGS / f"{errors.choose('config', path.name.removesuffix('.py'), names())}.py"
  if folder == pathlib.Path("configs"):
    return _CONFIGS / pathlib.Path(errors.choose("config file", text, [f"configs/{n}.py" for n in names()])).name
  raise errors.unknown("config file", text, list(map(str, in_folder(folder))) or ["no .py file in that folder"])


def functions(config: str) -> dict[str, Any]:
  """What the file of NAME[:ARGUMENT] or FILE[:ARGUMENT] defines, {name: value}.

  A config of this package is imported as dgm_jax.configs.NAME, so that it exists once; another file is run.

  Raises:
    UserError: there is no such file (the message lists the choices), it cannot be run (the message quotes the line that
      raised), or it defines no function get_config.
  """
  path = find(config)
  if path.resolve().parent == _CONFIGS.resolve():
    return vars(importlib.import_module(f"dgm_jax.configs.{path.stem}"))
  with own_code.running(path, f"Config file {str(path)!r} cannot be read"):
    defined = runpy.run_path(str(path))
  has = callable(defined.get("get_config"))
  errors.require(has, f"{path} defines no get_config: def get_config(arg=''), which returns the config.")
  return defined


def load(config: str) -> Any:
  """The config of FILE[:ARGUMENT]: what get_config(ARGUMENT) of the file returns.

  Raises:
    UserError: see `functions`; or get_config raises, or returns something else than a ConfigDict.
  """
  get_config, path = functions(config)["get_config"], find(config)
  with own_code.running(path, f"get_config of {str(path)!r} failed"):
    made = get_config(*config.partition(":")[2:] if ":" in config else ())
  given = "None: does it end without `return config`?" if made is None else f"a {type(made).__name__}."
  errors.require(
    hasattr(made, "get_type"),  # as only a ConfigDict has; this layer does not import it
    f"get_config of {path} must return an ml_collections.ConfigDict, such as base.default() with some changes; it "
    f"returned {given}",
  )
  return made


def check_path(config: Any, path: str) -> None:
  """Raises UserError, with the nearest key and the choices, if the ConfigDict has no key `path`, such as "optim.lr"."""
  renamed.check(path)
  node, seen = config, "config"
  for name in path.split("."):
    errors.require(hasattr(node, "keys"), f"{seen} is a value and has no key {name!r}.")
    errors.choose(f"key of {seen}", name, node.keys())
    node, seen = node[name], f"{seen}.{name}"


def overrides(argv: Sequence[str]) -> dict[str, str]:
  """{PATH: VALUE} of the --config.PATH=VALUE and --config.PATH VALUE of a command line.

  Raises:
    UserError: one is given twice.
  """
  found = {}
  for argument, following in zip(argv, [*argv[1:], ""], strict=True):
    flag, equals, value = argument.lstrip("-").partition("=")
    if argument.startswith("-") and flag.startswith("config."):
      errors.require(flag not in found, f"--{flag} is given twice.")
      found[flag] = value if equals else following
  return {flag.removeprefix("config."): value for flag, value in found.items()}


def checked_arguments(argv: Sequence[str], load: Callable[[str], Any] = load) -> list[str]:
  """A command line whose --config and --config.PATH are validated, so that mistakes are answered with the choices.

  Args:
    argv: the command line.
    load: that of this module, or one that adds to it.

  Raises:
    UserError: no such config file, argument or key.
  """
  argv, given = list(argv), overrides(argv[1:])
  # another data set has other options
  of_data = {"data": given["data.name"]} if "data.name" in given else {}
  for i, arg in enumerate(argv[1:], 1):
    name, equals, value = arg.lstrip("-").partition("=")
    if arg.startswith("-") and name == "config" and (equals or i + 1 < len(argv)):
      value = with_arguments(value if equals else argv[i + 1], of_data)
      argv = [*argv[:i], f"--config={value}", *argv[i + (1 if equals else 2) :]]
      config = load(value)
      for path in given:
        check_path(config, path)
  return argv

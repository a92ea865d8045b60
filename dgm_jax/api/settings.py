"""Configs of runs that are started from Python: by name or file, with values set by path, as on the command line."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dgm_jax.core import config_args, errors
from dgm_jax.training.build import with_evaluations


def plain(value: Any) -> Any:
  """A number of NumPy's as one of Python's; other values are not changed."""
  return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def set_value(config: ConfigDict, path: str, value: Any) -> None:
  """config.PATH = value.

  Raises:
    UserError: there is no such key (the message has the nearest and the choices), or its type is another.
  """
  config_args.check_path(config, path)
  *sections, name = path.split(".")
  section: Any = config
  for key in sections:
    section = section[key]
  kind, value = section.get_type(name), plain(value)
  if kind in (tuple, list) and isinstance(value, tuple | list):
    value = kind(value)
  try:
    if isinstance(value, bool) and kind in (int, float):
      raise TypeError
    with section.unlocked():
      section[name] = value
  except (TypeError, ValueError):
    raise errors.UserError(f"config.{path} = {value!r} is not of the config's type {kind.__name__}.") from None


def make_config(config: str | ConfigDict, overrides: Mapping[str, Any], data_set: str = "") -> ConfigDict:
  """A copy of the config to train; the given one is not changed.

  Args:
    config: NAME[:ARGUMENT] or FILE[:ARGUMENT], or a ConfigDict.
    overrides: {path: value}, such as {"optim.lr": 1e-3}.
    data_set: of config.data; "" for the config's own, or that of overrides["data.name"].

  Raises:
    UserError: no such config, argument or key, or a value of another type.
  """
  data_set = data_set or overrides.get("data.name", "")
  if isinstance(config, ConfigDict):
    made = config.copy_and_resolve_references()
  else:
    errors.require(
      isinstance(config, str), f"config = {config!r}; a config's name or file is expected, e.g. 'iwae_mnist:k=5'."
    )
    made = config_args.load(config_args.with_arguments(config, {"data": data_set} if data_set else {}))
  made = with_evaluations(made, overrides)
  for path, value in overrides.items():
    set_value(made, path, value)
  return made

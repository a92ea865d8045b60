"""Sections of a config whose keys are the parameters of a function or of a class."""

import collections.abc
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from dgm_jax.core import options

_SCALARS = (bool, int, float, str)
_ROWS = (tuple, list, collections.abc.Sequence)


def kind(annotation: Any) -> type | None:
  """The type of a config's value: of `int | None` int, of Sequence[int] tuple; None if no config can hold one."""
  kinds = [k for k in typing.get_args(annotation) or (annotation,) if k is not type(None)]
  if typing.get_origin(annotation) in _ROWS or annotation in _ROWS:
    return tuple
  if len(kinds) > 1 and all(k in (int, float) for k in kinds):
    return float
  if kinds and kinds[0] != annotation:
    return kind(kinds[0])
  return annotation if annotation in _SCALARS else None


def section(function: Callable, leave_out: Collection[str] = ()) -> ConfigDict:
  """{parameter: its default}, or a placeholder of the annotated type where there is none, or where it is None.

  A parameter whose value no config can hold, such as a function, is left out.

  Args:
    function: a function or a class.
    leave_out: names of parameters that are no options.
  """
  parameters = inspect.signature(function).parameters
  hints = options.hints(function)
  parameters = {k: p.replace(annotation=hints.get(k, p.annotation)) for k, p in parameters.items()}
  return fill(ConfigDict(), {name: p for name, p in parameters.items() if name not in leave_out})


def fill(config: ConfigDict, parameters: Mapping[str, inspect.Parameter]) -> ConfigDict:
  """Adds parameters to a section, see `section`; returns it."""
  for name, parameter in parameters.items():
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
      continue
    of, default = kind(parameter.annotation), parameter.default
    if default in (None, parameter.empty):
      if of is not None:
        config[name] = config_dict.placeholder(of)
    elif isinstance(default, Mapping):
      config[name] = ConfigDict(dict(default))
    elif isinstance(default, (*_SCALARS, tuple, list)):
      config[name] = float(default) if of is float else tuple(default) if isinstance(default, list) else default
  return config


def given(function: Callable, values: Mapping[str, Any]) -> dict[str, Any]:
  """The values of a section, without those that have no value and no default, which count as missing."""
  parameters = inspect.signature(function).parameters
  required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
  return {name: value for name, value in values.items() if value is not None or name not in required}

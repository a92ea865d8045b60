"""Options that a user gives by name, validated against the signature of the function that takes them."""

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dgm_jax.core import errors

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def fits(value: Any, annotation: Any) -> bool:
  """Whether a value has the annotated type; True for an annotation of a type that no config can hold."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if annotation is None or annotation is type(None):
    return value is None
  if origin in (typing.Union, types.UnionType):
    return any(fits(value, a) for a in args)
  if origin in (tuple, list, collections.abc.Sequence) or annotation in (tuple, list):
    items = [a for a in args if a is not Ellipsis]
    # a tuple of fixed length has an annotation for each entry
    each = items if origin is tuple and Ellipsis not in args else items[:1] * len(value) if _is_row(value) else ()
    return _is_row(value) and (not items or (len(each) == len(value) and all(map(fits, value, each))))
  if origin in (dict, collections.abc.Mapping) or annotation in (dict, Mapping):
    return isinstance(value, Mapping) or hasattr(value, "keys")  # a ConfigDict is no Mapping
  if annotation is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if annotation is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, annotation) if annotation in (bool, str) else True


def _is_row(value: Any) -> bool:
  return isinstance(value, tuple | list)


def _name(annotation: Any) -> str:
  """An annotation in readable form: int, Sequence[int], str | None."""
  text = annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
  return text.replace("collections.abc.", "").replace("typing.", "").replace("NoneType", "None")


def hints(function: Callable) -> dict[str, Any]:
  """{parameter: its annotation} of a function or a class; {} if they name what cannot be found."""
  try:
    return typing.get_type_hints(function)
  except (NameError, TypeError, AttributeError):  # such as names that only a type checker imports
    return {}


def words(values: str | Iterable[Any]) -> tuple[str, ...]:
  """The words that commas separate, in a text or in each of several: --config.loggers=a,b arrives as one of them."""
  texts = [values] if isinstance(values, str) else values
  return tuple(word.strip() for text in texts for word in str(text).split(",") if word.strip())


def check(what: str, function: Callable, given: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> None:
  """Validates that `function` takes these options: their names, none missing, their types.

  Args:
    what: the noun in the message, such as "likelihood 'categorical'".
    function: a function or a class.
    given: {name: value}.
    leave_out: parameters that are not options: positional and internal ones.

  Raises:
    UserError: an unknown name, a missing option, or a value of another type.
  """
  parameters = inspect.signature(function).parameters
  named = {k: p for k, p in parameters.items() if p.kind not in _VARIADIC and k not in leave_out}
  if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):  # **kwargs takes any name
    for name in given:
      errors.choose(f"option of {what}", name, named)
  missing = [k for k, p in named.items() if p.default is p.empty and k not in given]
  errors.require(not missing, f"{what} needs {' and '.join(missing)}")
  annotated = hints(function)
  for name, value in given.items():
    annotation = annotated.get(name, Any)
    errors.require(fits(value, annotation), f"{name} = {value!r} of {what} must be of type {_name(annotation)}")


def call(what: str, function: Callable, *args: Any, **options: Any) -> Any:
  """Returns function(*args, **options), with the options of a user validated by `check`, which raises UserError."""
  positional = [k for k, p in inspect.signature(function).parameters.items() if p.kind not in _VARIADIC]
  check(what, function, options, (*positional[: len(args)], "parent", "name"))
  return function(*args, **options)

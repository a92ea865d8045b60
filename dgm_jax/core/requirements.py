"""What a principle requires of a model: "infer(batch)" is a method and how it is called, "num_classes" an attribute."""

import inspect
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import errors

_WHERE = "dgm_jax/models/README.md lists what each principle needs"


def defines(model: Any, name: str) -> bool:
  """Whether a model, or a class of models, has a method, property or field of this name."""
  kind = model if isinstance(model, type) else type(model)
  if name == "__call__":  # every class can be called, so hasattr is always true
    return any("__call__" in vars(base) for base in kind.__mro__)
  return hasattr(kind, name) or hasattr(model, name) or name in inspect.signature(kind).parameters


def check(principle: str, requires: Sequence[str], model: Any, name: str = "") -> None:
  """Raises UserError unless a model has everything that a principle requires.

  Args:
    principle: its name, for the message.
    requires: "method(parameters)" or "attribute", ...; a parameter "mean=False" is given by name, others by position.
    model: a model, or a class of models.
    name: of the model, for the message.
  """
  kind = model if isinstance(model, type) else type(model)
  shown = repr(name or kind.__module__)
  for required in requires:
    method, bracket, inside = required.partition("(")
    errors.require(
      defines(model, method),
      f"Principle {principle!r} needs models with {required}: add {method!r} to {shown}; {_WHERE}.",
    )
    function = inspect.getattr_static(kind, method, None)
    if not (bracket and inspect.isfunction(function)):
      continue
    given = [parameter.strip() for parameter in inside.rstrip(")").split(",") if parameter]
    by_name = {parameter.partition("=")[0]: None for parameter in given if "=" in parameter}
    try:
      inspect.signature(function).bind(None, *[p for p in given if "=" not in p], **by_name)
    except TypeError as e:
      raise errors.UserError(
        f"Principle {principle!r} calls {required}, but {method} of {shown} has the parameters "
        f"{inspect.signature(function)}: {e}; {_WHERE}."
      ) from e

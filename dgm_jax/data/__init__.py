"""Data sets: load(name, **options) -> Splits of dicts of arrays.  Each data set is a module in dgm_jax/data/sets.

README.md in this folder lists them, with their sizes, splits and sources, and shows how to use your own data.  A data
set may also be a module of the user's own, "mine.py" or "my_package.mine", with such a function `load`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from dgm_jax.core import errors, references
from dgm_jax.data import sets
from dgm_jax.data.published.spec import DataSet
from dgm_jax.data.splits import Splits


def _module(name: str) -> Any:
  return importlib.import_module(f"{sets.__name__}.{name.partition('/')[0]}")


def names() -> list[str]:
  """Names of all data sets; a member of a family is named "family/member"."""
  found = []
  for module in pkgutil.iter_modules(sets.__path__):
    loaded = _module(module.name)
    members = [spec.name for spec in getattr(loaded, "DATA_SETS", ())]
    members += [f"{module.name}/{member}" for member in getattr(loaded, "MEMBERS", ())]  # of a family without files
    found += members or [module.name]
  return sorted(found)


def published() -> dict[str, DataSet]:
  """The data sets that are prepared through TFDS, by name."""
  modules = [_module(m.name) for m in pkgutil.iter_modules(sets.__path__)]
  return {spec.name: spec for module in modules for spec in getattr(module, "DATA_SETS", ())}


def _built_in(name: str) -> Callable[..., Splits]:
  return _module(errors.choose("data set", name, names())).load


def options(name: str) -> dict[str, inspect.Parameter]:
  """The parameters of a data set's `load` function, by name, with defaults and types.

  Raises:
    UserError: there is no such data set.
  """
  load_set = references.load(name, "load") if references.is_own(name) else _built_in(name)
  return {k: p for k, p in inspect.signature(load_set).parameters.items() if k != "member"}


def load(name: str, **given: Any) -> Splits:
  """Loads a data set.

  Args:
    name: one of names(), or a module of the user's own, see core/references.py.
    **given: options of the data set's own `load`; None or "" means the default.

  Raises:
    UserError: unknown name or option, missing or damaged files, an empty split, or no Splits of the user's own `load`.
  """
  known = options(name)
  given = {k: v for k, v in given.items() if v not in (None, "")}
  for option in given:
    errors.choose(f"option of data set {name!r}", option, known)
  for option, parameter in known.items():
    errors.require(
      option in given or parameter.default is not parameter.empty, f"Data set {name!r} needs data.{option}."
    )
  if references.is_own(name):
    loaded = references.load(name, "load")(**given)
    errors.require(
      isinstance(loaded, Splits),
      f"load of data set {name!r} must return a dgm_jax.data.splits.Splits; it returns a {type(loaded).__name__}.",
    )
    return loaded
  member = name.partition("/")[2]
  return _module(name).load(member, **given) if member else _module(name).load(**given)

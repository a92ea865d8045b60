"""Data sets: load(name, **options) -> Splits of dicts of arrays.  Each data set is a module in dgm_jax/data/sets.

README.md in this folder lists them, with their sizes, splits and sources, and shows how to use your own data.
"""

import importlib
import inspect
import pkgutil
from typing import Any

from dgm_jax.core import errors
from dgm_jax.data import sets
from dgm_jax.data.published.spec import DataSet
from dgm_jax.data.splits import Splits


def _module(name: str) -> Any:
  return importlib.import_module(f"{sets.__name__}.{name.partition('/')[0]}")


def names() -> list[str]:
  """Names of all data sets; a member of a family is named "family/member"."""
  found = []
  for module in pkgutil.iter_modules(sets.__path__):
    members = getattr(_module(module.name), "DATA_SETS", ())
    found += [spec.name for spec in members] or [module.name]
  return sorted(found)


def published() -> dict[str, DataSet]:
  """The data sets that are prepared through TFDS, by name."""
  modules = [_module(m.name) for m in pkgutil.iter_modules(sets.__path__)]
  return {spec.name: spec for module in modules for spec in getattr(module, "DATA_SETS", ())}


def options(name: str) -> dict[str, inspect.Parameter]:
  """The parameters of a data set's `load` function, by name, with defaults and types.

  Raises:
    UserError: there is no such data set.
  """
  load_set = _module(errors.choose("data set", name, names())).load
  return {k: p for k, p in inspect.signature(load_set).parameters.items() if k != "member"}


def load(name: str, **given: Any) -> Splits:
  """Loads a data set.

  Args:
    name: one of names().
    **given: options of the data set's own `load`; None or "" means the default.

  Raises:
    UserError: unknown name or option, missing or damaged files, or an empty split.
  """
  known = options(name)
  given = {k: v for k, v in given.items() if v not in (None, "")}
  for option in given:
    errors.choose(f"option of data set {name!r}", option, known)
  for option, parameter in known.items():
    errors.require(
      option in given or parameter.default is not parameter.empty, f"Data set {name!r} needs data.{option}."
    )
  member = name.partition("/")[2]
  return _module(name).load(member, **given) if member else _module(name).load(**given)

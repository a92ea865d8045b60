"""Data sets: load(name, **options) -> Splits of dicts of arrays.  A data set is a module of this package."""

import importlib
import inspect
import pkgutil

from dgm_jax import errors
from dgm_jax.data.splits import Splits

_NOT_DATA = {"builders", "cache", "splits", "transforms"}


def names() -> list[str]:
  """The data sets there are."""
  return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_DATA)


def load(name: str, **options) -> Splits:
  """Loads a data set.

  Args:
    name: one of names().
    **options: what the data set's own `load` takes; an option that is None or "" counts as not given.

  Raises:
    UserError: unknown name or option, files that are missing or damaged, a split that leaves nothing.
  """
  module = importlib.import_module(f"{__name__}.{errors.choose('data set', name, names())}")
  options = {k: v for k, v in options.items() if v not in (None, "")}
  known = inspect.signature(module.load).parameters
  for option in options:
    errors.choose(f"option of data set {name!r}", option, known)
  return module.load(**options)

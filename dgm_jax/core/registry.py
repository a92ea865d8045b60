"""Modules chosen by name: the file name is the registry."""

import importlib
import pkgutil
from typing import Any

from dgm_jax.core import errors


def module(package: Any, what: str, name: str) -> Any:
  """The module `name` of a package whose modules are the choices: the file name is the registry."""
  names = [m.name for m in pkgutil.iter_modules(package.__path__)]
  return importlib.import_module(f"{package.__name__}.{errors.choose(what, name, names)}")

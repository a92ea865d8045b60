"""Modules chosen by their file name.

An entry is a file, at any depth of a package, that defines the symbol of its kind: `class Model`, `def make` or
`def evaluate`.  Entries are found by a search of the source text, so that only the chosen module is imported.
"""

import functools
import importlib
import pathlib
import re
from typing import Any

from dgm_jax.core import errors

DEFINITIONS = {"model": "class Model", "principle": "def make", "evaluation": "def evaluate"}


@functools.cache
def _files(root: pathlib.Path, kind: str) -> dict[str, pathlib.Path]:
  defines = re.compile(rf"^{DEFINITIONS[kind]}\b", re.MULTILINE)
  found = {}
  for path in sorted(root.rglob("*.py")):
    if defines.search(path.read_text(encoding="utf-8")):
      twin = found.setdefault(path.stem, path)
      errors.require(twin == path, f"{kind} {path.stem!r} is defined twice: in {twin} and {path}; rename one of them.")
  return found


def entries(package: Any, kind: str) -> dict[str, str]:
  """The entries of a package, {name: full name of the module}.

  Args:
    package: the imported package.
    kind: "model", "principle" or "evaluation".

  Raises:
    UserError: two files have the same name.
  """
  root = pathlib.Path(package.__path__[0])
  dotted = lambda path: ".".join([package.__name__, *path.relative_to(root).with_suffix("").parts])
  return {name: dotted(path) for name, path in _files(root, kind).items()}


def module(package: Any, kind: str, name: str) -> Any:
  """Imports and returns the module of the entry `name`.

  Raises:
    UserError: there is no such entry; the message gives the nearest name and the choices.
  """
  found = entries(package, kind)
  return importlib.import_module(found[errors.choose(kind, name, found)])

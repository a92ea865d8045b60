"""Modules chosen by their file name.

An entry is a file, at any depth of a package, that defines the symbol of its kind: `class Model`, `def make`,
`def evaluate` or `class Logger`.  Entries are found by a search of the source text, so that only the chosen module is
imported.  A name may also refer to a module of the user's own, see references.
"""

import functools
import importlib
import pathlib
import re
from typing import Any

from dgm_jax.core import errors, references

DEFINITIONS = {"model": "class Model", "principle": "def make", "evaluation": "def evaluate", "logger": "class Logger"}


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
    kind: of DEFINITIONS.

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
  if own := references.parse(name):
    return references.module(own.place)
  found = entries(package, kind)
  file = pathlib.Path(f"{name}.py")
  errors.require(
    name in found or not file.is_file(),
    f"There is no {kind} {name!r} in {package.__name__}; to use the file here, name it {str(file)!r}.",
  )
  return importlib.import_module(found[errors.choose(kind, name, found)])


def definition(package: Any, kind: str, name: str) -> Any:
  """What the entry `name` defines: its Model, make or evaluate, or what a reference FILE:NAME names.

  Raises:
    UserError: see `module`; or a module of the user's own has no such definition.
  """
  symbol = DEFINITIONS[kind].split()[1]
  return references.load(name, symbol) if references.is_own(name) else getattr(module(package, kind, name), symbol)

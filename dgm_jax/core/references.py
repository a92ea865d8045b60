"""A module of the user's own, named by a file or a dotted name, with or without one of its definitions.

  path/to/mine.py   path/to/mine.py:Model   my_package.mine   my_package.mine:Model

A dotted name is imported from sys.path, the current folder included.  A file is imported under a name made of its
digest: a file and its copy elsewhere are one module, and a changed file is another.
"""

import hashlib
import importlib
import importlib.util
import pathlib
import re
import sys
import types
from typing import Any, NamedTuple

from dgm_jax.core import errors, own_code

_WORD = r"[A-Za-z_]\w*"
_PATTERN = re.compile(rf"(?P<place>(?P<file>[^:]+\.py)|{_WORD}(?:\.{_WORD})*)(?P<colon>:(?P<symbol>{_WORD}))?")
_imported: dict[pathlib.Path, bytes] = {}  # the text of each file as this process last imported it


class Reference(NamedTuple):
  """A parsed name.

  Attributes:
    place: a file or a dotted name.
    symbol: the definition in it; "" for the one that its kind of module must have.
  """

  place: str
  symbol: str

  def __str__(self) -> str:
    return f"{self.place}:{self.symbol}" if self.symbol else self.place


def parse(name: Any) -> Reference | None:
  """The reference that a name is; None for any other name, such as that of a module of this package."""
  found = _PATTERN.fullmatch(name) if isinstance(name, str) else None
  if found is None or not (found["file"] or found["colon"] or "." in found["place"]):
    return None
  return Reference(found["place"], found["symbol"] or "")


def is_own(name: Any) -> bool:
  """Whether a name refers to a module of the user's own."""
  return parse(name) is not None


def digest(data: bytes) -> str:
  """SHA-256 of a file's content, in hexadecimal digits."""
  return hashlib.sha256(data).hexdigest()


def find(place: str) -> pathlib.Path | None:
  """The file of a place, absolute; None if there is none."""
  if place.endswith(".py"):
    path = pathlib.Path(place).expanduser()
    return path.absolute() if path.is_file() else None
  _add_current_folder()
  try:
    spec = importlib.util.find_spec(place)
  except (ImportError, ValueError):  # a package on the way is missing
    return None
  return pathlib.Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def imported(path: pathlib.Path) -> bytes:
  """The content of a file as this process last imported it."""
  return _imported[path] if path in _imported else path.read_bytes()


def is_imported(path: pathlib.Path) -> bool:
  """Whether a file is a module of the user's own that this process has imported."""
  return path in _imported


def module(place: str) -> types.ModuleType:
  """Imports the module of a file or of a dotted name.

  Raises:
    UserError: there is none, or its import fails; the message has the error and its line.
  """
  path = find(place)
  if path is None:
    raise errors.UserError(
      f"{place!r} does not exist; it is looked for from {pathlib.Path.cwd()}."
      if place.endswith(".py")
      else f"There is no module {place!r}: neither an installed package nor the current folder, {pathlib.Path.cwd()}, "
      "has it. Name a module as my_package.mine or path/to/mine.py, and a class in it as mine.py:Model."
    )
  with own_code.running(path, f"{place!r} cannot be imported"):
    return _from_file(path) if place.endswith(".py") else _by_name(place, path)


def load(name: str, default: str) -> Any:
  """What a reference names: a definition in its module.

  Args:
    name: see the module's docstring.
    default: the definition if `name` has none.

  Raises:
    UserError: there is no such module or definition, or the import fails.
  """
  reference = parse(name)
  if reference is None:
    raise errors.UserError(f"{name!r} names no module: it has neither a dot nor the suffix .py.")
  loaded, symbol = module(reference.place), reference.symbol or default
  if not hasattr(loaded, symbol):
    own = [k for k, v in vars(loaded).items() if getattr(v, "__module__", None) == loaded.__name__]
    listed = f"it defines {', '.join(sorted(own))}" if own else "it defines no class or function"
    raise errors.UserError(f"{reference.place!r} has no {symbol!r}; {listed}. FILE:NAME chooses one of them.")
  return getattr(loaded, symbol)


def _add_current_folder() -> None:
  """Puts the current folder at the end of sys.path, where the command dgm_jax, unlike python -m, lacks it."""
  folder = str(pathlib.Path.cwd())
  if "" not in sys.path and folder not in sys.path:
    sys.path.append(folder)
  importlib.invalidate_caches()


def _by_name(place: str, path: pathlib.Path) -> types.ModuleType:
  if place not in sys.modules:
    _imported[path] = path.read_bytes()
  return importlib.import_module(place)


def _from_file(path: pathlib.Path) -> types.ModuleType:
  """The module of a file.  A file my_package.mine.py is a copy of that module, with its relative imports."""
  data = path.read_bytes()
  _imported[path] = data
  name = f"{path.stem.replace('.', '_')}_{digest(data)[:12]}"
  if name in sys.modules:
    return sys.modules[name]
  made = types.ModuleType(name)
  made.__file__ = str(path)
  if package := path.stem.rpartition(".")[0]:
    made.__package__ = package
    _add_current_folder()
    importlib.import_module(package)
  sys.modules[name] = made
  try:
    exec(compile(data, str(path), "exec"), vars(made))
  except BaseException:
    del sys.modules[name]
    raise
  return made

"""Files and folders that a user names: read as a shell reads them, and validated before any work."""

import functools
import os
import pathlib
from collections.abc import Callable

from dgm_jax.core import errors

_LONGEST = 255  # bytes of a name, on nearly every file system


def named(what: str, text: str | os.PathLike[str]) -> pathlib.Path:
  """The path that a text names; ~ is the user's home, also where no shell has replaced it: --workdir=~/x.

  Args:
    what: the option or the noun, for messages.
    text: as the user gave it.

  Raises:
    UserError: no name, one that is too long, or one that the system does not let us look up.
  """
  errors.require(bool(str(text)), f"{what} is empty; give a name.")
  errors.require("\0" not in str(text), f"{what} {str(text)!r} has a zero byte; no file has such a name.")
  try:
    path = pathlib.Path(text).expanduser()
  except RuntimeError as e:
    raise errors.UserError(f"{what} {str(text)!r}: {e}") from e
  for name in path.parts:
    errors.require(
      len(os.fsencode(name)) <= _LONGEST,
      f"{what}: the name {name[:40]}... has {len(os.fsencode(name))} bytes; a file system takes {_LONGEST}.",
    )
  try:
    path.exists()
  except OSError as e:
    raise errors.UserError(f"{what} {str(path)[:200]}: {e.strerror}.") from e
  return path


def folder(what: str, text: str | os.PathLike[str]) -> pathlib.Path:
  """The folder that a text names, which may not exist yet.

  Raises:
    UserError: see `named`; or it, or a part of its path, is a file or a link to something that does not exist.
  """
  path = named(what, text)
  nearest = next(p for p in (path, *path.absolute().parents) if p.is_symlink() or p.exists())
  if nearest.is_symlink() and not nearest.exists():
    raise errors.UserError(f"{what} {path}: {nearest} is a link to {nearest.readlink()}, which does not exist.")
  shown = "it" if nearest == path else nearest
  errors.require(nearest.is_dir(), f"{what} {path}: {shown} is a file; name a folder.")
  return path


def folder_of(option: str) -> Callable[[str], pathlib.Path]:
  """`folder` for an option of the command line, as the type of an argument."""
  return functools.partial(folder, option)

"""Errors in a file of the user's own: a sentence that names the line, and the lines around it."""

import contextlib
import pathlib
import traceback
from collections.abc import Iterator

from dgm_jax.core import errors

_BEFORE, _AFTER = 2, 1  # lines that are quoted besides the one that raised


def _place(error: BaseException, path: pathlib.Path) -> tuple[pathlib.Path, int | None]:
  """The file and the line that raised: the last frame in the user's file, or where its syntax is wrong."""
  if isinstance(error, SyntaxError):
    return pathlib.Path(error.filename or path), error.lineno
  lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if pathlib.Path(f.filename) == path]
  return path, lines[-1] if lines else None


def _excerpt(path: pathlib.Path, line: int) -> str:
  """The line and those around it, with their numbers; "" if the file cannot be shown."""
  try:
    lines = path.read_text(encoding="utf-8").splitlines()
  except (OSError, ValueError):
    return ""
  first, last = max(1, line - _BEFORE), min(len(lines), line + _AFTER)
  return "".join(f"\n{'>' if n == line else ' '} {n:4}  {lines[n - 1][:150]}" for n in range(first, last + 1))


def explained(error: BaseException, path: pathlib.Path, begin: str) -> str:
  """The sentence for an error that the user's file raised, and below it the lines around the one that did.

  Args:
    error: what was raised.
    path: the user's file.
    begin: the beginning of the sentence, such as "'mine.py' cannot be imported".
  """
  file, line = _place(error, path)
  said = error.msg if isinstance(error, SyntaxError) else str(error)
  where = f"{file}, line {line}" if line else str(file)
  said = f"{begin}: {type(error).__name__}{f': {said}' if said else ''} ({where})."
  hint = errors.missing_package(error) if isinstance(error, ImportError) else ""
  return said + (f" {hint}" if hint else "") + (_excerpt(file, line) if line else "")


@contextlib.contextmanager
def running(path: pathlib.Path, begin: str) -> Iterator[None]:
  """Context that runs code of the user's file: whatever it raises becomes a UserError, see `explained`.

  A UserError passes as it is.  An exit counts as an error: a file that is read must not end the program.
  """
  try:
    yield
  except errors.UserError:
    raise
  except (Exception, SystemExit) as e:
    raise errors.UserError(explained(e, path, begin)) from e

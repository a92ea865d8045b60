"""Errors that a user can mend: one sentence that names the offending thing and the choices."""

import difflib
import os
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
  """A mistake of the user's.  `main` prints its sentence without a traceback and exits with status 2.

  Not a ValueError: the flag parser would wrap that in a traceback.
  """


class NotAvailableError(UserError, NotImplementedError):
  """What is asked for does not exist in closed form, for instance log q of a flow without an inverse."""


class LockedError(UserError):
  """Another process trains in the run's folder."""


class DiskFullError(UserError):
  """The disk of the run's folder is full."""


class DivergenceError(RuntimeError):
  """Training met NaN or Inf, at `step`.  `main` prints its sentence without a traceback and exits with status 3."""

  def __init__(self, sentence: str, step: int | None = None):
    super().__init__(sentence)
    self.step = step


class PrunedError(RuntimeError):
  """Somebody asked the run to end for good (stop.json in its folder), and it did, with its state saved."""


class StoppedError(BaseException):
  """A signal asked the run to stop, and it did.  `main` says how to resume it and exits with status 4.

  As KeyboardInterrupt it is no Exception: what takes any error for a damaged file, say, must not catch it.
  """


def run_command(main: Callable[[], int]) -> int:
  """The exit status of a command that goes on where it was stopped; a user's mistake is told in a sentence, with 2."""
  try:
    return main()
  except UserError as e:
    if os.environ.get("DGM_TRACEBACK"):
      raise
    print(f"error: {e}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("interrupted; the same command goes on.", file=sys.stderr)
    return 4


def choose(what: str, name: str, choices: Iterable[str]) -> str:
  """Returns `name` if it is one of `choices`, else raises a UserError with the nearest name and the choices."""
  choices = sorted(choices)
  if name in choices:
    return name
  near = difflib.get_close_matches(str(name), choices, n=1)
  hint = f" Did you mean {near[0]!r}?" if near else ""
  listed = f"Choices: {', '.join(choices)}." if choices else "There are none."
  raise UserError(f"Unknown {what} {name!r}.{hint} {listed}")


def require(condition: bool, message: str) -> None:
  """Raises UserError(message) unless `condition` holds."""
  if not condition:
    raise UserError(message)

"""How the commands of a run end: one sentence instead of a traceback, and an exit status for each kind of error."""

import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

import jax
from absl import flags

from dgm_jax.core import errors
from dgm_jax.training.processes import hosts, signals, supervisor


def _end(sentence: object, status: int) -> None:
  print(f"error: {sentence}", file=sys.stderr, flush=True)
  if jax.distributed.is_initialized():
    hosts.depart(status, orderly=status != supervisor.LOST)
  sys.exit(status)


def guarded(function: Callable, *args: Any, mistakes: tuple[type[Exception], ...] = ()) -> Any:
  """Calls a function; an error that a user can act on is printed as one sentence, and ends the process.

  Exit status: 2 for UserError, flags.Error, `mistakes` and what errors.sentence knows, 3 for NaN or Inf, 4 if stopped,
  5 if another process of the run was lost, 130 for Ctrl-C before training has begun.  DGM_TRACEBACK=1 shows the
  traceback behind a sentence.

  Args:
    function, args: the function and its arguments.
    mistakes: further exceptions that are mistakes of the user here.
  """
  resumes = f"The same command resumes:\n  {shlex.join(sys.orig_argv)}"
  with signals.requests(resumes):
    return _guarded(function, args, mistakes, resumes)


def _guarded(function: Callable, args: tuple, mistakes: tuple[type[Exception], ...], resumes: str) -> Any:
  try:
    return function(*args)
  except errors.UserError as e:
    if os.environ.get("DGM_TRACEBACK"):
      raise
    _end(e, 2)
  except errors.DivergenceError as e:
    _end(e, 3)
  except errors.PrunedError as e:
    _end(e, 4)
  except errors.StoppedError as e:
    _end(f"{e} {resumes}", signals.STOPPED)
  except jax.errors.JaxRuntimeError as e:
    if (said := errors.sentence(e)) and not os.environ.get("DGM_TRACEBACK"):
      _end(said, 2)
    if not jax.distributed.is_initialized():
      raise
    reason = str(e).strip().splitlines()[0][:200]
    _end(
      f"Another process of the run was lost or cannot be reached ({reason}). What was saved is kept; the same "
      f"command, in all processes, resumes:\n  {shlex.join(sys.orig_argv)}",
      supervisor.LOST,
    )
  except flags.Error as e:
    _end(f"{e} See --help.", 2)
  except mistakes as e:
    _end(" ".join(str(e.args[0] if e.args else e).split()), 2)
  except KeyboardInterrupt:
    _end("interrupted; the same command resumes from the latest checkpoint.", 130)
  except Exception as e:
    if os.environ.get("DGM_TRACEBACK") or not (said := errors.sentence(e)):
      raise
    _end(said, 2)

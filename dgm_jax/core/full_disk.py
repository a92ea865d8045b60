"""A full disk: one sentence that names the folder, instead of the tracebacks of every library that met it."""

import contextlib
import errno
import logging
import pathlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

from dgm_jax.core import errors

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# as libraries pass them on as text; the last one is NumPy's, which forgets the number
_TEXTS = re.compile(r"No space left on device|Disk quota exceeded|File too large|\d+ requested and \d+ written")
_LOUD = ("absl", "asyncio")  # loggers through which Orbax's threads report an exception before they pass it on


def is_cause(error: BaseException | None) -> bool:
  """Whether a full disk, a quota or the largest size of a file caused the error."""
  if error is None or isinstance(error, errors.DiskFullError):
    return error is not None
  if isinstance(error, OSError) and error.errno in _NUMBERS:
    return True
  return bool(_TEXTS.search(str(error))) or is_cause(error.__cause__) or is_cause(error.__context__)


@contextlib.contextmanager
def sentence(name: str, folder: pathlib.Path, advice: Callable[[], str]) -> Iterator[None]:
  """Context in which an error that a full disk causes becomes the DiskFullError "The disk of NAME is full. ADVICE".

  Args:
    name: of the folder, or of what names it, such as an option.
    folder: where the block writes; a block within it that writes elsewhere has a context of its own.
    advice: called after the error; says what is kept, and what to do.
  """
  with _quiet():
    try:
      yield
    except errors.DiskFullError:
      raise
    except Exception as e:  # libraries raise their own types
      if not is_cause(e):
        raise
      raise errors.DiskFullError(f"The disk of {name} is full{_left(folder)}. {advice()}") from e


def _left(folder: pathlib.Path) -> str:
  try:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return f" ({shutil.disk_usage(there).free / 1e6:,.1f} MB are left)"
  except OSError:
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Context in which threads do not print tracebacks of a full disk: the main thread will say it."""
  previous = threading.excepthook

  def hook(raised: Any) -> None:
    if not is_cause(raised.exc_value):
      previous(raised)

  def is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and is_cause(record.exc_info[1]))

  loud = [logging.getLogger(name) for name in _LOUD]
  threading.excepthook = hook
  for logger in loud:
    logger.addFilter(is_news)
  try:
    yield
  finally:
    threading.excepthook = previous
    for logger in loud:
      logger.removeFilter(is_news)

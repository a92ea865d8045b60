"""One process at a time trains in a run's folder."""

import contextlib
import errno
import json
import os
import pathlib
import platform
from collections.abc import Iterator

import filelock

from dgm_jax.core import errors, locks

_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the lock workdir/lock, a file that names the process.

  The operating system releases the lock when the process ends, for any reason, so that it is never stale.

  Raises:
    LockedError: another process holds it; the message names its host and process id.
    UserError: the file cannot be locked, is a link, or belongs to another account; the message says which.
  """
  path = workdir / "lock"
  opened: list[int] = []

  def name_the_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"host": platform.node(), "pid": os.getpid()}).encode(), 0)
    opened.append(descriptor)

  lock = locks.file_lock(path, name_the_holder)
  try:
    lock.acquire(timeout=0)
  except filelock.Timeout as e:
    raise errors.LockedError(f"--workdir {workdir} is being trained by {_holder(path)}; wait, or stop it.") from e
  except OSError as e:
    if e.errno in _OUT_OF_SPACE:
      raise
    raise errors.UserError(f"--workdir {workdir}: {locks.reason(path, e)}") from e
  try:
    yield
  finally:
    with contextlib.suppress(OSError):
      os.ftruncate(opened[0], 0)
    lock.release()


def _holder(path: pathlib.Path) -> str:
  try:
    held = json.loads(path.read_text())
    return f"process {held['pid']} on {held['host']}"
  except (OSError, ValueError, KeyError, TypeError):  # the other process is just writing it
    return "another process"

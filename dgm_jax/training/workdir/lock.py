"""One process at a time trains in a run's folder."""

import contextlib
import fcntl
import json
import os
import pathlib
import platform
from collections.abc import Iterator

from absl import logging

from dgm_jax.core import errors


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds workdir/lock, which says whose it is.

  The operating system gives the lock back when its process ends, however it ends: none is ever stale.

  Raises:
    LockedError: another process holds it; its host and number are named.
  """
  with open(workdir / "lock", "a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      raise errors.LockedError(f"--workdir {workdir} is being trained by {_holder(file)}; wait, or stop it.") from e
    except OSError as e:  # some network file systems have no locks
      logging.warning("%s cannot be locked (%s): see to it that no other process trains there.", workdir, e.strerror)
    file.truncate(0)
    json.dump({"host": platform.node(), "pid": os.getpid()}, file)
    file.flush()
    yield
    file.truncate(0)


def _holder(file) -> str:
  file.seek(0)
  try:
    held = json.load(file)
  except json.JSONDecodeError:  # it is just writing its name
    return "another process"
  return f"process {held['pid']} on {held['host']}"

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
  """Holds the lock workdir/lock, a file that names the process.

  The operating system releases the lock when the process ends, for any reason, so that it is never stale.

  Raises:
    LockedError: another process holds it; the message names its host and process id.
  """
  with open(workdir / "lock", "a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      raise errors.LockedError(f"--workdir {workdir} is being trained by {_holder(file)}; wait, or stop it.") from e
    except OSError as e:  # some network file systems have no locks
      logging.warning("%s cannot be locked (%s): make sure that no other process trains there.", workdir, e.strerror)
    file.truncate(0)
    json.dump({"host": platform.node(), "pid": os.getpid()}, file)
    file.flush()
    yield
    file.truncate(0)


def _holder(file) -> str:
  file.seek(0)
  try:
    held = json.load(file)
  except json.JSONDecodeError:  # the other process is just writing it
    return "another process"
  return f"process {held['pid']} on {held['host']}"

"""One process at a time trains in a run's folder."""

import contextlib
import fcntl
import json
import os
import pathlib
import platform
from collections.abc import Iterator

from dgm_jax import errors


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds workdir/lock, which says whose it is.

  The operating system gives the lock back when its process ends, however it ends: none is ever stale.

  Raises:
    UserError: another process holds it; its host and number are named.
  """
  with open(workdir / "lock", "a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
      raise errors.UserError(f"--workdir {workdir} is being trained by {_holder(file)}; wait, or stop it.") from e
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

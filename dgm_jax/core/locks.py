"""File locks that the kernel holds (flock): they end with their process, even after SIGKILL, so that none is stale."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Callable, Iterator

import filelock

from dgm_jax.core import errors

_WITHOUT = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def file_lock(path: pathlib.Path, on_acquired: Callable[[int], None] | None = None) -> filelock.BaseFileLock:
  """A lock on a file, which is created if necessary, never truncated, and not followed if it is a symbolic link.

  filelock's own fall-back where there is no flock, a file whose existence is the lock, would outlive a killed process;
  it is switched off.

  Args:
    path: the file.
    on_acquired: called with the descriptor of the locked file; if it raises, the lock is released.

  Raises:
    UserError: this Python has no file locks.
  """
  hard = filelock.has_fcntl or os.name == "nt"
  errors.require(hard, f"{path} cannot be locked: this Python has no flock.")
  return filelock.FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=on_acquired)


@contextlib.contextmanager
def held(path: pathlib.Path) -> Iterator[None]:
  """Holds the lock on a file; waits while another process does.

  Raises:
    UserError: the file cannot be locked.
  """
  lock = file_lock(path)
  try:
    lock.acquire()
  except OSError as e:
    raise errors.UserError(reason(path, e)) from e
  try:
    yield
  finally:
    lock.release()


def reason(path: pathlib.Path, error: OSError) -> str:
  """Why a file could not be locked, and what to do, as a sentence without its subject: "/run/lock ..."."""
  if error.errno == errno.ELOOP:
    return f"{path} is a symbolic link, which is not followed; remove it."
  if error.errno == errno.EISDIR:
    return f"{path} is a folder; remove it."
  if error.errno in _WITHOUT:
    return f"{path.parent} is on a file system without file locks ({error.strerror}); use a folder on another one."
  return f"{path} cannot be locked: {error.strerror}."

"""File locks that the kernel holds (flock): they end with their process, even after SIGKILL, so that none is stale."""

import contextlib
import errno
import os
import pathlib
import stat
from collections.abc import Callable, Iterator

import filelock

from dgm_jax.core import errors

_WITHOUT = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def file_lock(
  path: pathlib.Path, on_acquired: Callable[[int], None] | None = None, shared: bool = False
) -> filelock.BaseFileLock:
  """A lock on a file, which is created if necessary, never truncated, and not followed if it is a symbolic link.

  The locked file must be a regular one, with no other name, that belongs to this account or to the folder's owner.
  filelock's own fall-back where there is no flock, a file whose existence is the lock, would outlive a killed process;
  it is switched off.

  Args:
    path: the file.
    on_acquired: called with the descriptor of the locked file; if it raises, the lock is released.
    shared: whether the file may belong to any account, since several use the folder; nothing is written to it.

  Raises:
    UserError: this Python has no file locks; when the lock is acquired: the file is not such a one.
  """
  hard = filelock.has_fcntl or os.name == "nt"
  errors.require(hard, f"{path} cannot be locked: this Python has no flock.")

  def acquired(descriptor: int) -> None:
    _check(path, descriptor, shared)
    if on_acquired:
      on_acquired(descriptor)

  return filelock.FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=acquired)


def _check(path: pathlib.Path, descriptor: int, shared: bool) -> None:
  """Raises UserError unless this is a regular file of ours: what is written to it must not reach another one."""
  found = os.fstat(descriptor)
  errors.require(stat.S_ISREG(found.st_mode), f"{path} is not a regular file; remove it.")
  errors.require(found.st_nlink <= 1, f"{path} is also another file (a hard link); remove it.")
  if shared or os.name == "nt":
    return
  ours = {os.geteuid(), path.parent.stat().st_uid}
  errors.require(found.st_uid in ours, f"{path} belongs to another account (user id {found.st_uid}); remove it.")


def try_lock(descriptor: int) -> bool:
  """Locks an open file until it is closed; False if another process has, or the file system has no locks."""
  try:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except (ImportError, OSError):  # ImportError: not a Unix
    return False
  return True


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

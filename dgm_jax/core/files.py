"""Files that are complete or absent, also after a power cut: written beside their place, synced, renamed, synced."""

import contextlib
import errno
import functools
import json
import os
import pathlib
import re
import secrets
from collections.abc import Iterator
from typing import Any

from dgm_jax.core import errors, locks, records

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{16}\.")
_FORMER = re.compile(r"\.([0-9]+)\.")  # of earlier versions: .PID.NAME
_LONGEST_NAME = 255  # bytes
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # of a folder, on some file systems


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a new temporary file beside `path`, which becomes `path` at the end; after an error it is removed.

  Content and name are on the disk when this returns, so that nothing written later survives a power cut without it.
  The first use in a folder also removes the temporary files that killed processes left there.
  """
  _remove_left_once(path.parent.absolute())
  temporary, descriptor = _create_beside(path)
  try:
    yield temporary
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)
  finally:
    temporary.unlink(missing_ok=True)
    os.close(descriptor)


def _create_beside(path: pathlib.Path) -> tuple[pathlib.Path, int]:
  """(a new file of a random name in the same folder, its descriptor, which stays locked while this process lives)."""
  while True:
    start = f".tmp-{secrets.token_hex(8)}."
    name = path.name.encode()[-(_LONGEST_NAME - len(start)) :].decode(errors="ignore")  # its end has the suffix
    temporary = path.with_name(start + name)
    descriptor = os.open(temporary, _NEW, 0o666)
    locks.try_lock(descriptor)
    if os.fstat(descriptor).st_nlink:
      return temporary, descriptor
    os.close(descriptor)  # another process took it for one that was left, just before it was locked


def is_temporary(name: str) -> bool:
  """Whether this is the name of a temporary file of `whole`, of this version or of an earlier one."""
  return bool(_TEMPORARY.match(name) or _FORMER.match(name))


def remove_left(folder: pathlib.Path, former: bool = False) -> None:
  """Removes the temporary files of processes that have ended.

  Args:
    folder: where they are.
    former: whether to remove those of earlier versions, too; only for folders in which nobody else names files so.
  """
  with contextlib.suppress(OSError):  # there is no such folder, or another process removes them, too
    for entry in list(os.scandir(folder)):
      if _TEMPORARY.match(entry.name) and entry.is_file(follow_symlinks=False):
        _remove_unless_locked(entry.path)
      elif former and (found := _FORMER.match(entry.name)) and not _is_running(int(found[1])):
        os.unlink(entry.path)


@functools.cache
def _remove_left_once(folder: pathlib.Path) -> None:
  remove_left(folder)


def _remove_unless_locked(path: str) -> None:
  descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
  try:
    if locks.try_lock(descriptor):
      os.unlink(path)
  finally:
    os.close(descriptor)


def _is_running(pid: int) -> bool:
  try:
    os.kill(pid, 0)
  except (ProcessLookupError, OverflowError):
    return False
  except PermissionError:  # of another account
    pass
  return True


def sync(path: pathlib.Path) -> None:
  """Waits until a file's content, or the names in a folder, are on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  except OSError as e:
    if e.errno not in _NO_SYNC:
      raise
  finally:
    os.close(descriptor)


def sync_tree(folder: pathlib.Path) -> None:
  """`sync` of everything in a folder, and of the folder itself."""
  for place, _, names in os.walk(folder, topdown=False):
    for name in names:
      sync(pathlib.Path(place, name))
    sync(pathlib.Path(place))


def make_folder(folder: pathlib.Path) -> None:
  """Creates a folder and its parents, unless they exist; their names are on the disk when this returns."""
  missing = [p for p in (folder, *folder.parents) if not p.exists()]
  folder.mkdir(parents=True, exist_ok=True)
  for created in missing:
    sync(created.parent)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes the text, atomically; see `whole`."""
  with whole(path) as temporary:
    temporary.write_text(text, encoding="utf-8")


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes indented JSON, atomically; NaN and Inf raise ValueError."""
  write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
  """The value in a JSON file, or None if there is no such file.

  Raises:
    UserError: it cannot be read, is no JSON, or does not hold what core/records.py says of files of this name.
  """
  try:
    text = path.read_bytes()
  except FileNotFoundError:
    return None
  except OSError as e:
    raise errors.UserError(f"{path} cannot be read: {e.strerror}.") from e
  errors.require(not is_lost(text), f"{path} is damaged: it is empty.")
  try:
    value = json.loads(text)
  except (ValueError, RecursionError) as e:  # ValueError also for text that is not UTF-8
    raise errors.UserError(f"{path} is damaged: {e}.") from e
  records.check(path, value)
  return value


def is_lost(content: bytes) -> bool:
  """Whether this is what a power cut leaves of a file that was not synced: nothing, or zeros."""
  return not content.strip(b"\0")


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
  """{"optim": {"lr": 1}} -> {"optim.lr": 1}; every value that is not a dict is kept as it is."""
  flat = {}
  for k, v in tree.items():
    if isinstance(v, dict):
      flat |= flatten(v, f"{prefix}{k}.")
    else:
      flat[f"{prefix}{k}"] = v
  return flat


def write_with(path: pathlib.Path, write) -> None:
  """Calls write(temporary path), then renames that file to `path`; creates the folder if it does not exist."""
  make_folder(path.parent)
  with whole(path) as temporary:
    write(temporary)


def save_arrays(path: pathlib.Path, **arrays) -> None:
  """Writes a compressed .npz, atomically."""
  from numpy import savez_compressed

  write_with(path, lambda p: savez_compressed(p, **arrays))


def save_plain_arrays(path: pathlib.Path, **arrays) -> None:
  """Writes an .npz that is not compressed, atomically."""
  from numpy import savez

  def write(temporary):
    with open(temporary, "wb") as f:  # numpy appends .npz to names without it
      savez(f, **arrays)

  write_with(path, write)


def save_array(path: pathlib.Path, array) -> None:
  """Writes an .npy, atomically."""
  from numpy import save

  def write(temporary):
    with open(temporary, "wb") as f:  # numpy appends .npy to names without it
      save(f, array, allow_pickle=False)

  write_with(path, write)


def load_arrays(path: pathlib.Path) -> dict:
  """Reads an .npz as {name: array}.

  Raises:
    UserError: it is damaged, or has arrays of objects, which are pickles.
  """
  import zipfile
  import zlib

  from numpy import load

  try:
    with load(path, allow_pickle=False) as arrays:
      return dict(arrays)
  except FileNotFoundError:
    raise
  except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as e:
    said = "it has arrays of objects, which are pickles" if "pickle" in str(e) and zipfile.is_zipfile(path) else None
    said = said or ("it is no archive of arrays" if "pickle" in str(e) else str(e) or type(e).__name__)
    raise errors.UserError(f"{path} is damaged: {said}.") from e

"""Arrays cached as memory-mapped .npy files: decoded once, then loaded in the time that their checksums take.

digests.json has the size and, up to _HASHED_BYTES in all, the SHA-256 of each file; arrays that differ are prepared
again.  A folder that an earlier version prepared has none, and gets it when it is first used.
"""

import atexit
import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable

import filelock
import numpy as np
from absl import logging

from dgm_jax.core import errors, files, full_disk, locks
from dgm_jax.core.batches import Arrays

_CHUNK_BYTES = 2**26
_DIGESTS = "digests.json"
_HASHED_BYTES = 2**30  # about two seconds; larger data sets are streamed, and would be read for this alone
_ADVICE = (
  "It is where the data set {} is kept once it is prepared; nothing was kept. Free some space, or name another folder: "
  "TFDS_DATA_DIR, or config.data.data_dir."
)


class Parts(dict):
  """{part: arrays}; `about` holds metadata: names of classes, columns, genes."""

  about: dict


def data_dir(override: str | None = None) -> pathlib.Path:
  """The folder of all data sets: the override, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
  return pathlib.Path(override or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def save(folder: pathlib.Path, splits: dict[str, Arrays]) -> None:
  """Writes {part: {name: array}} as folder/part/name.npy."""
  for part, arrays in splits.items():
    (folder / part).mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
      np.save(folder / part / f"{name}.npy", array, allow_pickle=False)


def create(path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
  """A new memory-mapped .npy file; its space is allocated now, so that a full disk raises instead of crashing."""
  path.parent.mkdir(parents=True, exist_ok=True)
  array = np.lib.format.open_memmap(path, "w+", dtype, shape)
  if hasattr(os, "posix_fallocate"):
    with open(path, "r+b") as f:
      os.posix_fallocate(f.fileno(), 0, path.stat().st_size)
  return array


def save_rows(path: pathlib.Path, array: np.ndarray, indices: np.ndarray) -> None:
  """np.save of array[indices] in bounded memory: `array` may be memory-mapped."""
  target = create(path, array.dtype, (len(indices), *array.shape[1:]))
  rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
  for start in range(0, len(indices), rows):
    target[start : start + rows] = array[indices[start : start + rows]]
  target.flush()


def save_about(folder: pathlib.Path, about: dict) -> None:
  """Writes the metadata next to the parts."""
  files.write_json(folder / "about.json", about)


def _digests(folder: pathlib.Path) -> dict[str, list]:
  """{file: [size, SHA-256, or None for all files of a large data set]}."""
  found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != _DIGESTS and not p.name.startswith(".")]
  sizes = [p.stat().st_size for p in found]
  hashed = sum(sizes) <= _HASHED_BYTES
  digests = [_sha256(p) if hashed else None for p in found]
  return {str(p.relative_to(folder)): [n, d] for p, n, d in zip(found, sizes, digests, strict=True)}


def _sha256(path: pathlib.Path) -> str:
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _check(folder: pathlib.Path) -> None:
  """Raises ValueError or UserError if the files are not those that were prepared."""
  known = files.read_json(folder / _DIGESTS)
  if known is None:
    with contextlib.suppress(OSError):  # of an account that may only read it
      files.write_json(folder / _DIGESTS, _digests(folder))
    return
  found = _digests(folder)
  if different := [name for name in sorted(known | found) if known.get(name) != found.get(name)]:
    raise ValueError(f"{different[0]} is not what was written")


def read(folder: pathlib.Path, parts: tuple[str, ...], names: Iterable[str] = ()) -> Parts | None:
  """The arrays in `folder`, mapped read-only; None if one of `parts` or `names` is missing, damaged or unreadable."""
  try:
    if folder.is_dir():
      _check(folder)
    found = Parts(
      {
        part: {f.stem: np.load(f, "r", allow_pickle=False) for f in sorted((folder / part).glob("*.npy"))}
        for part in dict.fromkeys([*parts, *(d.name for d in sorted(folder.glob("*/")))])
      }
    )
    about = folder / "about.json"
    found.about = json.loads(about.read_text()) if about.exists() else {}
  except (ValueError, OSError, EOFError, errors.UserError) as e:
    logging.warning("The cached arrays in %s cannot be read (%s); preparing them again.", folder, e)
    return None
  whole = lambda arrays: arrays and len({len(a) for a in arrays.values()}) == 1 and arrays.keys() >= set(names)
  complete = all(whole(arrays) for arrays in found.values())
  return found if complete else None


def _lock(folder: pathlib.Path, what: str) -> filelock.BaseFileLock:
  """Acquires the lock for making `folder`; prints a line if it must wait."""
  lock = locks.file_lock(folder.with_name(f"{folder.name}.lock"), shared=True)
  try:
    return lock.acquire(timeout=0).lock
  except filelock.Timeout:
    print(f"Another process is preparing {what}; waiting for it.", flush=True)
    return lock.acquire().lock


def _make(folder: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
  """Writes to a temporary folder, then renames it: another process, or a power cut, finds all of it or nothing."""
  for left in folder.parent.glob(f"{folder.name}.tmp*"):  # by a process that was killed: this one has the lock
    shutil.rmtree(left, ignore_errors=True)
  temporary = folder.with_name(f"{folder.name}.tmp-{secrets.token_hex(8)}")
  try:
    temporary.mkdir(parents=True)
    write(temporary)
    files.write_json(temporary / _DIGESTS, _digests(temporary))
    files.sync_tree(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    files.sync(folder.parent)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def cached(
  folder: pathlib.Path,
  parts: tuple[str, ...],
  write: Callable[[pathlib.Path], None],
  what: str = "",
  names: Iterable[str] = (),
) -> Parts:
  """The arrays in `folder`; created there by `write(empty folder)` if they are incomplete or cannot be read.

  Args:
    folder: where the arrays are kept.
    parts, names: the required parts, and the required arrays of each part.
    write: fills an empty folder.
    what: name of the data set for messages.

  If several processes ask at once, one creates the arrays and the others wait.  If the folder cannot be written, they
  are created in a temporary folder, for this process only.

  Raises:
    DiskFullError: the disk of that folder is full.
  """
  what = what or folder.name
  if (splits := read(folder, parts, names)) is not None:
    return splits
  try:
    files.make_folder(folder.parent)
    lock = _lock(folder, what)
  except OSError as e:
    logging.warning("Arrays not cached: %s cannot be written (%s).", folder, e)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix="dgm_arrays_"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    with full_disk.sentence(str(temporary), temporary, lambda: _ADVICE.format(what)):
      write(temporary)
    return read(temporary, parts)
  try:
    if (splits := read(folder, parts, names)) is None:  # not created by the process that this one waited for
      with full_disk.sentence(str(folder.parent), folder.parent, lambda: _ADVICE.format(what)):
        _make(folder, write)
      splits = read(folder, parts)
  finally:
    lock.release()
  return splits

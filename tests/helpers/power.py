"""Copies of a folder as a power cut leaves them: what was not synced since it was written is cut, empty or missing."""

import contextlib
import os
import pathlib
import random
import shutil
import threading
from collections.abc import Iterator


class Disk:
  """Records which files and names have been synced, and which files were replaced or removed since.

  Args:
    folder: what is copied; it need not exist yet.
    side: an empty folder on the same disk.
    seed: of the instants, and of what is lost in each copy.
    every: number of events (a file synced, renamed or removed) between two copies, on average.
  """

  def __init__(self, folder: pathlib.Path, side: pathlib.Path, seed: int = 0, every: int = 10):
    self._folder, self._side, self._random, self._every = folder, side, random.Random(seed), every
    self._lock = threading.RLock()
    self._synced: dict[int, tuple[int, int]] = {}  # inode: size and time of a file when it was last synced
    self._names: dict[int, dict[str, int]] = {}  # inode of a folder: its names and their inodes at that time
    self._wait = 1
    self.copies: list[pathlib.Path] = []
    self.lost = 0  # files that were not copied as they were, in all copies

  @contextlib.contextmanager
  def recorded(self) -> Iterator[None]:
    """Context in which copies are taken, each just before an event."""
    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename", "unlink", "remove")}

    def fsync(descriptor):
      with self._event():
        real["fsync"](descriptor)
        found = os.fstat(descriptor)
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
          self._names[found.st_ino] = self._listed(descriptor)
        else:
          self._synced[found.st_ino] = (found.st_size, found.st_mtime_ns)

    def moved(name):
      def move(source, target, **where):
        with self._event():
          self._keep(target, None)
          real[name](source, target, **where)

      return move

    def removed(name):
      def remove(path, *, dir_fd=None):
        with self._event():
          self._keep(path, dir_fd)
          real[name](path, dir_fd=dir_fd)

      return remove

    for name in real:
      make = {"fsync": lambda _: fsync, "replace": moved, "rename": moved}.get(name, removed)
      setattr(os, name, make(name))
    try:
      yield
    finally:
      for name, function in real.items():
        setattr(os, name, function)

  @contextlib.contextmanager
  def _event(self) -> Iterator[None]:
    with self._lock:
      self._wait -= 1
      if self._wait == 0:
        self._wait = self._random.randint(1, 2 * self._every - 1)
        if self._folder.is_dir():
          target = self._side / f"copy{len(self.copies)}"
          self._copy_folder(self._folder, self._folder.stat().st_ino, target)
          self.copies.append(target)
      yield

  def _keep(self, path, dir_fd: int | None) -> None:
    """Keeps the content of a file that is about to go."""
    with contextlib.suppress(OSError):
      inode = os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_ino
      os.link(path, self._side / f"inode{inode}", src_dir_fd=dir_fd, follow_symlinks=False)

  @staticmethod
  def _listed(folder) -> dict[str, int]:
    with os.scandir(folder) as entries:
      return {entry.name: entry.inode() for entry in entries}

  def _copy_folder(self, live: pathlib.Path | None, inode: int, target: pathlib.Path) -> None:
    now, synced = self._listed(live) if live else {}, self._names.get(inode, {})
    target.mkdir()
    for name in sorted(now | synced):
      there = now.get(name), synced.get(name)
      chosen = there[0] if there[0] == there[1] else self._random.choice(there)
      self.lost += there[0] is not None and chosen != there[0]
      if chosen is None:
        continue
      path = live / name if live and chosen == there[0] else self._side / f"inode{chosen}"
      if path.is_dir() or (not path.exists() and chosen in self._names):
        self._copy_folder(path if path.is_dir() else None, chosen, target / name)
      elif path.is_file():
        self._copy_file(path, target / name)

  def _copy_file(self, path: pathlib.Path, target: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # renamed by a thread of C++
      found = path.stat()
      content = path.read_bytes()
      if self._synced.get(found.st_ino) == (found.st_size, found.st_mtime_ns):
        target.write_bytes(content)
        return
      self.lost += 1
      fault = self._random.choice(("missing", "empty", "cut", "zeros"))
      if fault != "missing":
        size = self._random.randrange(len(content) + 1) if fault == "cut" else 0
        target.write_bytes(bytes(len(content)) if fault == "zeros" else content[:size])


def clear(side: pathlib.Path) -> None:
  """Removes everything that a Disk kept."""
  shutil.rmtree(side, ignore_errors=True)

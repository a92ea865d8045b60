"""The lock of a run: one process at a time, never stale, never through a link, never without a lock."""

import contextlib
import errno
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import filelock
import pytest

from dgm_jax.core import errors, locks
from dgm_jax.training.workdir.lock import locked
from helpers import tables

HOLD = """
import pathlib, sys
from dgm_jax.training.workdir.lock import locked
with locked(pathlib.Path(sys.argv[1])):
  print("held", flush=True)
  sys.stdin.read()
"""
_NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another account")


@contextlib.contextmanager
def holder(folder):
  process = subprocess.Popen(
    [sys.executable, "-c", HOLD, str(folder)],
    cwd=tables.ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    assert process.stdout.readline() == "held\n"
    yield process
  finally:
    process.kill()
    process.communicate()


def test_the_lock_names_its_holder_and_is_empty_when_released(tmp_path):
  with locked(tmp_path):
    assert json.loads((tmp_path / "lock").read_text()) == {"host": platform.node(), "pid": os.getpid()}
    with pytest.raises(errors.LockedError, match=f"process {os.getpid()} on"), locked(tmp_path):
      pass
    assert (tmp_path / "lock").read_text()  # the refused one has not emptied it
  assert (tmp_path / "lock").read_text() == ""
  with locked(tmp_path):
    pass


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path):
  with holder(tmp_path) as process:
    sentence = f"is being trained by process {process.pid} on {platform.node()}; wait, or stop it"
    with pytest.raises(errors.LockedError, match=sentence), locked(tmp_path):
      pass
    process.kill()
    process.wait()
    with locked(tmp_path):
      assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_link_is_refused_and_its_target_is_kept(tmp_path):
  (tmp_path / "target").write_text("precious")
  (tmp_path / "lock").symlink_to("target")
  with pytest.raises(errors.UserError, match=r"/lock is a symbolic link, which is not followed"), locked(tmp_path):
    pass
  assert (tmp_path / "target").read_text() == "precious"


def test_another_name_of_a_file_is_refused_and_the_file_is_kept(tmp_path):
  (tmp_path / "precious").write_text("precious")
  (tmp_path / "lock").hardlink_to(tmp_path / "precious")
  with (
    pytest.raises(errors.UserError, match=r"/lock is also another file \(a hard link\); remove it"),
    locked(tmp_path),
  ):
    pass
  with pytest.raises(errors.UserError, match="is also another file"), locks.held(tmp_path / "lock"):
    pass
  assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_not_a_regular_file_is_refused(make, tmp_path):
  make(tmp_path / "lock")
  with pytest.raises(errors.UserError, match=r"/lock is (not a regular file|a folder); remove it"), locked(tmp_path):
    pass


@needs_root
def test_a_file_of_another_account_is_refused_unless_the_folder_is_its_own(tmp_path):
  (tmp_path / "lock").write_text("theirs")
  os.chown(tmp_path / "lock", _NOBODY, -1)
  with pytest.raises(errors.UserError, match=rf"belongs to another account \(user id {_NOBODY}\)"), locked(tmp_path):
    pass
  with pytest.raises(errors.UserError, match="belongs to another account"), locks.held(tmp_path / "lock"):
    pass
  assert (tmp_path / "lock").read_text() == "theirs"
  with locks.file_lock(tmp_path / "lock", shared=True):
    pass  # of a folder that several accounts use, where nothing is written to it
  os.chown(tmp_path, _NOBODY, -1)
  with locked(tmp_path):
    pass


@needs_root
def test_a_folder_that_cannot_be_written_is_refused():
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o555)
    os.seteuid(_NOBODY)
    try:
      sentence = "/lock cannot be locked: Permission denied"
      with pytest.raises(errors.UserError, match=sentence), locked(pathlib.Path(folder)):
        pass
    finally:
      os.seteuid(0)
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
  "number, error, sentence",
  [
    (errno.EACCES, errors.LockedError, "is being trained by another process"),
    (errno.ENOSYS, errors.UserError, "is on a file system without file locks .*; use a folder on another one"),
    (errno.ENOLCK, errors.UserError, "is on a file system without file locks"),
  ],
)
def test_without_a_lock_nothing_goes_on(number, error, sentence, tmp_path, monkeypatch):
  def flock(descriptor, operation):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr("fcntl.flock", flock)
  with pytest.raises(error, match=sentence), locked(tmp_path):
    pytest.fail("it went on without a lock")
  with pytest.raises((filelock.Timeout, OSError)):
    locks.file_lock(tmp_path / "other").acquire(timeout=0)


def test_all_locks_are_those_of_the_kernel():
  """filelock's other locks are files that outlive a killed process."""
  wrong = ("SoftFileLock", "filelock.FileLock(", "flock(")
  own = {"core/locks.py", "sweeps/launchers/child.py"}  # the child has only the standard library, and takes no lock
  package = tables.ROOT / "dgm_jax"
  texts = {str(p.relative_to(package)): p.read_text() for p in package.rglob("*.py")}
  assert [name for name, text in texts.items() if name not in own and any(w in text for w in wrong)] == []

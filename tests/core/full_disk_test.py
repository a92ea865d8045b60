"""A full disk is told apart from other errors, and one sentence names it."""

import errno
import logging
import pathlib
import threading

import pytest

from dgm_jax.core import errors, full_disk

pytestmark = pytest.mark.smoke

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def caused(error, cause):
  error.__cause__ = cause
  return error


ERRORS = {
  "of the system": (NO_SPACE, True),
  "a quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
  "NumPy's": (OSError("262144 requested and 3072 written"), True),
  "a library's text": (ValueError('RESOURCE_EXHAUSTED: Error writing "params/0": No space left on device'), True),
  "a cause": (caused(RuntimeError("the save failed"), NO_SPACE), True),
  "another error": (caused(RuntimeError("the save failed"), OSError(errno.EACCES, "Permission denied")), False),
}


@pytest.mark.parametrize("name", ERRORS)
def test_causes_are_recognised(name, tmp_path):
  error, is_full = ERRORS[name]
  assert full_disk.is_cause(error) == is_full
  expected = errors.DiskFullError if is_full else type(error)
  with pytest.raises(expected), full_disk.sentence("--out x", tmp_path, lambda: "Free some space."):
    raise error


def test_the_sentence_names_the_disk_that_was_written_to(tmp_path):
  """Not the outer one, within which another folder is written."""
  with (
    pytest.raises(errors.DiskFullError) as found,
    full_disk.sentence("--workdir", tmp_path, lambda: "The checkpoint of step 3 is complete."),
    full_disk.sentence("the data", pathlib.Path("/nowhere/at/all"), lambda: "Nothing was kept."),
  ):
    raise NO_SPACE
  assert str(found.value).startswith("The disk of the data is full (")
  assert str(found.value).endswith(" MB are left). Nothing was kept.")


def report(error):
  """What a library's thread does with an error: it logs it, and then raises it."""
  try:
    raise error
  except Exception:
    logging.getLogger("absl").exception("The save failed.")
    raise


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("is_full", [True, False])
def test_the_tracebacks_of_other_threads_are_left_out(is_full, tmp_path, caplog, monkeypatch):
  printed = []
  monkeypatch.setattr(threading, "excepthook", lambda raised: printed.append(raised.exc_value))
  with full_disk.sentence("--workdir", tmp_path, str), full_disk.sentence("--workdir", tmp_path, str):
    thread = threading.Thread(target=report, args=[NO_SPACE if is_full else ValueError("a mistake")])
    thread.start()
    thread.join()
  assert (len(printed), len(caplog.records)) == ((0, 0) if is_full else (1, 1))

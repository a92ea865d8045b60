"""Whether a folder can be written, asked before the work whose results it is to take."""

import contextlib
import pathlib
import tempfile

from dgm_jax.core import errors, full_disk, paths


def check(option: str, folder: pathlib.Path, advice: str = "") -> None:
  """Writes and removes a small file in a folder or, where there is none yet, in its nearest parent.

  Args:
    option: that names the folder, for messages.
    folder: a folder, which need not exist.
    advice: what else the user can do, as a sentence.

  Raises:
    UserError: it cannot be written.
  """
  there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
  errors.require(there.is_dir(), f"{option} {folder}: {there} is a file; name a folder. {advice}".strip())
  with full_disk.sentence(f"{option} {folder}", there, lambda: f"Free some space. {advice}".strip()):
    try:
      with tempfile.TemporaryFile(dir=there) as file:
        file.write(b"1")
    except OSError as e:
      if full_disk.is_cause(e):
        raise
      raise errors.UserError(f"{option} {folder} cannot be written ({e.strerror}). {advice}".strip()) from e


def chosen(workdir: pathlib.Path, out: str | None) -> pathlib.Path:
  """The folder for what is computed from a run: `out`, or without it the run's own.

  Raises:
    UserError: it cannot be written, or `out` names no folder.
  """
  if out is None:
    check("--workdir", workdir, "Name another folder for the results: --out=FOLDER.")
    return workdir
  folder = paths.folder("--out", out)
  check("--out", folder)
  return folder


def full(out: pathlib.Path) -> contextlib.AbstractContextManager[None]:
  """Context in which a full disk of --out becomes a DiskFullError."""
  return full_disk.sentence(f"--out {out}", out, lambda: "Free some space, or name another --out.")

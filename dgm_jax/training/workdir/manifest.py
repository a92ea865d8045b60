"""The manifest of a checkpoint: the size and SHA-256 of each of its files.

Orbax does not sync all files of a checkpoint before it renames their folder.  The manifest is written after that, when
everything that it lists is on the disk, and a checkpoint counts once its manifest is there.  Those of earlier versions,
of format 1 or without one, have none.
"""

import hashlib
import json
import pathlib
from concurrent import futures
from typing import Any, NamedTuple

from dgm_jax.core import errors, files

FORMAT = 2  # of the checkpoints that are written; from 2 on they have a manifest
_NAME = "manifest.json"
_METADATA = "_CHECKPOINT_METADATA"  # orbax's, with what `about` gives


class _Entry(NamedTuple):
  """What a file should be."""

  size: int
  sha256: str


def _entry(path: pathlib.Path) -> _Entry:
  with open(path, "rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
  return _Entry(path.stat().st_size, digest)


def write(checkpoint: pathlib.Path) -> None:
  """Writes the manifest of a folder whose files are complete, when all of them are on the disk."""
  files.sync_tree(checkpoint)
  files.sync(checkpoint.parent)
  paths = [p for p in sorted(checkpoint.rglob("*")) if p.is_file() and p != checkpoint / _NAME]
  files.write_json(checkpoint / _NAME, {str(p.relative_to(checkpoint)): _entry(p)._asdict() for p in paths})


def _metadata(checkpoint: pathlib.Path) -> dict[str, Any] | None:
  """Orbax's metadata of a checkpoint, or None if they cannot be read."""
  try:
    found = json.loads((checkpoint / _METADATA).read_bytes())
  except (OSError, ValueError, RecursionError):
    return None
  return found if isinstance(found, dict) else None


def about(checkpoint: pathlib.Path) -> dict[str, Any]:
  """What was saved with a checkpoint besides the state: its format, the config, versions; {} if nothing was."""
  found = (_metadata(checkpoint) or {}).get("custom_metadata")
  return found if isinstance(found, dict) else {}


def format_of(checkpoint: pathlib.Path) -> int:
  """The format of a checkpoint; the first ones recorded none."""
  return about(checkpoint).get("format", 1)


def exists(checkpoint: pathlib.Path) -> bool:
  """Whether a checkpoint has a manifest."""
  return (checkpoint / _NAME).exists()


def counts(checkpoint: pathlib.Path) -> bool:
  """Whether a checkpoint is complete: it has a manifest, or is of a version that wrote none."""
  return exists(checkpoint) or (_metadata(checkpoint) is not None and format_of(checkpoint) < 2)


def found(checkpoints: pathlib.Path) -> dict[int, pathlib.Path]:
  """{step: folder} of everything that looks like a checkpoint."""
  return {int(p.name): p for p in checkpoints.glob("*") if p.name.isdigit()}


def complete(checkpoints: pathlib.Path) -> dict[int, pathlib.Path]:
  """{step: folder} of the complete checkpoints; they may be damaged since, see `damage`."""
  return {step: path for step, path in sorted(found(checkpoints).items()) if counts(path)}


def damage(checkpoint: pathlib.Path, metadata_only: bool = False) -> str:
  """What is wrong with the files of a checkpoint, "" if they are what the manifest says.

  Args:
    checkpoint: its folder; of one of an earlier version only orbax can tell.
    metadata_only: whether to compare only the file that tells orbax what the checkpoint holds.
  """
  if not exists(checkpoint):
    missing = f"{_METADATA} cannot be read" if _metadata(checkpoint) is None else f"{_NAME} is missing"
    return "" if counts(checkpoint) else missing
  try:
    known = {name: _Entry(**entry) for name, entry in files.read_json(checkpoint / _NAME).items()}
  except (errors.UserError, TypeError):
    return f"{_NAME} cannot be read"
  wanted = [_METADATA] if metadata_only else list(known)
  with futures.ThreadPoolExecutor() as pool:
    faults = pool.map(lambda name: _fault(checkpoint / name, known.get(name)), wanted)
    return next((f"{name} {fault}" for name, fault in zip(wanted, faults, strict=True) if fault), "")


def _fault(path: pathlib.Path, known: _Entry | None) -> str:
  if known is None:
    return "is not in the manifest"
  if not path.is_file():
    return "is missing"
  if path.stat().st_size != known.size:
    return f"has {path.stat().st_size} bytes instead of {known.size}"
  return "" if _entry(path) == known else "has another content than was written"

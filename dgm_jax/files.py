"""Files that are never half there."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A path to write to beside `path`, which it becomes at the end; nothing is left of what was not finished."""
  beside = path.with_name(f".{os.getpid()}.{path.name}")
  try:
    yield beside
    os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)

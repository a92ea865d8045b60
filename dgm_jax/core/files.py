"""Atomic file writes: a file is complete or absent."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from dgm_jax.core import errors


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path`, which is renamed to `path` at the end; after an error it is removed."""
  temporary = path.with_name(f".{os.getpid()}.{path.name}")
  try:
    yield temporary
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes the text to a temporary file, then renames it."""
  with whole(path) as temporary:
    temporary.write_text(text)


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes indented JSON, atomically; NaN and Inf raise ValueError."""
  write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
  """The value in the JSON file, or None if there is no such file.  Raises UserError if the file is damaged."""
  try:
    return json.loads(path.read_text()) if path.exists() else None
  except json.JSONDecodeError as e:
    raise errors.UserError(f"{path} is damaged: {e}.") from e


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
  path.parent.mkdir(parents=True, exist_ok=True)
  with whole(path) as temporary:
    write(temporary)


def save_arrays(path: pathlib.Path, **arrays) -> None:
  """Writes a compressed .npz, atomically."""
  from numpy import savez_compressed

  write_with(path, lambda p: savez_compressed(p, **arrays))


def load_arrays(path: pathlib.Path) -> dict:
  """Reads an .npz as {name: array}."""
  from numpy import load

  with load(path) as arrays:
    return dict(arrays)

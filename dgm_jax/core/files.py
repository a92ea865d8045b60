"""Files that are never half there."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from dgm_jax.core import errors


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A path to write to beside `path`, which it becomes at the end; nothing is left of what was not finished."""
  beside = path.with_name(f".{os.getpid()}.{path.name}")
  try:
    yield beside
    os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes beside, then renames: the file is never half there."""
  with whole(path) as beside:
    beside.write_text(text)


def write_json(path: pathlib.Path, value: Any) -> None:
  """write_text of indented JSON."""
  write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: pathlib.Path) -> Any:
  """The file's value, or None if there is no such file."""
  try:
    return json.loads(path.read_text()) if path.exists() else None
  except json.JSONDecodeError as e:
    raise errors.UserError(f"{path} is damaged: {e}.") from e


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
  """{"optim": {"lr": 1}} -> {"optim.lr": 1}; tuples become lists, as in JSON."""
  flat = {}
  for k, v in tree.items():
    if isinstance(v, dict):
      flat |= flatten(v, f"{prefix}{k}.")
    else:
      flat[f"{prefix}{k}"] = v
  return flat


def write_with(path: pathlib.Path, write) -> None:
  """Writes beside, then renames."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with whole(path) as beside:
    write(beside)


def save_arrays(path: pathlib.Path, **arrays) -> None:
  """Writes an .npz."""
  from numpy import savez_compressed

  write_with(path, lambda p: savez_compressed(p, **arrays))


def load_arrays(path: pathlib.Path) -> dict:
  """{name: array} of an .npz."""
  from numpy import load

  with load(path) as arrays:
    return dict(arrays)

"""A file that holds a trained model: a zip archive of stored members, with the digest of each.

  model.safetensors       parameters and other variables of the model, by path
  statistics.safetensors  statistics of the training data, see data/stored.py
  model.json              names of config, data and versions, shapes of the data
  config.json, results.json   as in the run's folder
  card.md                 what the model is, in words and numbers
  programs/NAME.jax       exported programs, if they were asked for; see programs.py
  digests.json            the sha256 of every member

A zip of plain formats rather than safetensors alone, whose metadata is one table of strings: so each part opens with
the tool for its format, `unzip -p FILE card.md` shows the card, and no part is ever unpickled.
"""

import hashlib
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import errors, files

_FORMAT = 1  # increase it when older programs cannot read new files
_DIGESTS = "digests.json"
_DATE = (1980, 1, 1, 0, 0, 0)  # the same model gives the same bytes


def write_members(path: pathlib.Path, members: Mapping[str, bytes]) -> None:
  """Writes the file beside `path` and renames it.

  Raises:
    UserError: the folder cannot be written, or `path` is a folder.
  """
  digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
  head = json.dumps({"format": _FORMAT, "sha256": digests}, indent=2).encode()
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
    for name, content in {_DIGESTS: head, **members}.items():
      archive.writestr(zipfile.ZipInfo(name, _DATE), content)
  errors.require(not path.is_dir(), f"{path} is a folder; name a file.")
  try:
    files.write_with(path, lambda p: p.write_bytes(buffer.getvalue()))
  except OSError as e:
    raise errors.UserError(f"{path} cannot be written: {e.strerror}.") from e


def read_members(path: pathlib.Path) -> dict[str, bytes]:
  """The members of a file, {name: content}, each with the digest that was written.

  Raises:
    UserError: the file was not written by `write_members`, or is damaged, or needs a newer version.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      found = {name: archive.read(name) for name in archive.namelist()}
  except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as e:
    reason = "damaged" if zipfile.is_zipfile(path) else "damaged, or no packed model"
    raise errors.UserError(f"{path} is {reason}: `dgm_jax pack` writes such files ({e}).") from e
  except OSError as e:
    raise errors.UserError(f"{path} cannot be read: {e.strerror or e}.") from e
  errors.require(_DIGESTS in found, f"{path} is not a packed model: it has no {_DIGESTS}; `dgm_jax pack` writes one.")
  try:
    head = json.loads(found.pop(_DIGESTS))
    known, digests = int(head["format"]), dict(head["sha256"])
  except (ValueError, KeyError, TypeError) as e:
    raise errors.UserError(f"{path} is damaged: its {_DIGESTS} cannot be read.") from e
  errors.require(known <= _FORMAT, f"{path} has format {known}; this version reads up to {_FORMAT}: update dgm_jax.")
  different = [
    n for n in digests.keys() | found.keys() if hashlib.sha256(found.get(n, b"")).hexdigest() != digests.get(n)
  ]
  errors.require(not different, f"{path} is damaged: {', '.join(sorted(different))} differ from what was packed.")
  return found


def to_tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
  """The arrays in the format safetensors."""
  from safetensors import numpy as safetensors

  return safetensors.save({name: np.asarray(a, order="C") for name, a in arrays.items()})


def from_tensors(content: bytes) -> dict[str, np.ndarray]:
  """The inverse of to_tensors."""
  import safetensors

  return {
    name: np.frombuffer(found["data"], _dtype(found["dtype"])).reshape(found["shape"])
    for name, found in safetensors.deserialize(content)
  }


def _dtype(name: str) -> np.dtype:
  """ "BF16" -> bfloat16, "U8" -> uint8: safetensors' own reader knows no bfloat16."""
  kinds = {"BF": "bfloat", "F": "float", "I": "int", "U": "uint"}
  kind = name.rstrip("0123456789")
  return jnp.dtype("bool" if name == "BOOL" else kinds[kind] + name.removeprefix(kind))

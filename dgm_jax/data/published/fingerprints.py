"""Checksums of prepared arrays, to verify that two machines use the same data.

fingerprints.tsv registers the arrays of the published files: data set and version, part, array, dtype, shape, sha256 of
the values in C order, little-endian.
"""

import functools
import hashlib
import pathlib
from typing import NamedTuple

import numpy as np

from dgm_jax.core.batches import Arrays

_ROWS_BYTES = 2**26


class Fingerprint(NamedTuple):
  """The dtype, shape and checksum of one array."""

  dtype: str
  shape: str
  sha256: str


def fingerprint(array: np.ndarray) -> Fingerprint:
  """The fingerprint of one array, computed in bounded memory."""
  digest = hashlib.sha256()
  rows = max(1, _ROWS_BYTES // max(1, array[:1].nbytes))
  for start in range(0, len(array), rows):
    block = array[start : start + rows]
    digest.update(np.ascontiguousarray(block, block.dtype.newbyteorder("<")))
  return Fingerprint(array.dtype.str.lstrip("<|="), "x".join(map(str, array.shape)), digest.hexdigest())


def of(parts: dict[str, Arrays]) -> dict[tuple[str, str], Fingerprint]:
  """{(part, array): fingerprint} of all arrays."""
  return {(part, name): fingerprint(a) for part, arrays in parts.items() for name, a in sorted(arrays.items())}


def digest(parts: dict[str, Arrays], rows: int = 1000) -> str:
  """A short checksum of names, dtypes, shapes and about `rows` evenly spaced examples: identifies the data of a run."""
  found = hashlib.sha256()
  for part, arrays in parts.items():
    for name, array in sorted(arrays.items()):
      chosen = array[:: max(1, len(array) // rows)]
      found.update(f"{part} {name} {array.dtype.str} {array.shape} {fingerprint(chosen).sha256}".encode())
  return found.hexdigest()[:16]


@functools.cache
def registered() -> dict[str, dict[tuple[str, str], Fingerprint]]:
  """{data set-version: {(part, array): fingerprint}} of fingerprints.tsv."""
  found: dict = {}
  for line in pathlib.Path(__file__).with_name("fingerprints.tsv").read_text().splitlines()[1:]:
    folder, part, name, *rest = line.split("\t")
    found.setdefault(folder, {})[part, name] = Fingerprint(*rest)
  return found


def lines(folder: str, parts: dict[str, Arrays]) -> list[str]:
  """The lines of fingerprints.tsv for a data set."""
  return ["\t".join((folder, part, name, *f)) for (part, name), f in of(parts).items()]

"""The file that `compress encode` writes: 32 bytes, then the words of the range coder.

4  magic                     6  fingerprint of the run
1  format                    6  fingerprint of where it was encoded
1  what it holds             4  checksum of the content
2  examples coded at once    4  checksum of the words
4  number of examples, or of tokens of a text
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors

_MAGIC, _FORMAT = b"DGMc", 1
_HEAD = struct.Struct("<4sBBHI6s6sII")
HEAD_BYTES = _HEAD.size
MOST_AT_ONCE = 2**16 - 1
MOST_EXAMPLES = 2**32 - 1


class Container(NamedTuple):
  """The content of a file.

  Attributes:
    kind: what it holds, a number of inputs.KINDS.
    batch_size: examples coded at once.
    count: number of examples, or of tokens.
    run, place: fingerprints, 6 bytes each.
    content: checksum of what was encoded.
    words: of the range coder, uint32.
  """

  kind: int
  batch_size: int
  count: int
  run: bytes
  place: bytes
  content: int
  words: np.ndarray


def write(of: Container) -> bytes:
  """The bytes of a file."""
  words = of.words.astype("<u4").tobytes()
  kept = (of.kind, of.batch_size, of.count, of.run, of.place, of.content)
  return _HEAD.pack(_MAGIC, _FORMAT, *kept, zlib.crc32(words)) + words


def read(content: bytes, what: str) -> Container:
  """The content of a file; `what` names it in messages.

  Raises:
    UserError: a file of another kind, of a newer format, or one that is truncated or damaged.
  """
  errors.require(
    content[:4] == _MAGIC[: len(content)],
    f"{what} is not compressed: `dgm_jax compress encode` writes such files.",
  )
  errors.require(len(content) >= HEAD_BYTES, f"{what} is truncated: it has {len(content)} bytes.")
  _, version, *kept, checksum = _HEAD.unpack_from(content)
  errors.require(
    version <= _FORMAT, f"{what} has format {version}; this version reads up to {_FORMAT}: update dgm_jax."
  )
  words = content[HEAD_BYTES:]
  errors.require(
    len(words) % 4 == 0 and zlib.crc32(words) == checksum,
    f"{what} is truncated or damaged: its {len(content):,} bytes are not those that were written.",
  )
  return Container(*kept, np.frombuffer(words, "<u4").astype(np.uint32))

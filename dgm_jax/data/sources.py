"""How training examples reach the device: all at once (resident), or batch by batch (streaming).

In both, the order of the examples is a function of (seed, step), so that the batches are the same and a run resumes
without any iterator state.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, size

KINDS = ("auto", "resident", "streaming")
_PIECE_BYTES = 2**26  # largest size of one piece, see _Pieces
_AHEAD = 2  # pieces read in advance


def num_bytes(arrays: Arrays) -> int:
  """Size of a split in memory, in bytes."""
  return sum(a.nbytes for a in arrays.values())


def choose(kind: str, arrays: Arrays) -> str:
  """ "resident" or "streaming"; "auto" is resident if the training set fits into a third of the device's memory."""
  if errors.choose("value of data.source", kind, KINDS) != "auto":
    return kind
  limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
  limit = limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return "resident" if num_bytes(arrays) <= limit / 3 else "streaming"


def piece_length(arrays: Arrays, batch_size: int, chunk: int) -> int:
  """The largest number of steps that divides `chunk` and whose batches fit into one piece."""
  batch_bytes = max(1, num_bytes(arrays) * batch_size // size(arrays))
  return max(d for d in range(1, chunk + 1) if chunk % d == 0 and (d == 1 or d * batch_bytes <= _PIECE_BYTES))


class _Pieces:
  """Piece i holds the batches of steps [i length, (i + 1) length); random access, as Grain's MapDataset requires.

  Args:
    arrays: the training set, in memory or mapped.
    order: (start, length) -> indices of the batches, [length, B].
    length, num_steps: number of steps of a piece, and of the run.
    share: the rows of each batch that this host reads.
  """

  def __init__(self, arrays: Arrays, order: Callable, length: int, num_steps: int, share: slice):
    self._arrays, self._order, self._length, self._num_steps, self._share = arrays, order, length, num_steps, share

  def __len__(self) -> int:
    return -(-self._num_steps // self._length)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    start = i * self._length
    indices = np.asarray(self._order(start, min(self._length, self._num_steps - start)))[:, self._share]
    return {name: array[indices] for name, array in self._arrays.items()}


def stream(
  arrays: Arrays, order: Callable, length: int, start: int, num_steps: int, share: slice
) -> Iterator[dict[str, np.ndarray]]:
  """The batches of steps start .. num_steps - 1, `length` steps at a time: {name: [length, B, ...]}, read in advance.

  Args:
    arrays, order, length, num_steps, share: see _Pieces.
    start: a multiple of length, or num_steps.
  """
  errors.require(
    start % length == 0 or start == num_steps,
    f"Streaming cannot start at step {start}, which is not a multiple of {length}.",
  )
  pieces: Any = grain.MapDataset.source(_Pieces(arrays, order, length, num_steps, share))
  options = grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
  return iter(pieces[-(-start // length) :].to_iter_dataset(options))

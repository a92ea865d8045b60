"""How training examples reach the device: all of them once (resident), or batch by batch (streaming).

The order of the examples is a function of (seed, step) in both, so that a run has the same batches from either, and
goes on after an interruption without any state of an iterator.
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
_PIECE_BYTES = 2**26  # of batches that are on their way at once
_AHEAD = 2  # pieces read in advance


def num_bytes(arrays: Arrays) -> int:
  """What a split takes in memory."""
  return sum(a.nbytes for a in arrays.values())


def choose(kind: str, arrays: Arrays) -> str:
  """ "resident" or "streaming"; for "auto" resident if the training set fits into a third of the device's memory."""
  if errors.choose("value of data.source", kind, KINDS) != "auto":
    return kind
  limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
  limit = limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return "resident" if num_bytes(arrays) <= limit / 3 else "streaming"


def piece_length(arrays: Arrays, batch_size: int, chunk: int) -> int:
  """The most steps, a divisor of `chunk`, whose batches fit into the memory for one piece."""
  batch_bytes = max(1, num_bytes(arrays) * batch_size // size(arrays))
  return max(d for d in range(1, chunk + 1) if chunk % d == 0 and (d == 1 or d * batch_bytes <= _PIECE_BYTES))


class _Pieces:
  """Piece i is the batches of steps [i length, (i + 1) length): random access, as Grain's MapDataset wants it.

  Args:
    arrays: the training set, in memory or mapped.
    order: (start, length) -> indices of the batches, [length, B].
    length, num_steps: steps of a piece, and of the run.
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
  errors.require(start % length == 0 or start == num_steps, f"Step {start} is within a piece of {length} steps.")
  pieces: Any = grain.MapDataset.source(_Pieces(arrays, order, length, num_steps, share))
  options = grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
  return iter(pieces[-(-start // length) :].to_iter_dataset(options))

"""What runs the training steps on what the data source gives: one compiled program, whichever source."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from dgm_jax import rng
from dgm_jax.data import sources
from dgm_jax.data.splits import Arrays, size
from dgm_jax.programs import make_train_batches, make_train_chunk
from dgm_jax.system import System


class Resident:
  """The training set lies on the device; the step indexes it.  Arguments as in make_feed."""

  def __init__(self, system, transform, arrays, key, steps, shardings):
    self._key, self._replicated = key, shardings[0]
    self._data = jax.device_put(arrays, self._replicated)
    batch_size, self._chunk, self._num_steps = steps
    self._make = lambda length: make_train_chunk(system, transform, batch_size, length, shardings[1])
    self._programs = {}

  def start(self, state: Any, step: int) -> None:
    """Compiles what runs the next chunk."""
    self._program(state, min(self._chunk, self._num_steps - step))

  def _program(self, state: Any, length: int) -> Callable:
    if length not in self._programs:  # one for log_every, and one more if a shorter chunk ends the run
      chunk = jax.jit(self._make(length), donate_argnums=0, out_shardings=self._replicated)
      self._programs[length] = chunk.lower(state, self._key, self._data).compile()
    return self._programs[length]

  def train(self, state: Any, length: int) -> tuple[Any, dict[str, jax.Array]]:
    """(state, {metric: [length]}) after `length` more steps."""
    return self._program(state, length)(state, self._key, self._data)


class Streaming:
  """The training set stays on the host; batches are read ahead and put on the device.  Arguments as in make_feed."""

  def __init__(self, system, transform, arrays, key, steps, shardings):
    self._arrays, self._key, self._replicated = arrays, key, shardings[0]
    self._batch_size, chunk, self._num_steps = steps
    self._sharding = NamedSharding(shardings[1].mesh, PartitionSpec(None, "data"))
    self._length = sources.piece_length(arrays, self._batch_size, chunk)
    program = make_train_batches(system, transform, size(arrays), shardings[1])
    self._program = jax.jit(program, donate_argnums=0, out_shardings=self._replicated)
    self._order = jax.jit(rng.epoch_indices, static_argnums=(2, 3, 4))

  def start(self, state: Any, step: int) -> None:
    """Starts to read ahead from `step`, and compiles."""
    share = sources.share_of_batch(self._batch_size, jax.process_index(), jax.process_count())
    order = functools.partial(_on_host, self._order, self._key, size(self._arrays), self._batch_size)
    self._pieces = sources.stream(self._arrays, order, self._length, step, self._num_steps, share)
    self._next = self._put(next(self._pieces))
    self._program.lower(state, self._key, self._next).compile()

  def _put(self, piece: Arrays) -> dict[str, jax.Array]:
    return {k: jax.make_array_from_process_local_data(self._sharding, v) for k, v in piece.items()}

  def train(self, state: Any, length: int) -> tuple[Any, dict[str, jax.Array]]:
    """(state, {metric: [length]}) after `length` more steps."""
    rows = []
    while length > 0:
      piece = self._next
      state, values = self._program(state, self._key, piece)
      self._next = self._put(upcoming) if (upcoming := next(self._pieces, None)) else None  # while the program runs
      rows.append(values)
      length -= len(piece["x"])
    return state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)


def _on_host(order: Callable, key: jax.Array, n: int, batch_size: int, start: int, length: int) -> jax.Array:
  """epoch_indices where it does not queue behind the training steps: on the CPU, if JAX may use it."""
  try:
    cpu = jax.local_devices(backend="cpu")[0]
  except RuntimeError:  # JAX_PLATFORMS names other platforms only
    cpu = jax.local_devices()[0]
  key = jax.device_put(jax.random.wrap_key_data(jax.device_get(jax.random.key_data(key))), cpu)
  return order(rng.stream(key, "data"), jnp.int32(start), length, n, batch_size)


def make_feed(
  system: System,
  transform: Callable,
  arrays: Arrays,
  kind: str,
  key: jax.Array,
  steps: tuple[int, int, int],
  shardings: tuple[NamedSharding, NamedSharding],
) -> Resident | Streaming:
  """What trains a system on a training set.

  Args:
    system, transform: what a step does.
    arrays: the training set, on the host.
    kind: "resident", "streaming", or "auto", which goes by size.
    key: of the run.
    steps: batch size, steps of a chunk, steps of the run.
    shardings: (replicated, split along the first axis); see devices.shardings.
  """
  feed = {"resident": Resident, "streaming": Streaming}[sources.choose(kind, arrays)]
  return feed(system, transform, arrays, key, steps, shardings)

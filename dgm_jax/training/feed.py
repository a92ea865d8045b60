"""Compiles and runs the training steps on resident or streamed data.

With lanes, states and keys have a leading run axis [R, ...], and metrics are [R, length].
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from dgm_jax.core import errors, rng
from dgm_jax.core.batches import Arrays, size
from dgm_jax.core.system import System
from dgm_jax.data import sources
from dgm_jax.training.processes import devices
from dgm_jax.training.programs import make_train_batches, make_train_chunk


class Layout(NamedTuple):
  """The shardings of a run's arrays.

  Attributes:
    replicated: sharding of arrays that every device holds in full.
    batch: sharding of a batch's examples; None for lanes, whose batches are not split.
    state: shardings of the training state, as a tree or one for all leaves.
    metrics: sharding of the training metrics.
  """

  replicated: NamedSharding
  batch: NamedSharding | None
  state: Any
  metrics: NamedSharding


class Resident:
  """Keeps the training set on the device, where each step indexes it.

  Args:
    make: number of steps -> the function (state, key, data) -> (state, metrics) that takes them.
    data: the training set, on the host.
    key, steps, layout: see make_feed; `layout.replicated` is the sharding of the data.
  """

  def __init__(self, make: Callable, data: Any, key: jax.Array, steps: tuple[int, int, int], layout: Layout):
    self._make, self._key, self._data = make, key, devices.put(data, layout.replicated)
    _, self._chunk, self._num_steps = steps
    self._out, self._programs = (layout.state, layout.metrics), {}

  def start(self, state: Any, step: int) -> None:
    """Compiles the program of the next chunk."""
    self._program(state, min(self._chunk, self._num_steps - step))

  def _program(self, state: Any, length: int) -> Callable:
    if length not in self._programs:  # one for log_every steps, and one more if the last chunk is shorter
      chunk = jax.jit(self._make(length), donate_argnums=0, out_shardings=self._out)
      self._programs[length] = chunk.lower(state, self._key, self._data).compile()
    return self._programs[length]

  def train(self, state: Any, length: int) -> tuple[Any, dict[str, jax.Array]]:
    """(state, {metric: [length]}) after `length` more steps."""
    return self._program(state, length)(state, self._key, self._data)


class Streaming:
  """Keeps the training set on the host; reads batches ahead, onto the device.  Arguments: see make_feed."""

  def __init__(self, system, transform, arrays, key, steps, layout, lanes):
    errors.require(not lanes, "Streaming serves one run at a time: lanes need data.source = 'resident'.")
    self._arrays, self._key = arrays, key
    batch_size, chunk, self._num_steps = steps
    self._batch_size = batch_size * system.batches  # of a step
    self._rows = devices.rows_of_host(layout.batch, self._batch_size)
    self._sharding = NamedSharding(layout.batch.mesh, PartitionSpec(None, *layout.batch.spec))
    self._length = sources.piece_length(arrays, self._batch_size, chunk)
    program = make_train_batches(system, transform, size(arrays), layout.batch)
    self._program = jax.jit(program, donate_argnums=0, out_shardings=(layout.state, layout.metrics))
    self._order = jax.jit(rng.epoch_indices, static_argnums=(2, 3, 4))

  def start(self, state: Any, step: int) -> None:
    """Starts reading ahead from `step`, and compiles the program."""
    order = functools.partial(_on_host, self._order, self._key, size(self._arrays), self._batch_size)
    self._pieces = sources.stream(self._arrays, order, self._length, step, self._num_steps, self._rows)
    self._next = devices.put(next(self._pieces), self._sharding)
    self._program.lower(state, self._key, self._next).compile()

  def train(self, state: Any, length: int) -> tuple[Any, dict[str, jax.Array]]:
    """(state, {metric: [length]}) after `length` more steps."""
    rows = []
    while length > 0:
      piece = self._next
      state, values = self._program(state, self._key, piece)
      upcoming = next(self._pieces, None)  # read while the program runs
      self._next = None if upcoming is None else devices.put(upcoming, self._sharding)
      rows.append(values)
      length -= len(piece["x"])
    return state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)


def _on_host(order: Callable, key: jax.Array, n: int, batch_size: int, start: int, length: int) -> jax.Array:
  """rng.epoch_indices, on the CPU if JAX may use it, where it does not queue behind the training steps."""
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
  layout: Layout,
  lanes: bool = False,
) -> Resident | Streaming:
  """Creates the feed that trains one run, or several lanes that differ only in seed and hparams, on a training set.

  Args:
    system, transform: the system to train, and the transform of its training batches.
    arrays: the training set, on the host.
    kind: "resident", "streaming", or "auto", which decides by size.
    key: key of the run; keys [R] for lanes.
    steps: (examples of a batch, of which a step takes system.batches, steps per chunk, steps of the run).
    layout: shardings of states, batches and data.
    lanes: whether states and keys have a leading run axis [R, ...].
  """
  if sources.choose(kind, arrays) == "streaming":
    return Streaming(system, transform, arrays, key, steps, layout, lanes)
  over_runs = (lambda chunk: jax.vmap(chunk, (0, 0, None))) if lanes else lambda chunk: chunk
  make = lambda length: over_runs(make_train_chunk(system, transform, steps[0], length, layout.batch))
  return Resident(make, arrays, key, steps, layout)

"""The devices of a run, on one host or several, and the placement of arrays on them.

The mesh has two axes: "data" splits the examples of a batch; "samples" splits the K importance samples of each
example if a batch is too small for all devices (by samples.over_samples, within `jax.set_mesh(mesh)`).
Parameters and the optimiser's state are replicated on every device or, with `sharded`, split along "data" (fully
sharded data parallelism, Rajbhandari et al., 2020, https://arxiv.org/abs/1910.02054).
"""

import contextlib
from typing import Any

import jax
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dgm_jax.core import errors

_SMALLEST = 4096  # entries; smaller arrays are not worth splitting


def _largest(limit: int, n: int) -> int:
  """The greatest divisor of n that is at most `limit`."""
  return max(d for d in range(1, limit + 1) if n % d == 0)


def shardings(
  batch_size: int, num_samples: int = 1, sample_devices: int = 1, what: str = "examples of a batch"
) -> tuple[NamedSharding, NamedSharding]:
  """(replicated, split along the first axis) over as many devices as divide the work.

  Args:
    batch_size: examples per step; it is divided among as many devices as possible.
    num_samples: K, importance samples per example.
    sample_devices: number of devices that share the samples of each part; 0 for the number that keeps the most devices
      busy, which is 1 if the batch alone does.
    what: name of what is split along "data", for messages.

  Raises:
    UserError: sample_devices does not divide K, there are fewer devices, or a host would have no work.
  """
  count = jax.device_count()
  errors.require(
    0 <= sample_devices <= count and num_samples % (sample_devices or 1) == 0,
    f"sample_devices = {sample_devices}; it must be 0 (automatic) or a divisor of the {num_samples} samples per "
    f"example, at most the number of devices, {count}.",
  )
  choices = [sample_devices] if sample_devices else [s for s in range(1, count + 1) if num_samples % s == 0]
  meshes = [(_largest(count // samples, batch_size), samples) for samples in choices]
  data, samples = max(meshes, key=lambda mesh: (mesh[0] * mesh[1], mesh[0]))
  if data * samples < count:
    sentence = f"{batch_size} {what} and {num_samples} samples cannot be divided among more"
    errors.require(
      jax.process_count() == 1,
      f"{jax.process_count()} hosts with {count} devices can use only {data * samples}: {sentence}.",
    )
    logging.warning("Using %d of %d devices: %s.", data * samples, count, sentence)
  # make_mesh's default axis type is Explicit, which would put shardings into every type
  axis_types = (jax.sharding.AxisType.Auto,) * 2
  mesh = jax.make_mesh((data, samples), ("data", "samples"), axis_types, devices=jax.devices()[: data * samples])
  return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))


def state_shardings(state: Any, mesh: Mesh, sharded: bool) -> Any:
  """The sharding of each array of a state (or of its jax.eval_shape) on the mesh.

  With `sharded` the longest axis that the size of "data" divides is split; small arrays are replicated.
  """
  count = mesh.shape["data"]

  def place(leaf):
    axes = [i for i, n in enumerate(leaf.shape) if n % count == 0]
    if not sharded or not axes or leaf.size < _SMALLEST:
      return NamedSharding(mesh, PartitionSpec())
    longest = max(axes, key=lambda i: leaf.shape[i])
    return NamedSharding(mesh, PartitionSpec(*[None] * longest, "data"))

  return jax.tree.map(place, state)


def rows_of_host(batch: NamedSharding, batch_size: int) -> slice:
  """The rows of a batch that lie on this host's devices."""
  parts = [index[0].indices(batch_size) for index in batch.addressable_devices_indices_map((batch_size,)).values()]
  return slice(min(start for start, _, _ in parts), max(stop for _, stop, _ in parts))


def put(arrays: Any, sharding: NamedSharding) -> Any:
  """Copies arrays to the devices; each host gives the rows of its own devices (all rows, if replicated)."""
  return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), arrays)


def use_mesh(mesh: Mesh | None) -> contextlib.AbstractContextManager:
  """Context in which programs split batches and samples over the mesh; it does nothing on one device."""
  return contextlib.nullcontext() if mesh is None or jax.device_count() == 1 else jax.set_mesh(mesh)


def local(state: Any, mesh: Mesh | None) -> tuple[Any, Mesh | None]:
  """(the state on the devices of this host, their mesh), with which the host can continue alone.

  With one host, state and mesh are returned unchanged.
  """
  if jax.process_count() == 1:
    return state, mesh
  state = jax.device_get(jax.jit(lambda state: state, out_shardings=NamedSharding(mesh, PartitionSpec()))(state))
  mesh = Mesh(jax.local_devices(), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  return jax.device_put(state, NamedSharding(mesh, PartitionSpec())), mesh

"""The devices of a run, and how arrays lie on them."""

import jax
from absl import logging
from jax.sharding import NamedSharding, PartitionSpec


def shardings(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
  """(replicated, split along the first axis) over as many devices as divide the batch."""
  count = max(d for d in range(1, jax.device_count() + 1) if batch_size % d == 0)
  if count < jax.device_count():
    logging.warning(
      "Using %d of %d devices: batch_size = %d does not divide among more.", count, jax.device_count(), batch_size
    )
  # make_mesh's default axis type is Explicit, which would put shardings into every type
  auto = (jax.sharding.AxisType.Auto,)
  mesh = jax.make_mesh((count,), ("data",), axis_types=auto, devices=jax.devices()[:count])
  return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))

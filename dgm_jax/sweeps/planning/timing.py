"""Measures how long a training step takes."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.sweeps.planning.grouping import Group
from dgm_jax.training.experiment import make_init
from dgm_jax.training.programs import make_train_chunk

_STEPS = 10


class Timing(NamedTuple):
  """Seconds for compilation, and for one step of all lanes together."""

  compile: float
  step: float


def measure(group: Group, lanes: int) -> Timing:
  """Compiles a chunk of a few steps with this number of lanes and times its second execution."""
  config, experiment = group.config, group.experiment
  chunk = make_train_chunk(experiment.system, experiment.transforms.train, experiment.batch_size, _STEPS)
  seeds = range(config.seed, config.seed + lanes)
  init = jax.jit(make_init(experiment, config.seed))
  state = jax.tree.map(lambda a: jnp.broadcast_to(a, (lanes, *a.shape)), init())
  keys = jnp.stack([jax.random.key(seed) for seed in seeds])
  data = jax.device_put(experiment.splits.train)
  start = time.monotonic()
  program = jax.jit(jax.vmap(chunk, (0, 0, None)), donate_argnums=0).lower(state, keys, data).compile()
  compiled = time.monotonic()
  state, _ = jax.block_until_ready(program(state, keys, data))
  begun = time.monotonic()
  jax.block_until_ready(program(state, keys, data))
  return Timing(compiled - start, (time.monotonic() - begun) / _STEPS)

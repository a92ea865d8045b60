"""The programs that every system runs in: training steps, alone or in chunks, and the images that it shows."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from dgm_jax.core import rng
from dgm_jax.core.batches import size
from dgm_jax.core.figures import image_grid
from dgm_jax.core.system import System


def make_train_chunk(
  system: System,
  transform: Callable,
  batch_size: int,
  length: int,
  sharding: NamedSharding | None = None,
) -> Callable:
  """Makes (state, key, data) -> (state, {name: [length]}): `length` steps in one program, with data on the device.

  Args:
    system, transform: the system to train, and the transform of its batches.
    batch_size, length: examples of a batch, of which a step takes system.batches, and steps per call; static.
    sharding: sharding of a batch over the mesh's axis "data"; None for none.
  """
  rows = batch_size * system.batches

  def train_chunk(state, key, data):
    n = size(data)

    def step(state, indices):
      return _train_step(system, transform, sharding, n, state, key, jax.tree.map(lambda a: a[indices], data))

    order = rng.epoch_indices(rng.stream(key, "data"), state.step, length, n, rows)
    return jax.lax.scan(step, state, order)

  return train_chunk


def make_train_batches(
  system: System, transform: Callable, num_examples: int, sharding: NamedSharding | None = None
) -> Callable:
  """Makes (state, key, batches) -> (state, {name: [length]}): a step for each row of batches {name: [length, B, ...]}.

  B is the number of examples of a step.  The same steps as in make_train_chunk, for examples that come from the host.

  Args:
    system, transform, sharding: see make_train_chunk.
    num_examples: size of the training set, which determines the epoch.
  """

  def train_batches(state, key, batches):
    step = lambda state, batch: _train_step(system, transform, sharding, num_examples, state, key, batch)
    return jax.lax.scan(step, state, batches)

  return train_batches


def make_train_step(system: System, transform: Callable, num_examples: int) -> Callable:
  """Makes (state, key, batch) -> (state, {name: scalar}): a single step of make_train_chunk."""
  return functools.partial(_train_step, system, transform, None, num_examples)


def _train_step(system, transform, sharding, num_examples, state, key, batch) -> tuple[Any, dict]:
  """One step on a batch {name: [B, ...]}; its randomness is a function of (key, state.step)."""
  if sharding is not None:
    batch = jax.lax.with_sharding_constraint(batch, sharding)
  key_transform, key_step = jax.random.split(jax.random.fold_in(rng.stream(key, "train"), state.step))
  batch_size = size(batch)
  epoch = jnp.broadcast_to(state.step // (num_examples // batch_size), (batch_size,))
  batch = transform(key_transform, batch | {"epoch": epoch})
  return system.train_step(state, key_step, batch)


def make_pictures(system: System, transform: Callable, num_texts: int = 0) -> Callable:
  """Makes (state, key, examples) -> {name: [height, width, C]}: the system's pictures, each as one grid of images.

  With num_texts, {"samples": [num_texts, T]} is added, the token ids of samples.
  """

  def pictures(state, key, examples):
    key_transform, key_pictures = jax.random.split(key)
    shown = system.pictures(state, key_pictures, transform(key_transform, examples)) if system.pictures else {}
    grids = {k: image_grid(v) for k, v in shown.items() if v.ndim in (4, 5) and v.shape[-1] in (1, 3)}
    return grids | ({"samples": system.sample(state, key, num_texts)} if num_texts else {})

  return pictures

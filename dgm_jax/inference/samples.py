"""Functions of K samples: in chunks, as one batch, split over devices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec


def map_keys(f: Callable, key: jax.Array, num_samples: int, chunk: int | None = None, remat: bool = False) -> Any:
  """f at K independent keys, at most `chunk` at once: f(keys [k]) with leaves [k, B, ...] becomes leaves [K, B, ...].

  This bounds memory, e.g. for K = 5000 at test time; with `remat` the backward pass recomputes f chunk by chunk.
  """
  keys = jax.random.split(key, num_samples)
  if chunk is None or chunk >= num_samples:
    return f(keys)
  f, whole = jax.checkpoint(f) if remat else f, num_samples // chunk
  values = jax.lax.map(f, keys[: whole * chunk].reshape(whole, chunk))
  values = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), values)
  if whole * chunk == num_samples:
    return values
  return jax.tree.map(lambda *parts: jnp.concatenate(parts), values, f(keys[whole * chunk :]))


def map_samples(f: Callable, key: jax.Array, num_samples: int, chunk: int | None = None) -> Any:
  """Evaluates f at K independent keys: f(key) with leaves [B, ...] becomes leaves [K, B, ...].

  What f closes over (the encoder's output) is computed once, not K times.  chunk: see map_keys.
  """
  return map_keys(jax.vmap(f), key, num_samples, chunk)


STATISTICS = ("batch_stats", "averages")  # collections of moving moments: of models that have moments of batches


def has_no_moments(variables: Mapping[str, Any]) -> bool:
  """Whether a model with these collections of variables treats the examples of a batch apart, also in training."""
  return not any(variables.get(name) for name in STATISTICS)


def over_samples(f: Callable, batch: Any, z: Any, merge: bool = False) -> Any:
  """f(batch, z_k) for each k: leaves [B, ...] of the batch and [K, B, ...] of z give leaves [K, B, ...].

  Equals vmap(f, (None, 0)), but calls f once on B K examples, so that a dense layer is a single matrix product: on the
  CPU, XLA then transposes and sums less in the backward pass, and a training step with K = 50 is 13 % faster.
  The B K examples are ordered by example: a batch sharded over devices stays there, with the samples of its examples.

  A training batch with a `key` for each example is merged only with `merge`, for models without batch statistics: in
  batch normalisation the moments of a batch are those of each sample.

  Under a mesh (jax.set_mesh) with an axis "samples" whose size divides K, each device computes a part of the samples.
  """
  num_samples = jax.tree.leaves(z)[0].shape[0]
  if isinstance(batch, dict) and "key" in batch and not merge:
    return jax.vmap(f, (None, 0))(batch, z)
  parts = jax.sharding.get_abstract_mesh().shape.get("samples", 1)
  if parts == 1 or num_samples % parts:
    return _as_one_batch(f, batch, z)
  z = jax.tree.map(lambda a: _over_devices(a.reshape(parts, -1, *a.shape[1:])), z)
  values = jax.vmap(lambda part: _as_one_batch(f, batch, part))(z)
  return jax.tree.map(lambda a: _over_devices(a).reshape(-1, *a.shape[2:]), values)


def _as_one_batch(f: Callable, batch: Any, z: Any) -> Any:
  num_samples = jax.tree.leaves(z)[0].shape[0]
  repeated = jax.tree.map(lambda a: jnp.broadcast_to(a[:, None], (a.shape[0], num_samples, *a.shape[1:])), batch)
  by_example = jax.tree.map(lambda a: a.swapaxes(0, 1), z)
  flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), (repeated, by_example))
  return jax.tree.map(lambda a: a.reshape(-1, num_samples, *a.shape[1:]).swapaxes(0, 1), f(*flat))


def _over_devices(a: jax.Array) -> jax.Array:
  """Shards the first axis over the mesh axis "samples"; the compiler chooses the sharding of the other axes."""
  rest = [PartitionSpec.UNCONSTRAINED] * (a.ndim - 1)
  return jax.lax.with_sharding_constraint(a, PartitionSpec("samples", *rest))

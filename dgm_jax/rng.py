"""Randomness and data order as functions of (seed, step): nothing random is ever saved or threaded."""

import zlib

import jax
import jax.numpy as jnp


def stream(key: jax.Array, name: str) -> jax.Array:
  """An independent key for the purpose `name` ("init", "data", "train", "eval", ...)."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def epoch_indices(key: jax.Array, start: jax.Array, length: int, n: int, batch_size: int) -> jax.Array:
  """Indices of the batches start .. start + length - 1 of an endless run of shuffled epochs.

  Batch t belongs to epoch t // (n // batch_size); epoch e is the permutation drawn with fold_in(key, e), whose
  remainder of n mod batch_size examples is dropped.  So the order depends on (key, t) alone, whatever the chunks.

  Args:
    key: the key of the data order.
    start: the first step, an integer that may be traced.
    length, n, batch_size: static numbers of steps, examples, and examples a step.

  Returns:
    int32 indices, [length, batch_size].
  """
  per_epoch = n // batch_size
  first = start // per_epoch
  last = (start + length - 1) // per_epoch

  def order(epoch):  # sorting is the cost: an epoch that the chunk does not reach is not sorted
    draw = lambda: jax.random.permutation(jax.random.fold_in(key, epoch), n)
    return jax.lax.cond(epoch <= last, draw, lambda: jnp.zeros(n, jnp.int32))

  epochs = first + jnp.arange((length - 1) // per_epoch + 2)  # all that `length` steps can reach
  orders = jax.lax.map(order, epochs)[:, : per_epoch * batch_size].reshape(-1, batch_size)
  return jax.lax.dynamic_slice_in_dim(orders, start - first * per_epoch, length)

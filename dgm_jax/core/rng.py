"""Randomness and data order as functions of (seed, step): no random state is saved or passed on."""

import math
import zlib

import jax
import jax.numpy as jnp

_MISSING = 0x9E3779B9  # replaces the bits of an unobserved entry
_ROUNDS = 8  # of the Feistel network; four suffice for a pseudo-random permutation (Luby & Rackoff, 1988)


def stream(key: jax.Array, name: str) -> jax.Array:
  """An independent key for the purpose `name` ("init", "data", "train", "eval", ...)."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _mix(x: jax.Array) -> jax.Array:
  """A hash of uint32 in which every input bit affects every output bit (murmur3's finaliser)."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
  return x ^ (x >> 16)


def row_keys(key: jax.Array, index: jax.Array) -> jax.Array:
  """A key for each row, [B], from (key, its index): what is drawn for a row does not depend on its position."""
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(index)


def content_index(x: jax.Array, mask: jax.Array) -> jax.Array:
  """A hash of each row, uint32 [B], of the observed entries of float32 x [B, ...] and their positions: for row_keys.

  Rows with equal observed entries have equal hashes; two other rows collide with probability 2^-32.
  """
  bits = jax.lax.bitcast_convert_type(x.reshape(x.shape[0], -1).astype(jnp.float32), jnp.uint32)
  bits = jnp.where(mask.reshape(bits.shape) > 0, bits, jnp.uint32(_MISSING))
  places = _mix(jnp.arange(1, bits.shape[1] + 1, dtype=jnp.uint32))
  return _mix(jnp.sum(_mix(bits ^ places) * (2 * places + 1), 1, dtype=jnp.uint32))


def shuffled(position: jax.Array, round_keys: jax.Array, n: int) -> jax.Array:
  """The image of `position` under a pseudo-random permutation of 0 .. n - 1, which is never formed as a whole.

  A generalised Feistel network (Black & Rogaway, 2002) on pairs (l, r) in Z_a x Z_b, a b >= n, alternately adds a keyed
  hash of one half to the other; the few results >= n go through it again.  To sort random numbers instead would cost
  n log n for every chunk of an epoch, 1 s for a million examples; this costs only the examples of the batch.

  Args:
    position: integers in [0, n), any shape.
    round_keys: uint32 [..., R], keys of the R rounds; the leading axes broadcast against `position`'s.
    n: static, less than 2^31.

  Returns:
    int32, the shape of `position`.
  """
  a = math.isqrt(max(n - 1, 0)) + 1
  b = -(-n // a)

  def network(x):
    l, r = x // b, x % b
    for i in range(round_keys.shape[-1]):
      key = round_keys[..., i]
      if i % 2 == 0:
        l = (l + _mix(r ^ key) % a) % a
      else:
        r = (r + _mix(l ^ key) % b) % b
    return l * b + r

  x = network(position.astype(jnp.uint32))
  x = jax.lax.while_loop(lambda x: (x >= n).any(), lambda x: jnp.where(x >= n, network(x), x), x)
  return x.astype(jnp.int32)


def epoch_indices(key: jax.Array, start: jax.Array, length: int, n: int, batch_size: int) -> jax.Array:
  """Indices of the batches start .. start + length - 1 of an endless sequence of shuffled epochs.

  Batch t belongs to epoch t // (n // batch_size); every epoch has its own permutation, of which the last
  n mod batch_size examples are dropped.  So the order depends on (key, t) alone, not on the division into chunks.

  Args:
    key: the key of the data order.
    start: the first step, an integer that may be traced.
    length, n, batch_size: static numbers of steps, examples, and examples per step.

  Returns:
    int32 indices, [length, batch_size].
  """
  per_epoch = n // batch_size
  steps = start + jnp.arange(length)
  keys = jax.vmap(lambda epoch: jax.random.bits(jax.random.fold_in(key, epoch), (_ROUNDS,)))(steps // per_epoch)
  positions = (steps % per_epoch)[:, None] * batch_size + jnp.arange(batch_size)
  return shuffled(positions, keys[:, None], n)

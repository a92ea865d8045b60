"""Vectors of tokens, and log-probabilities of tokens whose logits need not all be in memory at once."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import platforms

_FEW = 1024  # classes: for so many the gradient of a table is faster as a product on the CPU
MOST = 2**25  # logits in memory at once, 128 MiB
NEVER = -1e9  # the logit of a token with probability 0; finite, so that 0 times it is no NaN


def rows(table: jax.Array, ids: jax.Array) -> jax.Array:
  """table[ids], [..., W].  The gradient of a look-up adds row by row, which XLA:CPU does one after the other."""
  if platforms.is_cpu() and table.shape[0] <= _FEW:
    return jax.nn.one_hot(ids, table.shape[0], dtype=table.dtype) @ table
  return table[ids]


def logits_of(h: jax.Array, kernel: jax.Array, bias: jax.Array, dtype: Any = None) -> jax.Array:
  """h W + b, float32 [..., V], with the product in `dtype`; h [..., H], W [H, V], b [V]."""
  dtype = dtype or jnp.float32
  flat = h.reshape(-1, h.shape[-1])
  found = jnp.matmul(flat.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32) + bias
  return found.reshape(*h.shape[:-1], -1)


def log_prob_of(logits: jax.Array, ids: jax.Array) -> jax.Array:
  """log softmax(logits)[ids], [...]: a comparison and a sum are faster than an indexing, which XLA:CPU scatters."""
  chosen = jnp.where(ids[..., None] == jnp.arange(logits.shape[-1]), logits, 0.0)
  return jnp.sum(chosen, -1) - jax.nn.logsumexp(logits, -1)


def allowed_logits(logits: jax.Array, ids: jax.Array, allowed: jax.Array | None) -> jax.Array:
  """Logits [..., V] with NEVER where the row of `ids` [...] in `allowed` [V, V], if there is one, is 0."""
  return logits if allowed is None else jnp.where(rows(allowed, ids) > 0, logits, NEVER)


def binary_log_probs(
  h: jax.Array, kernel: jax.Array, bias: jax.Array, ids: jax.Array, dtype: Any = None, allowed: jax.Array | None = None
) -> jax.Array:
  """1/V sum_v of the log-probabilities of V independent binary variables [ids = v] with the softmax's p_v, [...].

  The loss of Kusner et al. (2017), with their bound of 1e-7 on p and 1 - p; it is no log-probability of ids.
  """
  p = jax.nn.softmax(allowed_logits(logits_of(h, kernel, bias, dtype), ids, allowed))
  p = jnp.clip(p, 1e-7, 1 - 1e-7)
  of_id = ids[..., None] == jnp.arange(p.shape[-1])
  return jnp.mean(jnp.where(of_id, jnp.log(p), jnp.log1p(-p)), -1)


def log_probs(
  h: jax.Array,
  kernel: jax.Array,
  bias: jax.Array,
  ids: jax.Array,
  dtype: Any = None,
  most: int = MOST,
  allowed: jax.Array | None = None,
) -> jax.Array:
  """log softmax(h W + b)[ids], [...], where at most `most` logits are in memory at once.

  If there are more, the rows are divided into blocks, whose logits the backward pass computes again.

  Args:
    h: [..., H].
    kernel, bias: W [H, V], b [V].
    ids: int [...].
    dtype: of the product; None for float32.
    most: at least V of them are computed at once.
    allowed: see allowed_logits.
  """
  one = lambda h, ids: log_prob_of(allowed_logits(logits_of(h, kernel, bias, dtype), ids, allowed), ids)
  n, size = math.prod(ids.shape), max(1, most // kernel.shape[1])
  if n <= size:
    return one(h, ids)
  blocks = -(-n // size)
  size = -(-n // blocks)  # equal blocks, with little padding
  pad = lambda a: jnp.pad(a, ((0, blocks * size - n), *((0, 0),) * (a.ndim - 1))).reshape(blocks, size, *a.shape[1:])
  found = jax.lax.map(jax.checkpoint(lambda a: one(*a)), (pad(h.reshape(n, -1)), pad(ids.reshape(n))))
  return found.reshape(-1)[:n].reshape(ids.shape)

"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n) of N examples, and the mutual information of x and z under it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def make_aggregate(bound_model: Any, batches: dict, counted: jax.Array) -> Callable:
  """Returns the function z, B draws -> log q(z) [B], q(z) = 1/N sum_n q(z|x_n) over all examples, evaluated exactly.

  Args:
    bound_model: see principles.latent.
    batches: the N examples in chunks {name: [M, C, ...]}, the last one padded.
    counted: [M, C], False for the padding.
  """

  def log_q(z):
    def add_chunk(total, inputs):
      batch, real = inputs
      q, chunk = bound_model.infer(batch), real.shape[0]
      repeat = lambda one: jax.tree.map(lambda a: jnp.broadcast_to(a, (chunk, *a.shape)), one)
      each = jax.vmap(lambda one: q.log_prob(repeat(one)))(z)  # [B, C]
      return jnp.logaddexp(total, jax.nn.logsumexp(jnp.where(real, each, -jnp.inf), 1)), None

    size = jax.tree.leaves(z)[0].shape[0]
    total, _ = jax.lax.scan(add_chunk, jnp.full(size, -jnp.inf), (batches, counted))
    return total - jnp.log(jnp.sum(counted))

  return log_q


def in_chunks(batch: dict, chunk: int) -> tuple[dict, jax.Array]:
  """(leaves [N, ...] as [M, C, ...], False for padding else True [M, C]); the first examples pad the last chunk."""
  n = len(batch["x"])
  indices = jnp.arange(-(-n // chunk) * chunk).reshape(-1, chunk)
  return jax.tree.map(lambda a: jnp.asarray(a)[indices % n], batch), indices < n


def mutual_information(bound_model: Any, key: jax.Array, batch: dict, chunk: int = 100) -> jax.Array:
  """An estimate of I_q(x; z) = E_x E_q(z|x)[log q(z|x) - log q(z)], nats, with one draw of z for each of N examples.

  x is one of the N examples, and q(z) is exact at the draws.  The estimate is unbiased, at most log N in expectation,
  and may be negative.  The encoder is applied twice to each example, `chunk` at once.
  """
  batches, counted = in_chunks(batch, chunk)
  keys = jax.random.split(key, counted.shape[0])

  def draws(inputs):
    some, key = inputs
    return bound_model.infer(some).sample_and_log_prob(seed=key)

  z, log_qz_x = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), jax.lax.map(draws, (batches, keys)))
  log_qz = make_aggregate(bound_model, batches, counted)(z)
  return jnp.sum(jnp.where(counted.reshape(-1), log_qz_x - log_qz, 0.0)) / jnp.sum(counted)

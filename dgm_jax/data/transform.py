"""What a transform of batches is; transforms.py names them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.data.statistics import Statistics


class Transform(NamedTuple):
  """One transform.

  Attributes:
    apply: (key, batch) -> batch.
    expect: x -> x' without noise: E[x'] for a transform that is linear in its noise, else an approximation.
    only_training: whether it is applied in training but not in evaluation.
    check: raises UserError if the x of some statistics is not what the transform takes.
    keeps: x or a mask -> its entries that remain.
    given: the columns that become a context.
  """

  apply: Callable
  expect: Callable = lambda x: x
  only_training: bool = False
  check: Callable[[Statistics], None] = lambda found: None
  keeps: Callable = lambda a: a
  given: tuple[int, ...] = ()


def add_log_det(batch: dict, log_det: jax.Array) -> dict:
  """The batch with elementwise log-derivatives, summed over the observed entries of each example, added to log_det."""
  axes = tuple(range(jnp.ndim(batch["index"]), log_det.ndim))
  return batch | {"log_det": batch.get("log_det", 0.0) + jnp.sum(log_det * batch.get("mask", 1.0), axes)}

"""The transform `crop`: shorter sequences, from random places of longer ones."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dgm_jax.core import errors


def make(shape: Sequence[int], length: int) -> tuple[Callable, Callable]:
  """(apply, expect) of data.transform.Transform: `length` consecutive entries of each sequence x [W].

  In training they begin at one of its W - length + 1 places, all equally likely; in evaluation they are the first.
  With windows of W = 2 length - 1 tokens, each `length` behind the one before, every place of a text is equally likely
  to be the first of a training example.

  Args:
    shape: of an x.
    length: of the result.

  Raises:
    UserError: x is no sequence, or one shorter than `length`.
  """
  errors.require(len(shape) == 1, f"Transform 'crop' takes sequences [T]; x has shape {list(shape)}.")
  errors.require(
    1 <= length <= shape[0], f"Transform 'crop': length = {length}; x has {shape[0]} entries: it must be 1 to so many."
  )

  def apply(key, batch):
    errors.require("length" not in batch, "Transform 'crop' takes windows of a text, not lines: set data.seq_len.")
    x = batch["x"]
    if "epoch" not in batch:  # which only training has
      return batch | {"x": x[..., :length]}
    start = jax.random.randint(key, x.shape[:-1], 0, x.shape[-1] - length + 1)
    return batch | {"x": jnp.take_along_axis(x, start[..., None] + jnp.arange(length), -1)}

  return apply, lambda x: x[..., :length]

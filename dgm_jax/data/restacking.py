"""The transform `restack`: three digits as the channels of an image, combined afresh at every step."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

_LEAST, _MOST = 101, 1000  # classes: numbers of three digits


def make(shape: Sequence[int], num_classes: int) -> Callable:
  """apply of data.transform.Transform: the green and the blue digits of a training batch change places.

  Each of both channels is permuted over the batch by the step's key, and y is the number that the digits then form,
  100 red + 10 green + blue: a step trains on its own triples of the digits, and nearly none is ever seen again.  The
  digits of a channel remain those of the data set; evaluation has its fixed triples.

  Args:
    shape: of an x.
    num_classes: of y.

  Raises:
    UserError: the data are not those of stacked_mnist.
  """
  errors.require(
    len(shape) == 3 and shape[-1] == 3 and _LEAST <= num_classes <= _MOST,
    f"Transform 'restack' takes the images [H, W, 3] and numbers 0 .. 999 of stacked_mnist; x has shape {list(shape)}, "
    f"and there are {num_classes} classes.",
  )

  def apply(key, batch):
    x, y = batch["x"], batch["y"]
    if "epoch" not in batch or x.ndim == 3:  # which only training has; a single example
      return batch
    orders = [jnp.arange(len(y)), *(jax.random.permutation(k, len(y)) for k in jax.random.split(key))]
    channels = jnp.stack([x[order, ..., c] for c, order in enumerate(orders)], -1)
    digits = [(y // unit % 10)[order] for unit, order in zip((100, 10, 1), orders, strict=True)]
    return batch | {"x": channels, "y": 100 * digits[0] + 10 * digits[1] + digits[2]}

  return apply

"""The mask of a coupling by a chessboard: True for the pixels that stay as they are (Dinh et al., 2017)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgm_jax.core import errors


def checkerboard(shape: Sequence[int], swap: bool = False) -> jax.Array:
  """The mask [H, W, C]: all channels of the pixels of one colour of a chessboard.

  Args:
    shape: (H, W, C).
    swap: the other colour.

  Raises:
    UserError: an x that is no image, or has one pixel only.
  """
  errors.require(len(shape) == 3, f"couplings by a chessboard take images [H, W, C]; x has shape {list(shape)}")
  errors.require(
    shape[0] * shape[1] >= 2, f"couplings by a chessboard take images of two pixels or more; x has shape {list(shape)}"
  )
  rows, columns = jnp.arange(shape[0])[:, None, None], jnp.arange(shape[1])[:, None]
  kept = jnp.broadcast_to((rows + columns) % 2 == 0, shape)
  return ~kept if swap else kept

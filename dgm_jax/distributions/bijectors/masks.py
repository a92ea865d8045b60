"""Which entries a coupling leaves as they are: masks, True there (Dinh et al., 2017)."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

KINDS = ("halves", "alternating", "checkerboard", "channels")


def mask(kind: str, shape: Sequence[int], swap: bool = False) -> jax.Array:
  """The mask [*shape] of a coupling.

  Args:
    kind: "halves": the first half of the flattened entries; "alternating": every other one; "checkerboard": the pixels
      [H, W, C] of one colour of a chessboard; "channels": the first half of the channels.
    shape: of one x.
    swap: the complement.

  Raises:
    UserError: an unknown kind, an x that has one entry only, or one that is no image for "checkerboard".
  """
  dim = math.prod(shape)
  errors.require(kind in KINDS, f"mask = {kind!r}; it must be one of {', '.join(KINDS)}")
  errors.require(dim >= 2, "A coupling divides the entries of x in two; x has one entry only: choose another flow")
  if kind == "checkerboard":
    errors.require(len(shape) == 3, f"mask = 'checkerboard' takes images [H, W, C]; x has shape {list(shape)}")
    rows, columns = jnp.arange(shape[0])[:, None, None], jnp.arange(shape[1])[:, None]
    kept = jnp.broadcast_to((rows + columns) % 2 == 0, shape)
    errors.require(
      shape[0] * shape[1] >= 2, f"mask = 'checkerboard' takes images of two pixels or more; x has shape {list(shape)}"
    )
  elif kind == "channels":
    errors.require(shape[-1] >= 2, f"mask = 'channels' needs two channels or more; x has shape {list(shape)}")
    kept = jnp.broadcast_to(jnp.arange(shape[-1]) < shape[-1] // 2, shape)
  elif kind == "halves":
    kept = (jnp.arange(dim) < dim // 2).reshape(shape)
  else:
    kept = (jnp.arange(dim) % 2 == 0).reshape(shape)
  return ~kept if swap else kept

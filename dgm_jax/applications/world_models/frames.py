"""Frames of an environment as V sees them: cropped, and averaged down to 64 x 64 x 3, uint8."""

import numpy as np

from dgm_jax.core import errors

SIDE = 64


def reduced(picture: np.ndarray, share: float = 1.0) -> np.ndarray:
  """The upper `share` of the rows of a picture, uint8 [H, W, 3] or [H, W], averaged down (or up) to 64 x 64 x 3.

  Raises:
    UserError: it is no picture.
  """
  from PIL import Image

  picture = np.asarray(picture)
  errors.require(
    picture.ndim in (2, 3) and picture.dtype == np.uint8 and (picture.ndim == 2 or picture.shape[2] in (1, 3)),
    f"An observation of shape {picture.shape} and type {picture.dtype} is no picture: uint8 [H, W, 3] is expected.",
  )
  if picture.ndim == 2 or picture.shape[2] == 1:
    picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, 2)
  rows = round(share * picture.shape[0])
  found = Image.fromarray(np.ascontiguousarray(picture[:rows])).resize((SIDE, SIDE), Image.Resampling.BOX)
  return np.asarray(found)

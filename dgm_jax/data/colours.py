"""The transform `lightness`: a photograph as its grey picture, and its colours, which a model is to find.

  context = L / 50 - 1  [H, W, 1],   x = (a, b) / 110  [H, W, 2]

L is that of the grey picture of equal L in 8 bits, which is all that a grey photograph holds; a and b are those of the
colours, in float32.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import colour_spaces, errors
from dgm_jax.data.statistics import Statistics

_LOOKED_AT = 1000  # training examples


def _scaled(x):
  return colour_spaces.lab_of_rgb(x.astype(jnp.float32) / 255)[..., 1:] / colour_spaces.AB_SCALE


def _check(found: Statistics) -> None:
  errors.require(
    found.dtype == "uint8" and len(found.shape) == 3 and found.shape[-1] == 3,
    f"Transform 'lightness' takes colours, uint8 [H, W, 3]; x is {found.dtype} of shape {list(found.shape)}.",
  )


def make(train: Statistics) -> tuple[Callable, Callable, bool, Callable]:
  """(apply, expect, only_training, check) of a Transform, see the module's docstring.

  Raises:
    UserError: x is no colours in 8 bits, or all of them are grey.
  """
  _check(train)
  x = np.asarray(train._arrays["x"][:_LOOKED_AT])
  errors.require(
    bool((x != x[..., :1]).any()),
    f"Transform 'lightness' takes photographs with colours; the first {len(x):,} training images are all grey.",
  )

  def apply(key, batch):
    lightness = colour_spaces.lightness_of_grey(colour_spaces.grey_levels(batch["x"]))
    return batch | {"x": _scaled(batch["x"]), "context": colour_spaces.context_of_lightness(lightness)}

  return apply, _scaled, False, _check

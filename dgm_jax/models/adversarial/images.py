"""What the image models of two players share: colours in [0, 1], classes, precision."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.models.adversarial.base import Noise
from dgm_jax.networks.mlp import Networks


class ImageModel(Noise, Networks, kw_only=True):
  """Base class.  Images have as many channels as the data, one if they are grey.

  x is in [0, 1]; the networks use [-1, 1].

  Attributes, in addition to those of base.Noise and mlp.Networks:
    conditional: whether it is a model of p(x|y), y the class labels of the data.
    data_classes: the number of classes of the data, which sets it; None without labels.
  """

  conditional: bool = False
  data_classes: int | None = None

  def check(self) -> None:
    """Raises UserError if an option is invalid, or the data are no images or have no labels that are needed."""
    super().check()
    errors.require(
      len(self.data_shape) == 3, f"it takes images [H, W, C]; x is of shape {list(self.data_shape)}: take model 'gan'."
    )
    errors.require(
      not self.conditional or self.data_classes is not None,
      "conditional = True needs class labels y, which the data do not have: give data with labels, or "
      "model.args.conditional=False.",
    )
    errors.require(
      not self.conditional or self.data_classes != 1,
      "conditional = True, and the data have one class only: is a folder of classes one level too high or too low? "
      "Without classes, take model.args.conditional=False.",
    )

  @property
  def num_classes(self) -> int | None:
    """C of a model of p(x|y), None for p(x)."""
    return self.data_classes if self.conditional else None

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest value of an x."""
    return (0.0, 1.0)

  @nn.nowrap
  def image(self, a: jax.Array) -> jax.Array:
    """The generator's outputs as x: (tanh(a) + 1) / 2."""
    return (jnp.tanh(a) + 1) / 2

  @nn.nowrap
  def seen(self, x: jax.Array) -> jax.Array:
    """x as the discriminator's network takes it, in [-1, 1]."""
    return 2 * x - 1

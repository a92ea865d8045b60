"""BigGAN and BigGAN-deep (Brock, Donahue & Simonyan, 2019) of images of 32 x 32 to 256 x 256."""

from collections.abc import Sequence

from dgm_jax.core import errors
from dgm_jax.models.adversarial.residual_gan import ResidualModel
from dgm_jax.models.base import require_at_least
from dgm_jax.networks import biggan


class Model(ResidualModel, kw_only=True):
  """The published networks, by the size of the images; see residual_gan.ResidualModel for the other options.

  Attributes:
    width: the unit of the numbers of channels, `ch` of the authors' code: 96, of BigGAN-deep 128.
    deep: BigGAN-deep.
  """

  width: int = 96
  deep: bool = False
  attention: Sequence[int] = (64,)
  hierarchical: bool = True
  shared_dim: int = 128
  conditional: bool = True
  spectral_generator: bool = True

  def is_deep(self) -> bool:
    """See ResidualModel."""
    return self.deep

  def widths(self) -> tuple[list[int], list[int], int]:
    """See ResidualModel."""
    found = biggan.WIDTHS[self.data_shape[0]]
    of = found.deep_discriminator if self.deep else found.discriminator
    return [self.width * k for k in found.generator], [self.width * k for k in of], found.down

  def check(self) -> None:
    """Raises UserError if an option is invalid, or there is no such network."""
    require_at_least(4 if self.deep else 1, width=self.width)
    shape = tuple(self.data_shape)
    errors.require(
      len(shape) != 3 or (shape[0] == shape[1] and shape[0] in biggan.WIDTHS),
      f"it takes square images of {', '.join(map(str, biggan.WIDTHS))} pixels; these are of "
      f"{' x '.join(map(str, shape[:2]))}.",
    )
    errors.require(len(shape) == 3, f"it takes images [H, W, C]; x is of shape {list(shape)}: take model 'gan'.")
    super().check()

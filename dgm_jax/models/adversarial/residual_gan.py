"""Residual networks of two players of images: SN-GAN, WGAN-GP, projection discriminators, and parts of BigGAN."""

from collections.abc import Sequence

import jax

from dgm_jax.core import errors
from dgm_jax.models.adversarial.images import ImageModel
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks import biggan
from dgm_jax.networks.residual_players import initialiser


class ResidualModel(ImageModel, kw_only=True):
  """Base class: x = (tanh(G(z, y)) + 1) / 2 with the networks of networks/biggan.py.

  Attributes, in addition to those of images.ImageModel:
    shared_dim: length of an embedding of the class that all normalisations share; 0 for a table in each.
    hierarchical: whether z enters every block (skip-z); its entries are then divided among the input and the blocks,
      and latent_dim is rounded down to a multiple of their number.  Blocks of BigGAN-deep get all of z, undivided.
    attention: heights of images after a block at which both players have attention; 0, or none, for none.
    spectral_generator, spectral_discriminator: whether linear maps are divided by their spectral norms.
    initial, initial_scale: the first kernels and tables: "orthogonal", "normal" (standard deviation initial_scale) or
      "glorot".
    pool: "sum" or "mean", over the image, before the last layer of the discriminator.
  """

  latent_dim: int = 128
  shared_dim: int = 0
  hierarchical: bool = False
  attention: Sequence[int] = ()
  spectral_generator: bool = False
  spectral_discriminator: bool = True
  initial: str = "orthogonal"
  initial_scale: float = 0.02
  pool: str = "sum"

  def widths(self) -> tuple[list[int], list[int], int]:
    """(channels of the generator, of the discriminator, its blocks that halve the image)."""
    raise NotImplementedError

  def is_deep(self) -> bool:
    """Whether the blocks are those of BigGAN-deep."""
    return False

  def check(self) -> None:
    super().check()
    require_at_least(0, shared_dim=self.shared_dim)
    require_one_of(("sum", "mean"), pool=self.pool)
    errors.require(
      not (self.hierarchical and self.conditional and not self.shared_dim),
      "hierarchical = True with classes needs a shared embedding: set shared_dim, 128 as published.",
    )
    parts = len(self.widths()[0])
    errors.require(
      not self.hierarchical or self.is_deep() or self.latent_dim >= parts,
      f"latent_dim = {self.latent_dim}; hierarchical = True divides z into {parts} parts, of one entry or more.",
    )
    common = self._common_heights()
    for size in self.attention:
      errors.require(
        size == 0 or size in common,
        f"attention = {tuple(self.attention)}; after blocks of both players, images have heights "
        f"{', '.join(map(str, common)) or '(none)'}, not {size}.",
      )

  def _common_heights(self) -> tuple[int, ...]:
    """Heights of images after a block of the generator that are also heights after a block of the discriminator."""
    height, (generator, _, down) = self.data_shape[0], self.widths()
    made = {height >> k for k in range(len(generator) - 1)}
    return tuple(size for k in range(1, down + 1) if (size := height >> k) in made)

  @property
  def notes(self) -> tuple[str, ...]:
    """What a run says at its start."""
    if self.num_noise == self.latent_dim:
      return ()
    parts = len(self.widths()[0])
    return (
      f"z has {self.num_noise} entries, not latent_dim = {self.latent_dim}: {parts} of {self.num_noise // parts}.",
    )

  @property
  def num_noise(self) -> int:
    """The entries of z that are used: latent_dim, rounded down to a multiple of the parts that it is divided into."""
    parts = len(self.widths()[0]) if self.hierarchical and not self.is_deep() else 1
    return self.latent_dim // parts * parts

  def setup(self):
    self.check()
    generator, discriminator, down = self.widths()
    init = initialiser(self.initial, self.initial_scale)
    attention = tuple(size for size in self.attention if size)
    same = {"num_classes": self.num_classes or 0, "attention": attention, "deep": self.is_deep()}
    same |= {"kernel_init": init, "table_init": init, **self.compute}
    ups = len(generator) - 1
    bottom = (self.data_shape[0] >> ups, self.data_shape[1] >> ups)
    self.generator = biggan.Generator(
      tuple(generator), self.data_shape[2], bottom, shared=self.shared_dim, hierarchical=self.hierarchical,
      spectral=self.spectral_generator, **same,
    )  # fmt: skip
    self.discriminator = biggan.Discriminator(
      tuple(discriminator), down, pool=self.pool, spectral=self.spectral_discriminator, **same
    )

  def generate(self, z: jax.Array, y: jax.Array | None = None, train: bool = False) -> jax.Array:
    """x, [B, H, W, C]; z [B, L], y None, int [B], or weights of classes [B, C]."""
    return self.image(self.generator(z, y, train))

  def discriminate(self, x: jax.Array, y: jax.Array | None = None, train: bool = False) -> jax.Array:
    """Logits [B] of x [B, H, W, C], or of several side by side along the channels."""
    del train
    return self.discriminator(self.seen(x), y)


class Model(ResidualModel, kw_only=True):
  """The residual networks of SN-GAN (Miyato et al., 2018), also those of WGAN-GP and of projection discriminators.

  Attributes, in addition to those of ResidualModel:
    doublings: how often the generator doubles the image: its first one is 2^doublings times smaller than x, 4 x 4 for
      32 x 32 and three doublings.
    generator_channels: channels of the generator's layers.
    discriminator_channels: of the discriminator's four blocks.
    halvings: how many of these, the first ones, halve the image.
  """

  doublings: int = 3
  generator_channels: int = 256
  discriminator_channels: int = 128
  halvings: int = 2

  def widths(self) -> tuple[list[int], list[int], int]:
    """See ResidualModel."""
    return [self.generator_channels] * (self.doublings + 1), [self.discriminator_channels] * 4, self.halvings

  def check(self) -> None:
    """Raises UserError if an option is invalid, or the image has no such size."""
    require_at_least(0, doublings=self.doublings, halvings=self.halvings)
    errors.require(self.halvings <= 4, f"halvings = {self.halvings}; the discriminator has four blocks.")
    require_at_least(1, generator_channels=self.generator_channels, discriminator_channels=self.discriminator_channels)
    super().check()
    height, width = self.data_shape[:2]
    factor = 2 ** max(self.halvings, self.doublings)
    errors.require(
      height % factor == 0 and width % factor == 0,
      f"doublings = {self.doublings} and halvings = {self.halvings} need heights and widths that are multiples of "
      f"{factor}; these images are of {height} x {width}.",
    )

"""Colours for grey photographs: a U-Net finds (a, b) for L, alone or against a discriminator of patches."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import colour_spaces, errors
from dgm_jax.distributions import colour_bins
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks import unet

LOSSES = ("l1", "l2", "bins")


class Model(nn.Module, kw_only=True):
  """x = G(L, z), the colours (a, b) / 110 of a photograph with lightness L, by CIE Lab; D(L, x) judges patches.

  It makes colours alone: the lightness of a result is the photograph's own.  `auxiliary`, which the generator lowers,
  is the mean over pixels of |x - G|_1 / 2 ("l1"), of |x - G|^2 / 2 ("l2"), or ("bins") of w(x) times the cross-entropy
  of a softmax over 261 bins of colours against soft targets (Zhang, Isola & Efros, 2016), whose colour is the annealed
  mean.  The weights w of the bins are counted on 1,000 training images when training starts; a run that starts from
  another one (config.init_from) takes that one's weights, so that its own `rebalance` has no effect.
  With an adversarial loss and 100 times `auxiliary` it is pix2pix (Isola et al., 2017).

  The nets are convolutions: sizes are those of the training images in training, later any that `divisor` divides.

  Attributes:
    data_shape: (H, W, 2), of an x.
    loss: a name of LOSSES.
    channels, width, kernel_size, norm, dropout: of G, see unet.UNet; `width` is a factor of D's channels, too.
    latent_dim: length of the noise z, which is added to every level of G by a linear map; 0 for none.
    discriminator_channels, discriminator_norm: of D, see unet.PatchDiscriminator.
    rebalance: lambda in [0, 1] of the weights of bins: 1 for equal ones, 0 for the inverse of their frequencies.
    temperature: T of the annealed mean.
  """

  data_shape: Sequence[int] = ()
  loss: str = "l1"
  channels: Sequence[int] = (64, 128, 256, 512, 512)
  width: float = 1.0
  kernel_size: int = 4
  norm: str = "none"
  dropout: float = 0.0
  latent_dim: int = 0
  discriminator_channels: Sequence[int] = (64, 128, 256)
  discriminator_norm: str = "none"
  rebalance: float = 0.5
  temperature: float = 0.38

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest value of an x."""
    return -1.0, 1.0

  @property
  def num_classes(self) -> int:
    """Of a context that is no class: 0."""
    return 0

  @property
  def num_examples_for_init(self) -> int:
    """Training images of which the frequencies of the bins are counted."""
    return 1000 if self.loss == "bins" else 0

  @property
  def divisor(self) -> int:
    """Divides both sides of every image that G takes."""
    return 2 ** (len(self.channels) - 1)

  def check(self) -> None:
    """Raises UserError if an option is invalid."""
    require_one_of(LOSSES, loss=self.loss)
    require_one_of(unet.NORMS, norm=self.norm, discriminator_norm=self.discriminator_norm)
    require_at_least(1, kernel_size=self.kernel_size, levels=len(self.channels))
    require_at_least(0, latent_dim=self.latent_dim, dropout=self.dropout, rebalance=self.rebalance)
    require_at_least(1e-3, temperature=self.temperature, width=self.width)
    errors.require(self.rebalance <= 1, f"rebalance = {self.rebalance}; it must be in [0, 1].")
    errors.require(self.dropout < 1, f"dropout = {self.dropout}; it must be 0 or more, and less than 1.")
    height, width = (*self.data_shape, 0, 0)[:2]
    errors.require(
      height % self.divisor == width % self.divisor == 0,
      f"Model 'colouriser' with {len(self.channels)} levels takes training images whose sides {self.divisor} divides; "
      f"these are of {height} x {width} pixels: set data.image_size.",
    )

  def setup(self):
    self.check()
    with_bins = self.loss == "bins"
    nets = {"width": self.width, "kernel_size": self.kernel_size}
    own = {"channels": self.channels, "norm": self.norm, "dropout": self.dropout, "gain": 0.1}
    self.generator = unet.UNet(colour_bins.NUM_BINS if with_bins else 2, **nets, **own)
    self.discriminator = unet.PatchDiscriminator(self.discriminator_channels, norm=self.discriminator_norm, **nets)
    if with_bins:
      self.weights = self.variable("bins", "weights", lambda: jnp.ones(colour_bins.NUM_BINS))

  def __call__(self, batch: dict[str, jax.Array]) -> jax.Array:
    """Uses every parameter, and counts the bins of the batch's colours."""
    if self.loss == "bins" and self.is_initializing():
      smooth = colour_bins.smoothed(colour_bins.frequencies(colour_spaces.AB_SCALE * batch["x"]))
      self.weights.value = colour_bins.weights(smooth, self.rebalance, batch["x"][..., 0].size)
    x, context = batch["x"][:2], batch["y"][:2]
    self.generate(self.latent(jax.random.key(0), x.shape[0]), context, True)
    return self.discriminate(x, context, True)

  @nn.nowrap
  def latent(self, key: jax.Array, n: int) -> jax.Array:
    """z [n, L] ~ N(0, I); zeros [n, 1], which are not used, without noise."""
    return jax.random.normal(key, (n, self.latent_dim)) if self.latent_dim else jnp.zeros((n, 1))

  def generate(self, z: jax.Array, y: jax.Array, train: bool = False) -> Any:
    """x [B, H, W, 2] for contexts y [B, H, W, 1]; with bins a pair of it and the logits [B, H, W, Q]."""
    h = self.generator(y, train, z if self.latent_dim else None)
    if self.loss != "bins":
      return jnp.tanh(h)
    return colour_bins.annealed_mean(h, self.temperature) / colour_spaces.AB_SCALE, h

  def colours(self, z: jax.Array, y: jax.Array) -> jax.Array:
    """(a, b) [B, H, W, 2] for contexts y [B, H, W, 1]."""
    made = self.generate(z, y)
    return colour_spaces.AB_SCALE * (made[0] if isinstance(made, tuple) else made)

  def discriminate(self, x: jax.Array, y: jax.Array, train: bool = False) -> jax.Array:
    """Logits [B, P] of the patches of (y, x)."""
    return self.discriminator(jnp.concatenate([y, x], -1), train)

  def auxiliary(self, key: jax.Array, batch: dict[str, jax.Array], made: Any) -> jax.Array:
    """See the class, [B]."""
    del key
    x = batch["x"]
    if self.loss == "bins":
      ab = colour_spaces.AB_SCALE * x
      return jnp.mean(self.weights.value[colour_bins.nearest(ab)] * colour_bins.cross_entropy(made[1], ab), (1, 2))
    return jnp.mean(jnp.abs(made - x) if self.loss == "l1" else jnp.square(made - x), (1, 2, 3))

  def reconstruct_batch(self, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """x for the batch's contexts, with noise by the key."""
    return self.colours(self.latent(key, batch["x"].shape[0]), batch["y"]) / colour_spaces.AB_SCALE

  @nn.nowrap
  def picture(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """RGB [B, H, W, 3] in [0, 1] of x and contexts y."""
    return jnp.clip(colour_spaces.rgb_of_lab(colour_spaces.lab_of_model(y, x)), 0.0, 1.0)

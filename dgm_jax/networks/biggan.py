"""Networks of BigGAN and BigGAN-deep (Brock, Donahue & Simonyan, 2019), of SN-GAN and of WGAN-GP's residual nets.

Numbers of channels are those of the authors' PyTorch code: tests compare numbers of parameters with it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.batch_norms import BatchNorm, ConditionalBatchNorm
from dgm_jax.networks.image_attention import ImageAttention
from dgm_jax.networks.resampled_convolutions import conv
from dgm_jax.networks.residual_players import (
  DeepDiscriminatorBlock,
  DeepGeneratorBlock,
  DiscriminatorBlock,
  GeneratorBlock,
)
from dgm_jax.networks.spectral import Embed, SpectralDense, SpectralEmbed


class Widths(NamedTuple):
  """Channels of the players for images of one size, in units of a width.

  Attributes:
    generator: before the first block and after each, of BigGAN and BigGAN-deep alike.
    discriminator: after each block.
    deep_discriminator: before the first block and after each, of BigGAN-deep.
    down: how many blocks of the discriminators halve the image.
  """

  generator: tuple[int, ...]
  discriminator: tuple[int, ...]
  deep_discriminator: tuple[int, ...]
  down: int


WIDTHS = {
  32: Widths((4, 4, 4, 4), (4, 4, 4, 4), (4, 4, 4, 4), 2),
  64: Widths((16, 16, 8, 4, 2), (1, 2, 4, 8, 16), (1, 2, 4, 8, 16), 4),
  128: Widths((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), (1, 2, 4, 8, 16, 16), 5),
  256: Widths((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), (1, 2, 4, 8, 8, 16, 16), 6),
}


class _PlainNorm(nn.Module):
  """Batch normalisation that ignores the condition."""

  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, condition: Any, train: bool) -> jax.Array:
    del condition
    return BatchNorm(dtype=self.dtype, name="norm")(x, train)


def _normalisation(num_classes: int, conditional: bool, spectral: bool, init: Callable, dtype: Any) -> Callable:
  if not conditional:
    return functools.partial(_PlainNorm, dtype=dtype)
  return functools.partial(
    ConditionalBatchNorm, num_classes=num_classes, spectral=spectral and not num_classes, kernel_init=init, dtype=dtype
  )


class Generator(nn.Module):
  """z [B, L] and y -> a [B, H, W, C], before the function that gives the range of x.

  y are labels [B], weights of classes [B, C], or None.

  Without `shared`, the classes are rows of tables in each normalisation; with it, all normalisations see linear maps of
  one embedding.  With `hierarchical`, z is cut into chunks, of which the first is the net's input and one more is
  appended to the condition of each block (BigGAN), or z is appended as a whole (BigGAN-deep).

  Attributes:
    channels: before the first block and after each.
    out: channels of the image.
    bottom: height and width of the smallest image.
    num_classes: C; 0 without labels.
    shared: length of the shared embedding; 0 for none.
    hierarchical: see above.
    attention: heights of images after which there is attention.
    deep: the blocks of BigGAN-deep, two for each size.
    spectral, kernel_init: of all linear maps but the embedding of the classes.
    table_init: of tables and embeddings.
    dtype: of products and activations; None for float32.
    remat: whether blocks are computed again in the backward pass.
  """

  channels: Sequence[int]
  out: int
  bottom: tuple[int, int] = (4, 4)
  num_classes: int = 0
  shared: int = 0
  hierarchical: bool = False
  attention: Sequence[int] = ()
  deep: bool = False
  spectral: bool = True
  kernel_init: Callable = nn.initializers.orthogonal()
  table_init: Callable = nn.initializers.orthogonal()
  dtype: Any = None
  remat: bool = False

  def _conditions(self, z: jax.Array, y: jax.Array | None) -> tuple[jax.Array, list[Any]]:
    """(the input of the first layer, the condition of each size)."""
    sizes = len(self.channels) - 1
    of_class = []
    if self.num_classes and self.shared:
      of_class = [Embed(self.num_classes, self.shared, embedding_init=self.table_init, name="shared")(y)]
    if self.deep:
      both = jnp.concatenate([*of_class, z], -1)
      condition = both if self.hierarchical else of_class[0] if of_class else y
      return both if self.hierarchical else z, [condition] * sizes
    if self.hierarchical:
      first, *chunks = jnp.split(z, sizes + 1, -1)
      return first, [jnp.concatenate([*of_class, chunk], -1) for chunk in chunks]
    return z, [of_class[0] if of_class else y] * sizes

  @nn.compact
  def __call__(self, z: jax.Array, y: jax.Array | None, train: bool) -> jax.Array:
    init, widths = self.kernel_init, list(self.channels)
    first, conditions = self._conditions(z, y)
    dense = functools.partial(SpectralDense, dtype=self.dtype) if self.spectral else nn.Dense
    h = dense(self.bottom[0] * self.bottom[1] * widths[0], kernel_init=init, name="first")(first)
    h = h.reshape(-1, *self.bottom, widths[0])
    h = h if self.dtype is None else h.astype(self.dtype)
    by_vector = self.hierarchical or (self.num_classes and self.shared)
    labels = 0 if by_vector else self.num_classes
    norm = _normalisation(labels, bool(by_vector or self.num_classes), self.spectral, self.table_init, self.dtype)
    height, last = self.bottom[0], max((a for a in self.attention), default=0)
    kind = DeepGeneratorBlock if self.deep else GeneratorBlock
    kind = nn.remat(kind, static_argnums=(3,)) if self.remat else kind
    for i, (width, condition) in enumerate(zip(widths[1:], conditions, strict=True)):
      for part in range(1 + self.deep):
        up = part == int(self.deep)
        block = kind(
          width if up else h.shape[-1], norm, self.spectral, init, self.dtype, up,
          2 * height <= last, name=f"block{i}" + ("ab"[part] if self.deep else ""),
        )  # fmt: skip
        h = block(h, condition, train)
      height *= 2
      if height in self.attention:
        h = ImageAttention(self.spectral, init, self.dtype, name=f"attention{height}")(h)
    h = nn.relu(BatchNorm(name="last_norm")(h, train))
    h = conv(self.out, 3, "none", self.spectral, init, self.dtype, name="last")(h)
    return h.astype(jnp.float32)


class Discriminator(nn.Module):
  """x [B, H, W, C] in [-1, 1], and labels y [B] or None -> logits [B]: w'h + b + e_y'h (Miyato & Koyama, 2018).

  h are sums over the image of the rectified outputs of the last block.

  Attributes:
    channels: after each block; of `deep`, before the first block, too.
    down: how many of the first blocks halve the image.
    num_classes: C; 0 without labels.
    attention: heights of images after which there is attention.
    deep: the blocks of BigGAN-deep, two for each size.
    pool: "sum", or "mean" over the image.
    spectral, kernel_init, table_init, dtype, remat: see Generator; the embedding of the classes is normalised, too.
  """

  channels: Sequence[int]
  down: int
  num_classes: int = 0
  attention: Sequence[int] = ()
  deep: bool = False
  pool: str = "sum"
  spectral: bool = True
  kernel_init: Callable = nn.initializers.orthogonal()
  table_init: Callable = nn.initializers.orthogonal()
  dtype: Any = None
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array | None, only_features: bool = False) -> jax.Array:
    """The logits, or h [B, F]."""
    init, widths = self.kernel_init, list(self.channels)
    x = x if self.dtype is None else x.astype(self.dtype)
    if self.deep:
      x = conv(widths[0], 3, "none", self.spectral, init, self.dtype, name="first")(x)
      widths = widths[1:]
    kind = DeepDiscriminatorBlock if self.deep else DiscriminatorBlock
    kind = nn.remat(kind) if self.remat else kind
    for i, width in enumerate(widths):
      for part in range(1 + self.deep):
        down, name = i < self.down and part == 0, f"block{i}" + ("ab"[part] if self.deep else "")
        more = {} if self.deep else {"first": i == 0}
        x = kind(width, self.spectral, init, self.dtype, down, **more, name=name)(x)
      if x.shape[1] in self.attention and i < self.down:
        x = ImageAttention(self.spectral, init, self.dtype, name=f"attention{x.shape[1]}")(x)
    h = nn.relu(x).astype(jnp.float32)
    h = h.sum((1, 2)) if self.pool == "sum" else h.mean((1, 2))
    if only_features:
      return h
    dense = SpectralDense if self.spectral else nn.Dense
    logits = dense(1, kernel_init=self.kernel_init, name="last")(h)[:, 0]
    if not self.num_classes:
      return logits
    embed = SpectralEmbed if self.spectral else Embed
    return logits + jnp.sum(
      embed(self.num_classes, h.shape[-1], embedding_init=self.table_init, name="classes")(y) * h, -1
    )

"""PixelCNN, row LSTM, Gated PixelCNN, PixelCNN++: images, pixel by pixel and colour by colour, by causal networks."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.distributions.discretised_logistic import channel_conditionals, num_pixel_outputs
from dgm_jax.models.autoregressive.base import Autoregressive
from dgm_jax.models.base import require_at_least, require_one_of
from dgm_jax.networks.causal_views import Position, Rings, Row, Whole
from dgm_jax.networks.pixel_networks import GatedPixelCNN, PixelCNN
from dgm_jax.networks.pixelcnn_plusplus import PixelCNNPlusPlus
from dgm_jax.networks.row_lstm import RowLSTM

NETWORKS = {"plain": PixelCNN, "gated": GatedPixelCNN, "plusplus": PixelCNNPlusPlus, "row_lstm": RowLSTM}


class Model(Autoregressive):
  """p(x) = prod_d p(x_d | x_<d), d the colours of the pixels, row by row.

  log p(x) takes one pass of the network; a draw takes one step for each entry, which computes one pixel from the last
  rows of each layer.  Binary images with a Bernoulli, grey levels and colours as the integers 0 .. 255 with
  "logistic_levels" or "categorical" of 256 classes (van den Oord et al., 2016).  `net`:

    plain     PixelCNN (van den Oord, Kalchbrenner & Kavukcuoglu, 2016): masked convolutions, B residual blocks
    gated     Gated PixelCNN (van den Oord et al., 2016b): two stacks without a blind spot
    plusplus  PixelCNN++ (Salimans et al., 2017): whole pixels, whose colours are given each other by the coefficients
              of "logistic_levels"
    row_lstm  PixelRNN (the first paper): B residual row LSTMs, each a recurrence down the rows of the image

  Attributes, in addition to those of Autoregressive:
    net: see above.
    features: of a layer; PixelCNN and the row LSTM have half as many inside of a block.
    blocks: residual blocks, gated layers, or blocks of a scale of PixelCNN++.
    kernel_size, first_kernel_size: of all but plusplus; odd.
    scales: of plusplus: 1 + how often the image is halved.
    dropout: of plusplus, in training.
    dtype: of the products and activations; h is float32.
  """

  net: str = "plain"
  features: int = 32
  blocks: int = 15
  kernel_size: int = 3
  first_kernel_size: int = 7
  scales: int = 3
  dropout: float = 0.0
  dtype: str = "float32"

  def setup(self):
    self._check()
    by_colour = 1 if self.net == "plusplus" else self.image_shape[2]
    mean = jnp.asarray(self.family.centre(self.dim) if self.data_mean is None else self.data_mean, jnp.float32)
    start = self.family.bias(mean.reshape(self.image_shape).mean((0, 1))).reshape(self.family.num_outputs, -1).T
    args = {name: getattr(self, name) for name in ("features", "blocks", "kernel_size", "first_kernel_size")}
    args |= {"scales": self.scales, "dropout": self.dropout} if self.net == "plusplus" else {}
    self.network = NETWORKS[self.net](
      inputs=self.image_shape[2] + self._marks,
      outputs=num_pixel_outputs(self._components, self.image_shape[2]) if self._components else start.size,
      channels=by_colour,
      num_context=self.num_classes,
      bias_init=nn.initializers.zeros if self._components else lambda key, shape, dtype=None: start.reshape(shape),
      dtype=jnp.dtype(self.dtype),
      **args,
    )

  def _check(self) -> None:
    """Raises UserError for invalid attributes."""
    require_one_of(NETWORKS, net=self.net)
    require_at_least(1, blocks=self.blocks, scales=self.scales)
    errors.require(
      len(self.data_shape) in (2, 3), f"pixelcnn is for images [H, W, C] or [H, W]; x has shape {list(self.data_shape)}"
    )
    channels = self.image_shape[2]
    require_at_least(2 * channels, features=self.features)
    for name in ("kernel_size", "first_kernel_size"):
      errors.require(
        getattr(self, name) >= 3 and getattr(self, name) % 2 == 1,
        f"{name} = {getattr(self, name)}; it must be an odd number, 3 or more",
      )
    errors.require(0 <= self.dropout < 1, f"dropout = {self.dropout}; it must be in [0, 1)")
    errors.require(not self.dropout or self.net == "plusplus", "dropout is for net = 'plusplus'")
    errors.require(
      self.net != "plusplus" or channels == 1 or self.likelihood == "logistic_levels",
      f"net = 'plusplus' sees whole pixels: with {channels} colours it needs likelihood 'logistic_levels', whose "
      f"coefficients make them depend on each other, not {self.likelihood!r}",
    )

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    height, width, *channels = self.data_shape
    return height, width, *(channels or [1])

  @property
  def _marks(self) -> int:
    """1 if the pixels have a further feature that is 1 inside of the image (PixelCNN++), else 0."""
    return int(self.net == "plusplus")

  @property
  def _components(self) -> int:
    """The number of components of the colours' joint mixture; 0 where they have no coefficients."""
    joint = self.net == "plusplus" and self.image_shape[2] > 1
    return self.family.num_outputs // 3 if joint else 0

  def order(self, which: jax.Array | int = 0) -> jax.Array:
    """The entries in their order, [D]: as they are."""
    del which
    return jnp.arange(self.dim)

  def _scaled(self, x: jax.Array) -> jax.Array:
    """x as the network sees it: binary as it is, else in [-1, 1] where its support is finite."""
    low, high = self.family.support
    if self.family.num_values == 2 or not math.isfinite(high - low):
      return x
    return 2 * (x - low) / (high - low) - 1

  def _of_entries(self, out: jax.Array, x: jax.Array) -> jax.Array:
    """h [..., C, P] of the colours of a pixel from the network's outputs for it and its x [..., C]."""
    out = out.astype(jnp.float32)
    if self._components:
      return channel_conditionals(out, x, self._components, self.num_levels)
    return out.reshape(*out.shape[:-1], self.image_shape[2], -1)

  def _outputs(self, x: jax.Array, context: jax.Array | None, key: jax.Array | None = None) -> jax.Array:
    """h [B, H', W, C, P] of the first rows of images, x [B, H', W, C]; with dropout if there is a key."""
    pixels = self._scaled(x)
    if self._marks:
      pixels = jnp.concatenate([pixels, jnp.ones_like(pixels[..., :1])], -1)
    view = Whole(pixels.astype(self.dtype), key)
    out = self.network.horizontal(view, self.network.vertical(view, context), context)
    return self._of_entries(out, x)

  def conditionals(self, x: jax.Array, context: jax.Array | None, which: jax.Array | int = 0) -> jax.Array:
    """h [B, D, P] of all entries of x [B, D], in one pass."""
    del which
    return self._outputs(x.reshape(-1, *self.image_shape), context).reshape(x.shape[0], self.dim, -1)

  def log_prob_of_first(self, batch: dict[str, jax.Array], num: int) -> jax.Array:
    """log p of the `num` entries that come first, nats, [B], from the rows that they are in."""
    _, width, channels = self.image_shape
    rows = -(-num // (width * channels))
    if self.net == "plusplus":
      rows = max(rows, 2 ** (self.scales - 1))  # which is 2 pixels of the last scale but one
    x = batch["x"].reshape(-1, *self.image_shape)[:, :rows].astype(jnp.float32)
    h = self._outputs(x, self.check_context(batch.get("context")))
    first = lambda a: a.reshape(x.shape[0], -1, *a.shape[4:])[:, :num]
    return self.entries(first(h)).log_prob(first(x))

  def objective(self, key: jax.Array, batch: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(log p(x) [B], with dropout if the model has it, {"log_px": the same})."""
    if not self.dropout:
      log_px = self.log_prob(batch)
    else:
      x = batch["x"].astype(jnp.float32)
      h = self._outputs(x.reshape(-1, *self.image_shape), self.check_context(batch.get("context")), key)
      log_px = self.entries(h.reshape(len(x), self.dim, -1)).log_prob(x.reshape(len(x), -1))
    return log_px, {"log_px": log_px}

  def _views(self, cache: dict[str, Any], place: tuple[Any, Any], make: bool = False) -> tuple[Row, Position]:
    size, margin = self.image_shape[:2], self.network.reach
    n = cache["pixels"].shape[2]
    rings = [Rings(None if make else cache[name], n) for name in ("row_rings", "rings")]
    row = Row(cache["pixels"], margin, place[:1], size, rings[0])
    return row, Position(cache["pixels"], margin, place, size, rings[1])

  def start(self, n: int, context: jax.Array | None, which: jax.Array | int = 0) -> dict[str, Any]:
    """The cache: the last rows of the pixels and of each layer's input, and features of the present row."""
    del which
    width, margin = self.image_shape[1], self.network.reach
    shape = (margin + 1, width + 2 * margin, n, self.image_shape[2] + self._marks)
    cache: dict[str, Any] = {"pixels": jnp.zeros(shape, self.dtype), "now": jnp.zeros((n, self.image_shape[2]))}
    if context is not None:
      cache["context"] = context
    row, position = self._views(cache, (0, 0), make=True)
    cache["rows"] = [jnp.zeros_like(a) for a in self.network.vertical(row, context)]
    out = self.network.horizontal(position, cache["rows"], context)
    used = {"row_rings": row.rings.used, "rings": position.rings.used}
    return cache | used | ({"out": jnp.zeros_like(out)} if self._marks else {})

  def rows(self, cache: dict[str, Any], i: jax.Array) -> dict[str, Any]:
    """The cache with the features of row i that see the rows above."""
    view, _ = self._views(cache, (i, 0))
    found = self.network.vertical(view, cache.get("context"))
    return cache | {"rows": found, "row_rings": view.rings.used}

  def pixel(self, cache: dict[str, Any], i: jax.Array, j: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """(the cache with the features of pixel (i, j), the network's outputs for it, [n, O])."""
    _, view = self._views(cache, (i, j))
    out = self.network.horizontal(view, cache["rows"], cache.get("context"))
    return cache | {"rings": view.rings.used}, out

  def _place(self, cache: dict[str, Any], t: jax.Array, before: jax.Array) -> dict[str, Any]:
    """The cache with the entry before the t-th among the pixels; none at t = 0."""
    (_, width, channels), ring, margin = self.image_shape, cache["pixels"], self.network.reach
    pixel, channel = (t - 1) // channels, (t - 1) % channels
    at = (pixel // width % ring.shape[0], margin + pixel % width, 0)
    seen = jnp.where(t > 0, self._scaled(before), 0.0).astype(ring.dtype)
    ring = jax.lax.dynamic_update_slice(ring, seen[None, None, :, None], (*at, channel))
    if self._marks:
      mark = jnp.broadcast_to(t > 0, seen.shape).astype(ring.dtype)
      ring = jax.lax.dynamic_update_slice(ring, mark[None, None, :, None], (*at, channels))
    now = jax.lax.dynamic_update_slice(cache["now"], before[:, None], (0, channel))
    return cache | {"pixels": ring, "now": now}

  def step(self, cache: dict[str, Any], t: jax.Array, before: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """(the cache with the entry before the t-th, h [n, P] of the t-th); before [n] is that entry."""
    _, width, channels = self.image_shape
    pixel, channel = t // channels, t % channels
    i, j = pixel // width, pixel % width
    cache = self._place(cache, t, before)
    if cache["rows"]:
      rows = self.pure("rows")
      cache = jax.lax.cond((j == 0) & (channel == 0), lambda c: rows(c, i), lambda c: c, cache)
    if self._marks:  # all colours of a pixel have the same outputs of the network
      of_pixel = self.pure("pixel")
      cache = jax.lax.cond(channel == 0, lambda c: _with_out(*of_pixel(c, i, j)), lambda c: c, cache)
      out = cache["out"]
    else:
      cache, out = self.pixel(cache, i, j)
    return cache, jax.lax.dynamic_index_in_dim(self._of_entries(out, cache["now"]), channel, 1, keepdims=False)


def _with_out(cache: dict[str, Any], out: jax.Array) -> dict[str, Any]:
  return cache | {"out": out}

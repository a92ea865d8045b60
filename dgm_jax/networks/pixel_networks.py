"""Networks whose outputs at a pixel depend on the pixels before it: PixelCNN and Gated PixelCNN.

Each has two stages, both in terms of a view (causal_views.py), so that the same weights serve whole images and one
pixel at a time:

  vertical(view, context)         -> features that see the rows above, of whole rows; none for PixelCNN
  horizontal(view, rows, context) -> the outputs of each pixel, given these

With C > 1 `channels`, features belong to the colours of a pixel, and output c sees the colours before c.  `context`
[n, K] is added inside of every block, by weights of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks import causal_convolutions as causal
from dgm_jax.networks.causal_convolutions import CausalConv, pointwise


class PixelNetwork(nn.Module):
  """What the networks share.

  Attributes:
    inputs: number of features of a pixel of the view.
    outputs: number of outputs of a pixel, an equal number for each colour, colour by colour.
    channels: C.
    features: of a layer.
    blocks: their number.
    kernel_size, first_kernel_size: of the convolutions, and of the first one.
    num_context: K, or 0.
    bias_init: of the outputs' bias.
    dtype: of the products and activations; outputs are float32.
  """

  inputs: int
  outputs: int
  channels: int = 1
  features: int = 32
  blocks: int = 15
  kernel_size: int = 3
  first_kernel_size: int = 7
  num_context: int = 0
  bias_init: Callable = nn.initializers.zeros
  dtype: Any = jnp.float32

  @property
  def reach(self) -> int:
    """How many rows and columns of pixels around its own a layer of pixels may reach."""
    return self.first_kernel_size // 2

  def _shift(self, features: int) -> nn.Dense | None:
    """The weights of the context of a block."""
    return nn.Dense(features, use_bias=False, dtype=self.dtype) if self.num_context else None

  def _add(self, y: jax.Array, shift: nn.Dense | None, context: jax.Array | None, view: Any) -> jax.Array:
    return y if shift is None else y + view.spread(shift(context))

  def _colours(self, features: int, offsets: causal.Offsets = ((0, 0),), **options: Any) -> CausalConv:
    return CausalConv(features, offsets, channels=self.channels, dtype=self.dtype, **options)

  def _out(self) -> CausalConv:
    return self._colours(self.outputs, bias_init=self.bias_init)

  def vertical(self, view: Any, context: jax.Array | None) -> list[jax.Array]:
    """See the module's docstring."""
    del view, context
    return []


class PixelCNN(PixelNetwork):
  """PixelCNN (van den Oord, Kalchbrenner & Kavukcuoglu, 2016): F features, B blocks x + g(x), F/2 features inside.

    g = 1 x 1 (relu(k x k (relu(1 x 1 (relu(x))))))

  Some pixels above on the right are never seen, however many layers there are: its blind spot.
  """

  def setup(self):
    half, wide = self.features // 2, causal.before(self.kernel_size, centre=True)
    first = causal.before(self.first_kernel_size, centre=self.channels > 1)
    self.start = self._colours(self.features, first, strict=True, inputs=self.inputs)
    self.reduce = [self._colours(half, gain=2.0) for _ in range(self.blocks)]
    self.shift = [self._shift(half) for _ in range(self.blocks)]
    self.convolve = [self._colours(half, wide, gain=2.0) for _ in range(self.blocks)]
    self.expand = [self._colours(self.features, gain=1.0 / self.blocks) for _ in range(self.blocks)]
    self.last, self.out = self._colours(self.features, gain=2.0), self._out()

  def horizontal(self, view: Any, rows: Sequence[jax.Array], context: jax.Array | None) -> jax.Array:
    """See the module's docstring."""
    del rows
    x = self.start(None, view)
    for reduce, shift, convolve, expand in zip(self.reduce, self.shift, self.convolve, self.expand, strict=True):
      y = self._add(reduce(nn.relu(x), view), shift, context, view)
      x = x + expand(nn.relu(convolve(nn.relu(y), view)), view)
    return self.out(nn.relu(self.last(nn.relu(x), view)), view)


def _gate(y: jax.Array) -> jax.Array:
  """tanh(a) sigmoid(b) of the halves (a, b) of the features."""
  a, b = jnp.split(y, 2, -1)
  return jnp.tanh(a) * nn.sigmoid(b)


class GatedPixelCNN(PixelNetwork):
  """Gated PixelCNN (van den Oord et al., 2016b): a stack that sees the rows above, and one that sees its row, gated.

    v' = tanh(a) sigmoid(b), (a, b) = n x n (v);   h' = h + 1 x 1 (tanh(a) sigmoid(b)), (a, b) = 1 x n (h) + 1 x 1 (v)

  Together they see all pixels before the own one.
  """

  def setup(self):
    p, layers = self.features, range(self.blocks)
    self.v_start = CausalConv(p, causal.above(self.first_kernel_size, False), inputs=self.inputs, dtype=self.dtype)
    first = causal.left(self.first_kernel_size, centre=self.channels > 1)
    self.h_start = self._colours(p, first, strict=True, inputs=self.inputs)
    taps, beside = causal.above(self.kernel_size, True), causal.left(self.kernel_size, centre=True)
    self.v_conv = [CausalConv(2 * p, taps, dtype=self.dtype) for _ in layers]
    self.v_shift, self.h_shift = ([self._shift(2 * p) for _ in layers] for _ in range(2))
    self.v_to_h = [pointwise(2 * p, dtype=self.dtype) for _ in layers]
    self.h_conv = [self._colours(2 * p, beside, copies=2) for _ in layers]
    self.h_out, self.skip = ([self._colours(p) for _ in layers] for _ in range(2))
    self.last, self.out = self._colours(p, gain=2.0), self._out()

  def vertical(self, view: Any, context: jax.Array | None) -> list[jax.Array]:
    """1 x 1 (v) of each layer."""
    v, found = self.v_start(None, view), []
    for convolve, shift, to_h in zip(self.v_conv, self.v_shift, self.v_to_h, strict=True):
      y = self._add(convolve(v, view), shift, context, view)
      found.append(to_h(y, view))
      v = _gate(y)
    return found

  def horizontal(self, view: Any, rows: Sequence[jax.Array], context: jax.Array | None) -> jax.Array:
    """See the module's docstring."""
    h, total = self.h_start(None, view), 0.0
    for i, row in enumerate(rows):
      y = self.h_conv[i](h, view) + view.of_row(row)
      y = _gate(self._add(y, self.h_shift[i], context, view))
      total = total + self.skip[i](y, view)
      h = h + self.h_out[i](y, view)
    return self.out(nn.relu(self.last(nn.relu(total), view)), view)

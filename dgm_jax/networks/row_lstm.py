"""The row LSTM of PixelRNN: a network whose outputs at a pixel depend on the pixels before it.

See pixel_networks.py.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks import causal_convolutions as causal
from dgm_jax.networks.pixel_networks import PixelNetwork


class StateToState(nn.Module):
  """The recurrence of a layer down the rows, without its input-to-state convolution.

    o, f, i, g = z + K * h_above,   c = s(f) c_above + s(i) tanh(g),   h = s(o) tanh(c)

  Attributes:
    features: H, of h and of c.
    kernel_size: k, pixels of the row above that K, a k x 1 convolution, sees.
    dtype: of the products and of h; c is float32.
  """

  features: int
  kernel_size: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, z: jax.Array, view: Any) -> jax.Array:
    """h of the view's pixels, from z [..., 4 H]."""
    width, r = self.features, self.kernel_size // 2
    init = nn.initializers.lecun_normal()
    kernel = self.param("kernel", init, (self.kernel_size * width, 4 * width)).astype(self.dtype)

    def step(z, above, c):
      o, f, i, g = jnp.split((z + above @ kernel).astype(jnp.float32), 4, -1)
      c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
      return (nn.sigmoid(o) * jnp.tanh(c)).astype(self.dtype), c

    return view.down_rows(step, z, range(-r, r + 1), width)


class RowLSTM(PixelNetwork):
  """PixelRNN with row LSTMs (van den Oord, Kalchbrenner & Kavukcuoglu, 2016): F features, B blocks x + 1 x 1 (h).

  h, of F/2 features, is an LSTM down the rows: z is a masked convolution of the pixel's own row, see StateToState.
  A layer sees a triangle above its pixel, one more pixel on each side with every row.
  """

  def setup(self):
    half, first = self.features // 2, causal.before(self.first_kernel_size, centre=self.channels > 1)
    self.start = self._colours(self.features, first, strict=True, inputs=self.inputs)
    beside, layers = causal.left(self.kernel_size, centre=True), range(self.blocks)
    # as in other LSTMs, what is in c stays there at first
    bias = lambda key, shape, dtype=jnp.float32: jnp.zeros(shape, dtype).at[half : 2 * half].set(1)
    self.inputs_to_state = [self._colours(4 * half, beside, copies=4, bias_init=bias) for _ in layers]
    self.shift = [self._shift(4 * half) for _ in layers]
    self.recur = [StateToState(half, self.kernel_size, self.dtype) for _ in layers]
    self.expand = [self._colours(self.features, gain=1.0 / self.blocks) for _ in layers]
    self.last, self.out = self._colours(self.features, gain=2.0), self._out()

  def horizontal(self, view: Any, rows: Sequence[jax.Array], context: jax.Array | None) -> jax.Array:
    """See pixel_networks.py."""
    del rows
    x = self.start(None, view)
    for convolve, shift, recur, expand in zip(self.inputs_to_state, self.shift, self.recur, self.expand, strict=True):
      x = x + expand(recur(self._add(convolve(x, view), shift, context, view), view), view)
    return self.out(nn.relu(self.last(nn.relu(x), view)), view)

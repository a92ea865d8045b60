"""PixelCNN++: two streams of gated residual blocks, as U-nets (Salimans et al., 2017)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks import causal_convolutions as causal
from dgm_jax.networks.causal_convolutions import CausalConv, Finer
from dgm_jax.networks.pixel_networks import PixelNetwork


def _elu(x: jax.Array) -> jax.Array:
  """elu(x) and elu(-x), twice as many features."""
  return nn.elu(jnp.concatenate([x, -x], -1))


class _Residual(nn.Module):
  """x + a sigmoid(b), (a, b) = conv(elu(conv(elu(x)) + aux)) of F features each (Salimans et al., 2017)."""

  features: int
  offsets: causal.Offsets
  num_context: int
  dropout: float
  dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array, aux: jax.Array | float, context: jax.Array | None, view: Any) -> jax.Array:
    conv = lambda features, gain: CausalConv(features, self.offsets, gain=gain, dtype=self.dtype)
    y = view.drop(_elu(conv(self.features, 1.0)(_elu(x), view) + aux), self.dropout)
    y = conv(2 * self.features, 0.01)(y, view)
    if self.num_context:
      y = y + view.spread(nn.Dense(2 * self.features, use_bias=False, dtype=self.dtype)(context))
    a, b = jnp.split(y, 2, -1)
    return x + a * nn.sigmoid(b)


class PixelCNNPlusPlus(PixelNetwork):
  """PixelCNN++ (Salimans et al., 2017): two streams, of the rows above and of all pixels before, as U-nets.

  The convolutions are 2 x 3 for the rows above and 2 x 2 for the pixels before; the image is halved by a stride of 2
  and doubled by 2 x 2 weights for each coarse pixel.  A block on the way up gets the features of its counterpart on
  the way down, and the second stream those of the first.  The kernel sizes have no influence.

  Attributes, in addition to those of PixelNetwork:
    scales: 1 + how often the image is halved; `blocks` are those of a scale.
    dropout: inside of the blocks, where the view has a key.
  """

  scales: int = 3
  dropout: float = 0.0

  @property
  def reach(self) -> int:
    return 2

  def setup(self):
    f, down, up = self.features, self.blocks * self.scales, self.blocks * self.scales + self.scales - 1
    beside, taps = causal.rectangle(range(-1, 1), range(-1, 1)), causal.above(3, True)
    conv = lambda offsets, **options: CausalConv(f, offsets, dtype=self.dtype, **options)
    block = lambda offsets: _Residual(f, offsets, self.num_context, self.dropout, self.dtype)
    self.u_start = conv(causal.rectangle(range(-2, 0), range(-1, 2)), inputs=self.inputs)
    self.ul_start = conv(causal.before(3, centre=False), inputs=self.inputs)
    self.u_down, self.u_up = [block(taps) for _ in range(down)], [block(taps) for _ in range(up)]
    self.ul_down, self.ul_up = [block(beside) for _ in range(down)], [block(beside) for _ in range(up)]
    self.u_skip, self.ul_skip = ([conv(((0, 0),)) for _ in range(up)] for _ in range(2))
    self.u_to_ul = [conv(((0, 0),)) for _ in range(down + up)]
    self.u_halve = [conv(taps, stride=2) for _ in range(self.scales - 1)]
    self.ul_halve = [conv(beside, stride=2) for _ in range(self.scales - 1)]
    self.u_double, self.ul_double = ([Finer(f, self.dtype) for _ in range(self.scales - 1)] for _ in range(2))
    self.out = self._out()

  def _views(self, view: Any) -> tuple[list[Any], list[tuple[int, ...]]]:
    """(the view of each scale, (H, W) of each scale)."""
    views, sizes = [view], [tuple(view.size)]
    for _ in range(self.scales - 1):
      views.append(views[-1].coarse())
      sizes.append(tuple(-(-s // 2) for s in sizes[-1]))
    errors.require(
      len(sizes) == 1 or min(sizes[-2]) >= 2,
      f"scales = {self.scales} halve {view.size[0]} x {view.size[1]} pixels too often: give fewer",
    )
    return views, sizes

  def _stream(self, x: jax.Array, name: str, aux: Callable, context: jax.Array | None, view: Any) -> list[jax.Array]:
    """The U-net of a stream: the features after each block; aux(k) is added in block k."""
    (views, sizes), part = self._views(view), lambda what: getattr(self, f"{name}_{what}")
    kept, found, k = [x], [], 0
    for s in range(self.scales):
      for _ in range(self.blocks):
        x = part("down")[k](x, aux(k), context, views[s])
        kept.append(x)
        found.append(x)
        k += 1
      if s < self.scales - 1:
        x = part("halve")[s](x, views[s])
        kept.append(x)
    x = kept.pop()
    for s in reversed(range(self.scales)):
      for _ in range(self.blocks + int(s < self.scales - 1)):
        j = k - self.blocks * self.scales
        skip = part("skip")[j](_elu(kept.pop()), views[s])
        x = part("up")[j](x, aux(k) + skip, context, views[s])
        found.append(x)
        k += 1
      if s:
        x = part("double")[s - 1](x, views[s - 1], sizes[s - 1])
    return found

  def vertical(self, view: Any, context: jax.Array | None) -> list[jax.Array]:
    """1 x 1 (elu(u)) after each block."""
    found = self._stream(self.u_start(None, view), "u", lambda k: 0.0, context, view)
    return [self.u_to_ul[k](_elu(x), view) for k, x in enumerate(found)]

  def horizontal(self, view: Any, rows: Sequence[jax.Array], context: jax.Array | None) -> jax.Array:
    """See the module's docstring."""
    views, _ = self._views(view)
    scale = [s for s in range(self.scales) for _ in range(self.blocks)]
    scale += [s for s in reversed(range(self.scales)) for _ in range(self.blocks + int(s < self.scales - 1))]
    aux = lambda k: views[scale[k]].of_row(rows[k])
    found = self._stream(self.ul_start(None, view), "ul", aux, context, view)
    return self.out(nn.elu(found[-1]), view)

"""Multi-scale flows of images (Dinh et al., 2017; Kingma & Dhariwal, 2018) as one bijector [H, W, C] -> [D]."""

from collections.abc import Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import masks, transforms
from dgm_jax.distributions.bijectors.coupling import Coupling, MaskedCoupling
from dgm_jax.distributions.bijectors.layers import Layer, LULayer, PermutationLayer, ReverseLayer
from dgm_jax.distributions.bijectors.norms import ActNorm
from dgm_jax.distributions.bijectors.squeeze import Squeeze
from dgm_jax.networks import remat
from dgm_jax.networks.convolutions import Conv

MIXERS = {"lu": LULayer, "random": PermutationLayer, "reverse": ReverseLayer, "none": None}


class MultiScale(distrax.Bijector):
  """A chain of levels; after each but the last, half of the channels leaves.

  The half that leaves is made normal by a coupling, an affine map whose parameters depend on the half that stays: the
  log-density of the whole under N(0, I) is the sum over levels of log p(half that leaves | half that stays).

  Args:
    levels: of each level the named bijectors, in the order in which x [H, W, C] passes them to become [H', W', C'].
    couplings: of the images after all levels but the last, of event [H', W', C'], with the half that stays first.
    shapes: (H', W', C') of each level, before channels leave.
  """

  def __init__(
    self,
    levels: Sequence[Sequence[tuple[str, distrax.Bijector]]],
    couplings: Sequence[Coupling],
    shapes: Sequence[tuple[int, int, int]],
  ):
    super().__init__(event_ndims_in=3, event_ndims_out=1)
    self._named, self._couplings, self._shapes = levels, couplings, shapes
    self._levels = [distrax.Chain([bijector for _, bijector in level[::-1]]) for level in levels]

  @property
  def part_names(self) -> list[str]:
    """The names of `parts`, such as "level 1, ActNorm 3": levels are counted from 1, their parts from 0."""
    names = []
    for i, level in enumerate(self._named):
      names += [f"level {i + 1}, {name} {k}" for k, (name, _) in enumerate(level)]
      names += [f"level {i + 1}, split"] if i < len(self._couplings) else []
    return names

  def parts(self, x: jax.Array) -> list[tuple[str, distrax.Bijector, jax.Array]]:
    """[(name, bijector, its input)] of the bijectors that x [..., H, W, C] passes, in this order."""
    found = []
    for i, level in enumerate(self._named):
      for _, bijector in level:
        found.append((bijector, x))
        x = bijector.forward(x)
      if i < len(self._couplings):
        found.append((self._couplings[i], x))
        x = x[..., : self._couplings[i].size]
    return [(name, *part) for name, part in zip(self.part_names, found, strict=True)]

  def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    parts, log_det, batch = [], 0.0, x.shape[:-3]
    for i, level in enumerate(self._levels):
      x, step = level.forward_and_log_det(x)
      log_det = log_det + step
      if i < len(self._couplings):
        x, step = self._couplings[i].forward_and_log_det(x)
        log_det = log_det + step
        x, leaving = x[..., : self._couplings[i].size], x[..., self._couplings[i].size :]
        parts.append(leaving.reshape(*batch, -1))
    return jnp.concatenate([*parts, x.reshape(*batch, -1)], -1), log_det

  def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    batch, log_det, end = y.shape[:-1], 0.0, y.shape[-1]
    h, w, c = self._shapes[-1]
    x = y[..., end - h * w * c :].reshape(*batch, h, w, c)
    end -= h * w * c
    for i in reversed(range(len(self._levels))):
      if i < len(self._couplings):
        h, w, c = self._shapes[i]
        count = h * w * (c - self._couplings[i].size)
        leaving = y[..., end - count : end].reshape(*batch, h, w, -1)
        end -= count
        x, step = self._couplings[i].inverse_and_log_det(jnp.concatenate([x, leaving], -1))
        log_det = log_det + step
      x, step = self._levels[i].inverse_and_log_det(x)
      log_det = log_det + step
    return x, log_det


class ConvConditioner(nn.Module):
  """x [..., H, W, S] (and c [..., C]) -> h [..., H, W, P, S'] by convolutions, 3 x 3, 1 x 1, 3 x 3; at first h = 0.

  Attributes:
    num_outputs: P.
    channels: S'.
    hidden: channels between the convolutions.
    context: C; 0 for none.
  """

  num_outputs: int
  channels: int
  hidden: int = 64
  context: int = 0

  @nn.compact
  def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
    batch = x.shape[:-3]
    a = Conv(self.hidden, 3)(x.reshape(-1, *x.shape[-3:]))
    if self.context:
      kernel = self.param("context", nn.initializers.glorot_uniform(), (self.context, self.hidden))
      added = jnp.broadcast_to(context @ kernel, (*batch, self.hidden))
      a = a + added.reshape(-1, 1, 1, self.hidden)
    a = nn.relu(Conv(self.hidden, 1)(nn.relu(a)))
    h = Conv(self.num_outputs * self.channels, 3, gain=0.0)(a)
    return h.reshape(*batch, *h.shape[1:3], self.num_outputs, self.channels)


class ImageCoupling(Layer):
  """A coupling of the channels [H, W, dim], or of the colours of a chessboard; the halves alternate.

  Attributes, in addition to those of Layer:
    size: channels that stay; None for a half.
    hidden: see ConvConditioner.
    transform, transform_args: a name of transforms.TRANSFORMS and its options.
    shape: (H, W).
    board: whether pixels of one colour of a chessboard stay (Dinh et al., 2017), and not channels.
    remat: whether the backward pass computes the network again, of which only the input is stored.
  """

  size: int | None = None
  hidden: int = 64
  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  shape: tuple[int, int] = (1, 1)
  board: bool = False
  remat: bool = False

  def setup(self):
    errors.require(self.board or self.dim >= 2, "a coupling of channels needs two of them or more: squeeze first")
    self.made = transforms.make(self.transform, **self.transform_args)
    self.kept = self.dim if self.board else self.dim // 2 if self.size is None else self.size
    changed = self.dim if self.board else self.dim - self.kept
    self.net = ConvConditioner(self.made.num_params, changed, self.hidden, self.context)

  def _conditioner(self, context):
    found = self.with_context(self.net, jnp.zeros((*self.shape, self.kept)), context)
    if not self.remat or self.is_initializing():
      return found
    bare, variables = self.net.unbind()
    given = () if context is None or not self.context else (context,)
    pure = remat.recomputed(lambda kept, x: bare.apply(kept[0], x, *kept[1:]))
    return lambda x: pure((variables, *given), x)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    swap = self.index % 2 == 1
    if self.board:
      mask = masks.checkerboard((*self.shape, self.dim), swap)
      return MaskedCoupling(self._conditioner(context), self.made, mask)
    return Coupling(self._conditioner(context), self.made, self.kept, swap, event_ndims=3)


class ImageFlow(nn.Module):
  """L levels of a squeeze and K steps, each an actnorm, a mixing of channels and a coupling.

  Attributes:
    shape: (H, W, C), whose height and width 2^L divides.
    num_levels: L.
    num_steps: K.
    hidden: channels of the convolutions.
    transform, transform_args: of the couplings.
    mixer: of the channels: lu, an invertible 1 x 1 convolution; random, a permutation; reverse; or none.
    num_boards: couplings by chessboards before each squeeze, each after an actnorm: RealNVP has three.
    context: size of a context; 0 for none.
    remat: see ImageCoupling.
  """

  shape: tuple[int, int, int]
  num_levels: int = 2
  num_steps: int = 4
  hidden: int = 64
  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  mixer: str = "lu"
  num_boards: int = 0
  context: int = 0
  remat: bool = False

  def _check(self):
    for name, least in (("num_levels", 1), ("num_steps", 1), ("hidden", 1), ("num_boards", 0)):
      value = getattr(self, name)
      errors.require(value >= least, f"{name} = {value} of an image flow must be {least} or more")
    errors.require(self.mixer in MIXERS, f"mixer = {self.mixer!r}; it must be one of {', '.join(MIXERS)}")
    errors.require(len(self.shape) == 3, f"an image flow takes images [H, W, C]; x has shape {list(self.shape)}")
    h, w, _ = self.shape
    errors.require(
      h % 2**self.num_levels == 0 and w % 2**self.num_levels == 0,
      f"num_levels = {self.num_levels} needs a height and width that {2**self.num_levels} divides; x is {h} x {w}",
    )

  def setup(self):
    self._check()
    (h, w, c), steps, splits, boards, shapes = self.shape, [], [], [], []
    of_transform = {"transform": self.transform, "transform_args": self.transform_args}
    for level in range(self.num_levels):
      net = {"hidden": self.hidden, "context": self.context, "remat": self.remat}
      board = {"shape": (h, w), "board": True, **net, **of_transform}
      for k in range(self.num_boards):
        boards += [ActNorm(c, event_ndims=3), ImageCoupling(c, index=k, **board)]
      h, w, c = h // 2, w // 2, 4 * c
      shapes.append((h, w, c))
      steps.append([])
      for k in range(self.num_steps):
        mixer, number = MIXERS[self.mixer], level * self.num_steps + k
        steps[-1].append(ActNorm(c, event_ndims=3))
        steps[-1] += [mixer(c, index=number, event_ndims=3)] if mixer else []
        steps[-1].append(ImageCoupling(c, index=k, shape=(h, w), **net, **of_transform))
      if level < self.num_levels - 1:
        splits.append(ImageCoupling(c, size=c // 2, shape=(h, w), **net))
        c = c // 2
    self.steps, self.splits, self.boards, self.shapes = steps, splits, boards, shapes

  def _boards(self, level):
    count = 2 * self.num_boards
    return self.boards[level * count : (level + 1) * count]

  def _level(self, i):
    """The parts of a level: layers, and the squeeze."""
    return (*self._boards(i), Squeeze(), *self.steps[i])

  def _assembled(self, levels, context):
    named = [
      [(type(part).__name__, bijector) for part, bijector in zip(self._level(i), level, strict=True)]
      for i, level in enumerate(levels)
    ]
    return MultiScale(named, [split(context) for split in self.splits], self.shapes)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    """The bijector [H, W, C] -> [D]."""
    of = lambda part: part(context) if isinstance(part, nn.Module) else part
    return self._assembled([[of(part) for part in self._level(i)] for i in range(self.num_levels)], context)

  def bijectors(self, context: jax.Array | None = None) -> list[tuple[str, distrax.Bijector]]:
    """[("MultiScale", the bijector)]."""
    return [("MultiScale", self(context))]

  def observe(self, x: jax.Array, context: jax.Array | None = None, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """(z, log |det dz/dx|) of x [B, H, W, C]; in `init` actnorm starts from it."""
    levels, a = [], x
    for i in range(self.num_levels):
      found = []
      for step in self._level(i):
        if not isinstance(step, nn.Module):
          found.append(step)
        else:
          found.append(step.observe(a, train) if hasattr(step, "observe") else step(context))
        a = found[-1].forward(a)
      levels.append(found)
      if i < len(self.splits):
        a = a[..., : self.shapes[i][-1] // 2]
    return self._assembled(levels, context).forward_and_log_det(x)

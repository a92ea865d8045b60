"""Multi-scale flows of images (Dinh et al., 2017; Kingma & Dhariwal, 2018) as one bijector [H, W, C] -> [D]."""

from collections.abc import Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import transforms
from dgm_jax.distributions.bijectors.coupling import Coupling
from dgm_jax.distributions.bijectors.layers import Layer, LULayer, PermutationLayer
from dgm_jax.distributions.bijectors.norms import ActNorm
from dgm_jax.distributions.bijectors.squeeze import Squeeze
from dgm_jax.networks.convolutions import Conv

MIXERS = {"lu": LULayer, "random": PermutationLayer}


class MultiScale(distrax.Bijector):
  """A chain of levels; after each but the last, half of the channels leaves.

  The half that leaves is made normal by a coupling, an affine map whose parameters depend on the half that stays: the
  log-density of the whole under N(0, I) is the sum over levels of log p(half that leaves | half that stays).

  Args:
    levels: bijectors [H, W, C] -> [H', W', C'].
    couplings: of the images after all levels but the last, of event [H', W', C'], with the half that stays first.
  """

  def __init__(self, levels: Sequence[distrax.Bijector], couplings: Sequence[Coupling], shapes: Sequence[tuple]):
    super().__init__(event_ndims_in=3, event_ndims_out=1)
    self._levels, self._couplings, self._shapes = levels, couplings, shapes

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
  """A coupling of the channels [H, W, dim], whose halves alternate.

  Attributes, in addition to those of Layer:
    size: channels that stay; None for a half.
    hidden: see ConvConditioner.
    transform, transform_args: a name of transforms.TRANSFORMS and its options.
    shape: (H, W).
  """

  size: int | None = None
  hidden: int = 64
  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  shape: tuple[int, int] = (1, 1)

  def setup(self):
    errors.require(self.dim >= 2, "a coupling of channels needs two of them or more: squeeze first")
    self.made = transforms.make(self.transform, **self.transform_args)
    self.kept = self.dim // 2 if self.size is None else self.size
    self.net = ConvConditioner(self.made.num_params, self.dim - self.kept, self.hidden, self.context)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    conditioner = self.with_context(self.net, jnp.zeros((*self.shape, self.kept)), context)
    return Coupling(conditioner, self.made, self.kept, self.index % 2 == 1, event_ndims=3)


class ImageFlow(nn.Module):
  """L levels of a squeeze and K steps, each an actnorm, a mixing of channels and a coupling.

  Attributes:
    shape: (H, W, C), whose height and width 2^L divides.
    num_levels: L.
    num_steps: K.
    hidden: channels of the convolutions.
    transform, transform_args: of the couplings.
    mixer: of the channels: lu, an invertible 1 x 1 convolution; or random, a permutation.
    context: size of a context; 0 for none.
  """

  shape: tuple[int, int, int]
  num_levels: int = 2
  num_steps: int = 4
  hidden: int = 64
  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  mixer: str = "lu"
  context: int = 0

  def setup(self):
    for name in ("num_levels", "num_steps", "hidden"):
      errors.require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)} of an image flow must be 1 or more")
    errors.require(self.mixer in MIXERS, f"mixer = {self.mixer!r}; it must be one of {', '.join(MIXERS)}")
    errors.require(len(self.shape) == 3, f"an image flow takes images [H, W, C]; x has shape {list(self.shape)}")
    h, w, c = self.shape
    errors.require(
      h % 2**self.num_levels == 0 and w % 2**self.num_levels == 0,
      f"num_levels = {self.num_levels} halves height and width as often; {h} x {w} cannot be: choose fewer levels",
    )
    steps, splits, shapes = [], [], []
    for level in range(self.num_levels):
      h, w, c = h // 2, w // 2, 4 * c
      shapes.append((h, w, c))
      net = {"hidden": self.hidden, "shape": (h, w), "context": self.context}
      of_transform = {"transform": self.transform, "transform_args": self.transform_args}
      level_steps = []
      for k in range(self.num_steps):
        level_steps += [
          ActNorm(c, event_ndims=3),
          MIXERS[self.mixer](c, index=level * self.num_steps + k, event_ndims=3),
        ]
        level_steps.append(ImageCoupling(c, index=k, **net, **of_transform))
      steps.append(level_steps)
      if level < self.num_levels - 1:
        splits.append(ImageCoupling(c, size=c // 2, **net))
        c = c // 2
    self.steps, self.splits, self.shapes = steps, splits, shapes

  def _assembled(self, levels, context):
    chains = [distrax.Chain([*bijectors[::-1], Squeeze()]) for bijectors in levels]
    return MultiScale(chains, [split(context) for split in self.splits], self.shapes)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    """The bijector [H, W, C] -> [D]."""
    return self._assembled([[step(context) for step in steps] for steps in self.steps], context)

  def bijectors(self, context: jax.Array | None = None) -> list[tuple[str, distrax.Bijector]]:
    """[("MultiScale", the bijector)]."""
    return [("MultiScale", self(context))]

  def observe(self, x: jax.Array, context: jax.Array | None = None, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """(z, log |det dz/dx|) of x [B, H, W, C]; in `init` actnorm starts from it."""
    levels, a = [], x
    for i, steps in enumerate(self.steps):
      a, found = Squeeze().forward(a), []
      for step in steps:
        found.append(step.observe(a, train) if hasattr(step, "observe") else step(context))
        a = found[-1].forward(a)
      levels.append(found)
      if i < len(self.splits):
        a = a[..., : self.shapes[i][-1] // 2]
    return self._assembled(levels, context).forward_and_log_det(x)

"""Multi-scale flows of images: RealNVP and Glow (Dinh et al., 2017; Kingma & Dhariwal, 2018)."""

from collections.abc import Mapping
from typing import Any

import jax
from flax.core import FrozenDict

from dgm_jax.distributions.bijectors.multiscale import ImageFlow
from dgm_jax.models.flows.base import FlowModel


class Model(FlowModel):
  """log p(x) = log p(z) + log |det dz/dx|, where z = f(x), a multi-scale flow of images [H, W, C].

  Attributes, in addition to those of FlowModel:
    num_levels, num_steps, hidden, transform, transform_args, mixer, num_boards: of f, see ImageFlow in
      dgm_jax/distributions/bijectors/multiscale.py.
    base, base_args: p(z), see dgm_jax/models/flows/flow.py.
    num_classes: C; 0 for a model without classes.
    dtype: not used.
    remat: whether the backward pass computes the networks again, instead of storing their activations.
  """

  num_levels: int = 2
  num_steps: int = 4
  hidden: int = 64
  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  mixer: str = "lu"
  base: str = "normal"
  base_args: Mapping[str, Any] = FrozenDict()
  num_classes: int = 0
  dtype: str = "float32"
  num_boards: int = 0
  remat: bool = False

  norm = "act"
  num_examples_for_init = 200

  def setup(self):
    names = ("num_levels", "num_steps", "hidden", "transform", "transform_args", "mixer", "num_boards", "remat")
    options = {name: getattr(self, name) for name in names} | {"context": self.num_classes}
    self.flow = ImageFlow(self.event_shape, **options)
    self.p_z = self.make_base()

  @property
  def event_shape(self) -> tuple[int, ...]:
    """The shape of the x that the bijectors take, (H, W, C); images without an axis of colours have one colour."""
    return (*self.data_shape, 1) if len(self.data_shape) == 2 else tuple(self.data_shape)

  def _x(self, batch: dict[str, jax.Array]) -> jax.Array:
    return super()._x(batch).reshape(-1, *self.event_shape)

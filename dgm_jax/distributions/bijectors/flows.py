"""Flows of several layers: a bijector of vectors x [D], from a name and a few options."""

from collections.abc import Mapping
from typing import Any

import distrax
import jax
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors, options
from dgm_jax.distributions.bijectors import layers, norms, residual

LAYERS = {
  "coupling": layers.CouplingLayer,
  "autoregressive": layers.AutoregressiveLayer,
  "planar": layers.PlanarLayer,
  "radial": layers.RadialLayer,
  "sylvester": layers.SylvesterLayer,
  "residual": residual.ResidualLayer,
}
PERMUTATIONS = {
  "none": None,
  "random": layers.PermutationLayer,
  "lu": layers.LULayer,
  "householder": layers.HouseholderLayer,
}
NORMS = {"none": None, "batch": norms.BatchNorm, "act": norms.ActNorm}
WITHOUT_INVERSE = ("planar", "sylvester")
_OF_STACK = ("dim", "context", "index", "parent", "name")


class Flow(nn.Module):
  """T times (permutation, layer, norm).

  Attributes:
    dim: D.
    layer: a name of LAYERS.
    num_layers: T.
    layer_args: options of the layer, such as transform and hidden.
    permutation: before each layer: none, random, lu or householder.
    norm: after each layer: none, batch or act.
    context: C, the size of a context, 0 for none.
  """

  dim: int
  layer: str = "coupling"
  num_layers: int = 5
  layer_args: Mapping[str, Any] = FrozenDict()
  permutation: str = "none"
  norm: str = "none"
  context: int = 0

  def setup(self):
    for what, name, choices in (
      ("layer", self.layer, LAYERS),
      ("permutation", self.permutation, PERMUTATIONS),
      ("norm", self.norm, NORMS),
    ):
      errors.require(name in choices, f"{what} = {name!r} of a flow; it must be one of {', '.join(choices)}")
    errors.require(self.num_layers >= 1, f"num_layers = {self.num_layers} of a flow must be 1 or more")
    kinds = PERMUTATIONS[self.permutation], LAYERS[self.layer], NORMS[self.norm]
    self.parts = [self._part(kind, t) for t in range(self.num_layers) for kind in kinds if kind is not None]

  def _part(self, kind, t):
    if kind is not LAYERS[self.layer]:
      return kind(self.dim, index=t)
    what = f"flow {self.layer!r}"
    options.check(what, kind, self.layer_args, _OF_STACK)
    return kind(self.dim, context=self.context, index=t, **self.layer_args)

  def bijectors(self, context: jax.Array | None = None) -> list[tuple[str, distrax.Bijector]]:
    """[(name, bijector)] of the layers in the order in which `forward` applies them."""
    return [(f"{type(part).__name__} {i}", part(context)) for i, part in enumerate(self.parts)]

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    """The bijector, whose `forward` is the cheap direction."""
    return distrax.Chain([bijector for _, bijector in self.bijectors(context)][::-1])

  def observe(self, x: jax.Array, context: jax.Array | None = None, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """(y, log |det dy/dx|) of x [B, D], which layers with `observe` start from (in init) or normalise by (train)."""
    log_det = 0.0
    for part in self.parts:
      bijector = part.observe(x, train) if hasattr(part, "observe") else part(context)
      x, step = bijector.forward_and_log_det(x)
      log_det = log_det + step
    return x, log_det

  def normalised_parts(self) -> list[int]:
    """The numbers of the parts with running moments of their inputs."""
    return [i for i, part in enumerate(self.parts) if hasattr(part, "set_moments")]

  def inputs(self, x: jax.Array, part: int, context: jax.Array | None = None) -> jax.Array:
    """The input of the layer number `part` for x [B, D]."""
    for layer in self.parts[:part]:
      x = layer(context).forward(x)
    return x

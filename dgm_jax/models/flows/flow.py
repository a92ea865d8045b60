"""Normalising flows of vectors: RealNVP, MAF, neural spline flows and others (Papamakarios et al., 2021)."""

from collections.abc import Callable, Mapping
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import flows
from dgm_jax.models.base import require_one_of
from dgm_jax.models.flows.base import FlowModel

DIRECTIONS = ("density", "sampling")


class Model(FlowModel):
  """log p(x) = log p(z) + log |det dz/dx|, where z = f(x), a flow of several layers on the flattened x.

  Attributes, in addition to those of FlowModel:
    layer, num_layers, layer_args, permutation, norm: of f, see Flow in dgm_jax/distributions/bijectors/flows.py.
    base: p(z): normal, logistic, learned, mixture; or made, a MADE whose conditionals are mixtures of normals.
    base_args: its options.
    direction: which direction of a layer is its forward one, in a single pass: "density", from x to z, as in MAF; or
      "sampling", from z to x, as in IAF.
    num_classes: C; 0 for a model without classes.
    dtype: not used.
    context_dim: columns of a table that x is given, C; set by the data.
  """

  layer: str = "autoregressive"
  num_layers: int = 5
  layer_args: Mapping[str, Any] = FrozenDict()
  permutation: str = "none"
  norm: str = "none"
  base: str = "normal"
  base_args: Mapping[str, Any] = FrozenDict()
  direction: str = "density"
  num_classes: int = 0
  dtype: str = "float32"
  context_dim: int = 0

  def setup(self):
    require_one_of(DIRECTIONS, direction=self.direction)
    errors.require(
      self.layer not in flows.WITHOUT_INVERSE,
      f"layer = {self.layer!r} has no inverse, which log p and draws of data need: choose another one, or use it in "
      "posterior='flow' or the model energy_flow",
    )
    errors.require(
      self.direction == "density" or self.norm == "none",
      f"norm = {self.norm!r} is not supported with direction = 'sampling': leave it at 'none'",
    )
    options = {"layer_args": self.layer_args, "permutation": self.permutation, "norm": self.norm}
    self.flow = flows.Flow(self.dim, self.layer, self.num_layers, context=self.context_size, **options)
    self.p_z = self.make_base()

  @property
  def num_examples_for_init(self) -> int:
    """How many examples `init` gets; 0 for the default."""
    return 0 if flows.NORMS.get(self.norm) is None else 500

  def bijectors(self, context: jax.Array | None = None) -> list[tuple[str, distrax.Bijector]]:
    """[(name, bijector)] in the order in which they take x to z."""
    layers = super().bijectors(context)
    if self.direction == "density":
      return layers
    return [(name, distrax.Inverse(bijector)) for name, bijector in layers[::-1]]

  def _observed(self, batch, train):
    # against its cheap direction a flow has no norms, and nothing to observe
    return super()._observed(batch, train) if self.direction == "density" else self.log_prob(batch)

  def fit_statistics(self, variables: dict[str, Any], total: Callable) -> dict[str, Any]:
    """The variables with the moments of the whole training set in place of running ones, layer by layer.

    Args:
      variables: {"params": ..., ...}.
      total: (variables, function) -> the sum of function(bound model, batch) over the batches of the training set.
    """
    bare = self.clone()
    numbers = bare.apply(variables, method=lambda model: model.flow.normalised_parts())
    for part in numbers:
      inputs = lambda model, batch, part=part: model.flow.inputs(model._x(batch), part, model._context(batch))
      count, first = total(variables, lambda model, batch: (jnp.float32(len(batch["x"])), inputs(model, batch).sum(0)))
      mean = first / count
      centred = lambda model, batch, mean=mean: jnp.sum(jnp.square(inputs(model, batch) - mean), 0)
      var = total(variables, centred) / count
      change = lambda model, part=part, mean=mean, var=var: model.flow.parts[part].set_moments(mean, var)
      _, changed = bare.apply(variables, method=change, mutable=["batch_stats"])
      variables = variables | changed
    return variables

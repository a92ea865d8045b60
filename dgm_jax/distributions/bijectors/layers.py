"""Layers of flows: Flax modules that, called with a context [..., C] or None, give a bijector of x [..., D].

`forward` of the bijector is the direction that is cheap; distrax.Inverse turns it around.  Layers whose parameters or
statistics depend on their input have `observe(x, train)`, see dgm_jax/distributions/bijectors/norms.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from dgm_jax.core import errors
from dgm_jax.distributions.bijectors import linear, radial, sylvester, transforms
from dgm_jax.distributions.bijectors.autoregressive import Autoregressive
from dgm_jax.distributions.bijectors.coupling import Coupling
from dgm_jax.networks.conditioners import Conditioner
from dgm_jax.networks.functional import functional


class Layer(nn.Module):
  """A layer on vectors.

  Attributes:
    dim: D.
    context: C, the size of the context; 0 for none.
    index: its number, counted from 0, in a flow: couplings and orders alternate.
  """

  dim: int
  context: int = 0
  index: int = 0

  def with_context(self, net: nn.Module, x: jax.Array, context: jax.Array | None) -> Any:
    """x -> net(x, context), a pure function; x is an example."""
    if not self.context:
      return functional(net, x)
    errors.require(
      context is not None and context.shape[-1] == self.context,
      f"this flow takes a context of {self.context} entries; the context has "
      f"{0 if context is None else context.shape[-1]}",
    )
    apply = functional(net, jnp.zeros((*context.shape[:-1], *x.shape)), context)
    return lambda x: apply(x, context)


class CouplingLayer(Layer):
  """A coupling of two halves.

  Attributes, in addition to those of Layer:
    transform, transform_args: a name of transforms.TRANSFORMS and its options.
    hidden, activation, residual: of the network, see Conditioner.
  """

  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  hidden: Sequence[int] = (64, 64)
  activation: str = "relu"
  residual: bool = False

  def setup(self):
    errors.require(
      self.dim >= 2, "a coupling divides the entries of x in two; x has one entry only: choose another flow"
    )
    self.made = transforms.make(self.transform, **self.transform_args)
    options = {"hidden": self.hidden, "activation": self.activation, "residual": self.residual}
    swap = self.index % 2 == 1
    self.size = self.dim - self.dim // 2 if swap else self.dim // 2
    self.net = Conditioner(self.made.num_params, self.dim - self.size, context=self.context, **options)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    conditioner = self.with_context(self.net, jnp.zeros(self.size), context)
    return Coupling(conditioner, self.made, self.size, swap=self.index % 2 == 1)


class AutoregressiveLayer(Layer):
  """An autoregressive bijector, whose order is reversed in every other layer.

  Attributes, in addition to those of Layer:
    transform, transform_args, hidden, activation, residual: see CouplingLayer.
    inverse, tol: how the inverse is computed, see Autoregressive.
  """

  transform: str = "affine"
  transform_args: Mapping[str, Any] = FrozenDict()
  hidden: Sequence[int] = (64, 64)
  activation: str = "relu"
  residual: bool = False
  inverse: str = "jacobi"
  tol: float | None = None

  def setup(self):
    self.made = transforms.make(self.transform, **self.transform_args)
    options = {"hidden": self.hidden, "activation": self.activation, "residual": self.residual}
    order = {"autoregressive": True, "reverse": self.index % 2 == 1}
    self.net = Conditioner(self.made.num_params, self.dim, context=self.context, **options, **order)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    conditioner = self.with_context(self.net, jnp.zeros(self.dim), context)
    return Autoregressive(conditioner, self.made, self.net.places(), self.inverse, self.tol)


class LULayer(Layer):
  """A random permutation and an LU-decomposed matrix, the identity at first; see linear.LU.

  Attributes, in addition to those of Layer:
    seed: of the permutations of a flow; negative for none.
    event_ndims: 3 for the channels of images: an invertible 1 x 1 convolution.
  """

  seed: int = 0
  event_ndims: int = 1

  def setup(self):
    zeros, matrix = nn.initializers.zeros, (self.dim, self.dim)
    self.lower, self.upper = (self.param(name, zeros, matrix) for name in ("lower", "upper"))
    self.log_diagonal, self.bias = (self.param(name, zeros, (self.dim,)) for name in ("log_diagonal", "bias"))
    self.order = self.variable("degrees", "order", random_order, self.seed, self.index, self.dim)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    del context
    parts = self.lower, self.upper, self.log_diagonal, self.bias
    return linear.LU(*parts, self.order.value, self.event_ndims)


class PermutationLayer(Layer):
  """A random permutation of the entries, or of the channels of images.

  Attributes, in addition to those of Layer:
    seed: of the permutations of a flow.
    event_ndims: 1 or 3.
  """

  seed: int = 0
  event_ndims: int = 1

  def setup(self):
    self.order = self.variable("degrees", "order", random_order, self.seed, self.index, self.dim)

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    del context
    return linear.Permutation(self.order.value, self.event_ndims)


class ReverseLayer(Layer):
  """The entries, or the channels of images, in the opposite order.

  Attributes, in addition to those of Layer:
    event_ndims: 1 or 3.
  """

  event_ndims: int = 1

  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    del context
    return linear.Reverse(self.event_ndims)


class HouseholderLayer(Layer):
  """An orthogonal matrix, the product of reflections.

  Attributes, in addition to those of Layer:
    num_reflections: M; None for D.
    event_ndims: 1 or 3.
  """

  num_reflections: int | None = None
  event_ndims: int = 1

  @nn.compact
  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    del context
    count = self.dim if self.num_reflections is None else self.num_reflections
    errors.require(count >= 1, f"num_reflections = {count}; it must be 1 or more")
    return linear.Householder(self.param("vectors", nn.initializers.normal(1.0), (count, self.dim)), self.event_ndims)


class OfContext(Layer):
  """A layer whose parameters are arrays, plus a linear function of the context where there is one.

  A subclass adds `shapes`, {name: shape}, and `bijector(**arrays)`.
  """

  @nn.compact
  def __call__(self, context: jax.Array | None = None) -> distrax.Bijector:
    arrays = {}
    for name, shape in self.shapes().items():
      value = self.param(name, nn.initializers.normal(0.1), shape)
      if self.context:
        kernel = self.param(f"{name}_context", nn.initializers.normal(0.01), (self.context, *shape))
        value = value + jnp.tensordot(context, kernel, 1)
      arrays[name] = value
    return self.bijector(**arrays)


class PlanarLayer(OfContext):
  """x + v tanh(w'x + b); it has no inverse in closed form."""

  def shapes(self) -> dict[str, tuple[int, ...]]:
    return {"w": (self.dim,), "u": (self.dim,), "b": ()}

  def bijector(self, **arrays: jax.Array) -> distrax.Bijector:
    return sylvester.Planar(**arrays)


class RadialLayer(OfContext):
  """A contraction or an expansion around a centre."""

  def shapes(self) -> dict[str, tuple[int, ...]]:
    return {"centre": (self.dim,), "log_alpha": (), "b": ()}

  def bijector(self, **arrays: jax.Array) -> distrax.Bijector:
    return radial.Radial(**arrays)


class SylvesterLayer(OfContext):
  """x + Q R tanh(S Q'x + b), which has no inverse in closed form.

  Attributes, in addition to those of Layer:
    columns: M, of Q; at most D.
    num_reflections: K, whose product Q is part of.
  """

  columns: int = 8
  num_reflections: int = 8

  def shapes(self) -> dict[str, tuple[int, ...]]:
    for name in ("columns", "num_reflections"):
      errors.require(getattr(self, name) >= 1, f"{name} = {getattr(self, name)} of a Sylvester flow must be 1 or more")
    m = min(self.columns, self.dim)
    return {"vectors": (self.num_reflections, self.dim), "r": (m, m), "s": (m, m), "b": (m,)}

  def bijector(self, **arrays: jax.Array) -> distrax.Bijector:
    return sylvester.Sylvester(**arrays)


def random_order(seed: int, index: int, dim: int) -> jax.Array:
  """A permutation of 0 .. D - 1, a function of (seed, index), [D]; the identity if the seed is negative."""
  if seed < 0:
    return jnp.arange(dim)
  return jax.random.permutation(jax.random.fold_in(jax.random.key(seed), index), dim)

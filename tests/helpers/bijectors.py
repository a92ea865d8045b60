"""The table of bijectors that the laws of tests/distributions/bijectors run over: a new bijector is one row."""

from collections.abc import Callable
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.distributions.bijectors import elementwise, flows, layers, linear, masks, norms, residual, scaling, squeeze
from dgm_jax.distributions.bijectors import transforms as transforms_of
from dgm_jax.distributions.bijectors.coupling import MaskedCoupling

DIM, CONTEXT = 4, 2
IMAGE = (2, 4, 2)


class Row(NamedTuple):
  """A bijector of the table.

  Attributes:
    make: (parameters) -> bijector, with parameters from `shapes`.
    parameters: key -> parameters, standard normals.
    domain: x on the whole line -> x in the domain.
    shape: of an event.
    inverse: whether it has one.
  """

  make: Callable
  parameters: Callable
  domain: Callable = lambda x: x
  shape: tuple[int, ...] = (DIM,)
  inverse: bool = True


def normals(key, tree):
  """Standard normals in place of all leaves of a tree."""
  leaves, treedef = jax.tree.flatten(tree)
  keys = jax.random.split(key, len(leaves)) if leaves else []
  return jax.tree.unflatten(
    treedef, [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
  )


def of_layer(layer, scale=1.0, inverse=True):
  """A row of a Flax layer, with N(0, scale^2) for its parameters."""

  def initial(context):
    return jax.tree.map(lambda a: a, layer.init(jax.random.key(0), context))

  def parameters(key):
    context = jnp.asarray(np.linspace(-1, 1, CONTEXT)) if layer.context else None
    variables = initial(context)
    params = jax.tree.map(lambda a: scale * a, normals(key, variables.get("params", {})))
    return {**variables, "params": params}

  def make(variables):
    context = jnp.asarray(np.linspace(-1, 1, CONTEXT)) if layer.context else None
    return layer.apply(variables, context)

  return Row(make, parameters, inverse=inverse)


def fixed(bijector, domain=lambda x: x, shape=(DIM,)):
  """A row of a bijector without parameters."""
  return Row(lambda _: bijector, lambda key: {}, domain, shape)


def of_shapes(make, shapes, shape=(DIM,)):
  """A row of make(**arrays) with standard normals of these shapes."""
  return Row(
    lambda arrays: make(**arrays), lambda key: normals(key, {n: jnp.zeros(s) for n, s in shapes.items()}), shape=shape
  )


def _checkerboard(kernel):
  """An affine coupling of images whose parameters are a linear function of the kept pixels."""
  transform, mask = transforms_of.make("affine"), masks.checkerboard(IMAGE)

  def conditioner(x):
    h = jnp.tensordot(x, kernel, 3)  # [..., H, W, 2, C]
    return h / 4

  return MaskedCoupling(conditioner, transform, mask)


NET = {"hidden": (6, 6), "activation": "tanh"}
_UNIT = lambda x: jax.nn.sigmoid(x)
LAYERS = {
  "nice": layers.CouplingLayer(DIM, transform="additive", **NET),
  "coupling affine": layers.CouplingLayer(DIM, CONTEXT, 1, **NET),
  "coupling spline": layers.CouplingLayer(DIM, transform="spline", transform_args={"num_bins": 3}, **NET),
  "coupling mixture": layers.CouplingLayer(
    DIM, 0, 1, transform="logistic_mixture", transform_args={"num_components": 2}, **NET
  ),
  "autoregressive affine": layers.AutoregressiveLayer(DIM, CONTEXT, 1, **NET),
  "autoregressive sequential": layers.AutoregressiveLayer(DIM, inverse="sequential", **NET),
  "autoregressive spline": layers.AutoregressiveLayer(
    DIM, transform="spline", transform_args={"num_bins": 3}, hidden=(6, 6, 6), residual=True
  ),
  "lu": layers.LULayer(DIM),
  "householder": layers.HouseholderLayer(DIM),
  "permutation": layers.PermutationLayer(DIM),
  "actnorm": norms.ActNorm(DIM),
  "batch norm": norms.BatchNorm(DIM),
  "radial": layers.RadialLayer(DIM, CONTEXT),
  "residual": residual.ResidualLayer(DIM, hidden=(6,), power_steps=20),
}
BIJECTORS = {name: of_layer(layer) for name, layer in LAYERS.items()} | {
  "planar": of_layer(layers.PlanarLayer(DIM, CONTEXT), inverse=False),
  "sylvester": of_layer(layers.SylvesterLayer(DIM, columns=2, num_reflections=2), inverse=False),
  "sigmoid": fixed(elementwise.Sigmoid()),
  "logit": fixed(elementwise.Logit(), _UNIT),
  "logit of levels": fixed(elementwise.Logit(1e-6), _UNIT),
  "softplus": fixed(elementwise.Softplus()),
  "tanh": fixed(elementwise.Tanh()),
  "affine": of_shapes(scaling.Scaling, {"loc": (DIM,), "log_scale": (DIM,), "bias": (DIM,)}),
  "convolution": of_shapes(
    lambda **a: linear.LU(**a, order=jnp.array([1, 0]), event_ndims=3),
    {"lower": (2, 2), "upper": (2, 2), "log_diagonal": (2,), "bias": (2,)},
    IMAGE,
  ),
  "checkerboard": of_shapes(_checkerboard, {"kernel": (*IMAGE, 2, 4, 2, 2)}, IMAGE),
  "squeeze": fixed(distrax.Chain([squeeze.Flatten((1, 2, 8)), squeeze.Squeeze()]), shape=IMAGE),
  "reverse": fixed(linear.Reverse()),
}
WITHOUT_INVERSE = flows.WITHOUT_INVERSE

"""Networks of vectors for two players: perceptrons with batch or spectral normalisation, and maxout with dropout."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options
from dgm_jax.networks.batch_norms import BatchNorm
from dgm_jax.networks.spectral import SpectralDense

ACTIVATIONS = {"relu": nn.relu, "leaky_relu": lambda x: nn.leaky_relu(x, 0.2), "tanh": nn.tanh}
NORMS = ("none", "batch", "spectral")
INITS = ("glorot", "normal", "uniform")


def symmetric_uniform(scale: float) -> Callable:
  """An initialiser: uniform in [-scale, scale]."""
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -scale, scale)


class Perceptron(nn.Module):
  """Dense layers, the last of them linear: [B, I] -> [B, out].

  A hidden layer is the linear map, the maximum over its pieces, batch normalisation, then the activation.  Dropout is
  active where there is an RNG stream "dropout".

  Attributes:
    out: width of the output.
    hidden: widths of the hidden layers.
    activation: a name of ACTIVATIONS; not used with pieces > 1.
    pieces: linear pieces of a maxout unit (Goodfellow et al., 2013); 1 for none.
    norm: "none", "batch" (of the hidden layers, by the moments of the batch in training and by moving moments
      otherwise) or "spectral" (of all layers).
    affine: whether batch normalisation has gains and biases.
    dropout_input, dropout: probability that an input unit of the first layer, and of the others, is dropped.
    initial, initial_scale: the first kernels: "glorot", "normal" (standard deviation initial_scale) or "uniform" (its
      half width).
    output_bias: initialiser of the last bias.
  """

  out: int
  hidden: Sequence[int] = (128, 128)
  activation: str = "relu"
  pieces: int = 1
  norm: str = "none"
  affine: bool = True
  dropout_input: float = 0.0
  dropout: float = 0.0
  initial: str = "glorot"
  initial_scale: float = 0.02
  output_bias: Callable = nn.initializers.zeros

  def setup(self):
    check(self)
    wide = [width * self.pieces for width in self.hidden]
    kinds = {"glorot": nn.initializers.glorot_uniform(), "normal": nn.initializers.normal(self.initial_scale)}
    kernel_init = (kinds | {"uniform": symmetric_uniform(self.initial_scale)})[self.initial]
    layer = SpectralDense if self.norm == "spectral" else nn.Dense
    batch = self.norm == "batch"  # a bias before it would have no effect
    self.layers = [layer(width, use_bias=not batch, kernel_init=kernel_init) for width in wide]
    self.last = layer(self.out, kernel_init=kernel_init, bias_init=self.output_bias)
    affine = {"use_scale": self.affine, "use_bias": self.affine}
    self.norms = [BatchNorm(**affine) for _ in self.hidden] if batch else []
    self.drop_input, self.drop = nn.Dropout(self.dropout_input), nn.Dropout(self.dropout)

  def features(self, x: jax.Array, train: bool) -> jax.Array:
    """The last hidden layer, [B, H]."""
    off = not self.has_rng("dropout")
    for i, layer in enumerate(self.layers):
      x = layer((self.drop if i else self.drop_input)(x, deterministic=off))
      if self.pieces > 1:
        x = x.reshape(*x.shape[:-1], -1, self.pieces).max(-1)
      if self.norms:
        x = self.norms[i](x, train)
      x = x if self.pieces > 1 else ACTIVATIONS[self.activation](x)
    return x

  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    off = not self.has_rng("dropout")
    h = self.features(x, train)
    return self.last((self.drop if self.hidden else self.drop_input)(h, deterministic=off))


def check(net: Perceptron) -> None:
  """Raises UserError if an option is invalid."""
  for name, value, choices in (
    ("activation", net.activation, ACTIVATIONS),
    ("norm", net.norm, NORMS),
    ("initial", net.initial, INITS),
  ):
    errors.require(value in choices, f"{name} = {value!r}; it must be one of {', '.join(choices)}")
  errors.require(min(net.hidden, default=1) >= 1, f"hidden = {tuple(net.hidden)}; every width must be 1 or more")
  errors.require(net.pieces >= 1, f"pieces = {net.pieces}; it must be 1 or more")
  for name in ("dropout_input", "dropout"):
    errors.require(0 <= getattr(net, name) < 1, f"{name} = {getattr(net, name)}; it must be in [0, 1)")
  errors.require(net.initial_scale > 0, f"initial_scale = {net.initial_scale}; it must be positive")


def maxout(out: int, pieces: int = 5, **args: Any) -> Perceptron:
  """A Perceptron of maxout units."""
  return Perceptron(out, pieces=pieces, **args)


NETS: dict[str, Callable] = {"mlp": Perceptron, "maxout": maxout}


def make(player: str, net: str, out: int, args: Mapping[str, Any], **given: Any) -> Perceptron:
  """The network `net` of a player.

  Args:
    player: for messages.
    net: a name of NETS.
    out: width of its output.
    args: options of the user, see Perceptron.
    **given: further attributes.

  Raises:
    UserError: an unknown name or option, or an invalid value.
  """
  errors.require(net in NETS, f"{player}_net = {net!r}; it must be one of {', '.join(NETS)}")
  kept = ("out", "output_bias", "parent", "name")
  options.check(f"{player}_net {net!r}", Perceptron, args, kept)
  return NETS[net](out, **args, **given)

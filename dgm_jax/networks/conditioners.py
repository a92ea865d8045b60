"""Networks that give the parameters of the transforms of a flow, from the entries that these may depend on."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks import masked

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh, "elu": nn.elu, "softplus": nn.softplus}


def check(activation: str) -> None:
  """Raises UserError unless the activation is one of ACTIVATIONS."""
  errors.require(activation in ACTIVATIONS, f"activation = {activation!r}; it must be one of {', '.join(ACTIVATIONS)}")


class Conditioner(nn.Module):
  """x [..., S] (and c [..., C]) -> h [..., P, D] by a multilayer perceptron, whose context enters the first layer.

  With `autoregressive` it is masked (Germain et al., 2015): S = D, and h_d depends on the entries before d in the order
  that `places` gives.  At first h = 0: every flow starts as the identity.

  Attributes:
    num_outputs: P.
    dim: D.
    hidden: widths of the hidden layers.
    activation: a name of ACTIVATIONS.
    context: C; 0 for none.
    autoregressive: whether the network is masked.
    reverse: of a masked network: whether the last entry comes first.
    residual: whether pairs of layers, of equal widths, are blocks a + W f(W f(a)) (Nash & Durkan, 2019).
  """

  num_outputs: int
  dim: int
  hidden: Sequence[int] = (64, 64)
  activation: str = "relu"
  context: int = 0
  autoregressive: bool = False
  reverse: bool = False
  residual: bool = False

  def places(self) -> jax.Array:
    """The place of each entry in the order of a masked network, 1 .. D, [D]."""
    entries = 1 + jnp.arange(self.dim)
    return entries[::-1] if self.reverse else entries

  def _masks(self):
    """The masks of all layers; of ones that see everything None."""
    if not self.autoregressive:
      return [None] * (len(self.hidden) + 1)
    degrees = [self.places(), *(masked.even_degrees(width, self.dim) for width in self.hidden)]
    up_to = [masked.up_to(a, b) for a, b in itertools.pairwise(degrees)]
    return [*up_to, masked.before(degrees[-1], self.places())]

  def _check(self):
    check(self.activation)
    errors.require(min(self.hidden, default=1) >= 1, f"hidden = {tuple(self.hidden)}; every width must be 1 or more")
    errors.require(
      not self.residual or (len(self.hidden) % 2 == 1 and len(set(self.hidden)) == 1),
      f"hidden = {tuple(self.hidden)}; residual blocks take an odd number of equal widths: one layer, and two a block",
    )

  @nn.compact
  def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
    self._check()
    activate, glorot, zeros = ACTIVATIONS[self.activation], nn.initializers.glorot_uniform(), nn.initializers.zeros
    masks, a, skipped = self._masks(), x, None
    for i, width in enumerate(self.hidden):
      kernel = self.param(f"kernel_{i}", glorot, (a.shape[-1], width))
      kernel = kernel if masks[i] is None else kernel * masks[i]
      a = (activate(a) if self.residual and i else a) @ kernel + self.param(f"bias_{i}", zeros, (width,))
      if i == 0 and self.context:
        a = a + context @ self.param("context", glorot, (self.context, width))
      if not self.residual:
        a = activate(a)
      elif i and i % 2 == 0:
        a = a + skipped
      if self.residual and i % 2 == 0:
        skipped = a
    a = activate(a) if self.residual else a
    kernel = self.param("out", zeros, (a.shape[-1], self.num_outputs * self.dim))
    h = a @ (kernel if masks[-1] is None else kernel * jnp.tile(masks[-1], (1, self.num_outputs)))
    h = h + self.param("out_bias", zeros, (self.num_outputs * self.dim,))
    if self.context:
      h = h + context @ self.param("out_context", zeros, (self.context, self.num_outputs * self.dim))
    return h.reshape(*h.shape[:-1], self.num_outputs, self.dim)

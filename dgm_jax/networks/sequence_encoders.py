"""Encoders of sequences of tokens: recurrent in one direction or two, and convolutional."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, options, platforms
from dgm_jax.networks import convolutions
from dgm_jax.networks.attention import linear
from dgm_jax.networks.batch_norms import BatchNorm
from dgm_jax.networks.recurrent import Recurrent
from dgm_jax.networks.tokens import rows

KERAS = (0.99, 1e-3)  # momentum and epsilon of batch normalisation there


def reversed_within(x: jax.Array, length: jax.Array | None) -> jax.Array:
  """x [B, T] with the first `length` [B] entries of each row in reverse order; what follows stays."""
  if length is None:
    return x[:, ::-1]
  t = jnp.arange(x.shape[1])
  return jnp.take_along_axis(x, jnp.where(t < length[:, None], length[:, None] - 1 - t, t), 1)


class RecurrentEncoder(nn.Module):
  """The last state h of the last layer, after the last token: [B, H]; [B, 2 H] in two directions.

  Attributes:
    hidden: widths of the layers.
    cell: "lstm" or "gru".
    bidirectional: whether a second network reads the tokens from the last to the first.
    dtype: of the products; None for float32.
  """

  hidden: Sequence[int] = (256,)
  cell: str = "lstm"
  bidirectional: bool = False
  dtype: Any = None

  def setup(self):
    errors.require(min(self.hidden, default=0) >= 1, f"hidden = {tuple(self.hidden)}; an encoder needs layers")
    self.forward = Recurrent(self.hidden, self.cell, dtype=self.dtype)
    if self.bidirectional:
      self.backward = Recurrent(self.hidden, self.cell, dtype=self.dtype)

  def __call__(self, vectors: Callable, x: jax.Array, length: jax.Array | None, train: bool = False) -> jax.Array:
    """[B, H] or [B, 2 H] of ids x [B, T], of which the first `length` [B] of each row count; ids -> vectors."""
    del train
    mask = None if length is None else jnp.arange(x.shape[1]) < length[:, None]
    found = [self.forward(vectors(x), mask=mask)[1][-1][0]]
    if self.bidirectional:
      found.append(self.backward(vectors(reversed_within(x, length)), mask=mask)[1][-1][0])
    return jnp.concatenate(found, -1)


class ConvEncoder(nn.Module):
  """Convolutions over the positions, without padding, then a dense layer (Kusner et al., 2017).

  Attributes:
    filters, kernels: channels and widths of the layers.
    hidden: width of the dense layer.
    batch_norm: whether each convolution is followed by batch normalisation, behind the ReLU.
    dtype: of the products; None for float32.
  """

  filters: Sequence[int] = (64, 64)
  kernels: Sequence[int] = (5, 5)
  hidden: int = 256
  batch_norm: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(self, vectors: Callable, x: jax.Array, length: jax.Array | None, train: bool = False) -> jax.Array:
    """[B, hidden] of ids x [B, T]; the vectors of those behind `length` [B] count as 0.

    With `train`, batch normalisation takes the moments of the batch.
    """
    errors.require(
      len(self.filters) == len(self.kernels) >= 1 and min(*self.filters, *self.kernels, self.hidden) >= 1,
      f"filters = {tuple(self.filters)} and kernels = {tuple(self.kernels)} must be equally long lists of 1 or more",
    )
    errors.require(
      sum(self.kernels) - len(self.kernels) < x.shape[1],
      f"kernels = {tuple(self.kernels)} do not fit sequences of {x.shape[1]} tokens",
    )
    dtype, x = self.dtype or jnp.float32, vectors(x)
    if length is not None:
      x = jnp.where((jnp.arange(x.shape[1]) < length[:, None])[..., None], x, 0.0)
    x = x[:, :, None].astype(dtype)  # [B, T, 1, E]
    convolve = convolutions.conv_by_matmul if platforms.is_cpu() else convolutions.conv_by_lax
    for i, (features, width) in enumerate(zip(self.filters, self.kernels, strict=True)):
      init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
      kernel = self.param(f"kernel_{i}", init, (width, 1, x.shape[-1], features))
      bias = self.param(f"bias_{i}", nn.initializers.zeros, (features,))
      x = convolve(x, kernel.astype(dtype), 1, 0)
      x = nn.relu(convolutions.add_bias(x.astype(jnp.float32), bias))
      if self.batch_norm:
        x = BatchNorm(*KERAS, name=f"norm_{i}")(x, train)
      x = x.astype(dtype)
    flat = x.reshape(x.shape[0], -1)
    return nn.relu(linear(self.hidden, self.dtype, True, flat.shape[-1] ** -0.5)(flat).astype(jnp.float32))


ENCODERS = {
  "lstm": (RecurrentEncoder, {"cell": "lstm"}),
  "gru": (RecurrentEncoder, {"cell": "gru"}),
  "bidirectional": (RecurrentEncoder, {"bidirectional": True}),
  "conv": (ConvEncoder, {}),
}


def make(name: str, dtype: Any, **given: Any) -> nn.Module:
  """The encoder `name` of ENCODERS.  Raises UserError for an unknown name or option."""
  errors.require(name in ENCODERS, f"encoder = {name!r}; it must be one of {', '.join(ENCODERS)}")
  module, fixed = ENCODERS[name]
  both = sorted(set(fixed) & set(given))
  errors.require(not both, f"encoder {name!r} takes no {', '.join(both)} in encoder_args: its name says it")
  return options.call(f"encoder {name!r}", module, **fixed, **given, dtype=dtype)


class SequenceEncoder(nn.Module):
  """Vectors of tokens, an encoder of ENCODERS, and a linear map to `num_outputs`.

  Attributes:
    num_tokens: V.
    embedding_dim: E.
    num_outputs: width of the output.
    net, net_args: a name of ENCODERS, and its options.
    dtype: of the products; None for float32.
  """

  num_tokens: int
  embedding_dim: int
  num_outputs: int
  net: str
  net_args: Mapping[str, Any]
  dtype: Any = None

  def setup(self):
    self.embedding = self.param("embedding", nn.initializers.normal(0.1), (self.num_tokens, self.embedding_dim))
    self.network = make(self.net, self.dtype, **self.net_args)
    self.out = linear(self.num_outputs, self.dtype, True)

  def __call__(self, x: jax.Array, length: jax.Array | None, train: bool = False) -> jax.Array:
    """float32 [B, num_outputs] of token ids x [B, T], of which the first `length` [B] of each row count."""
    vectors = lambda x: rows(self.embedding, x)
    return self.out(self.network(vectors, x, length, train)).astype(jnp.float32)

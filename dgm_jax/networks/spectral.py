"""Layers whose linear map has norm one (Miyato et al., 2018): the kernel divided by its largest singular value.

The left singular vector u is kept in the collection "spectral" and moves by one power iteration wherever that
collection is mutable; elsewhere it stays.  So whoever trains decides when it moves: once for each update of the
parameters, not once for each pass.  A kernel of a convolution is taken as a matrix of [k k I, O], as in the paper: its
norm is not that of the convolution, see norms.py.  u, sigma and the quotient are float32 in any precision.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks import norms
from dgm_jax.networks.convolutions import Conv

_SMALLEST = 1e-12  # of a norm by which is divided: a kernel of zeros stays one


def normalised(layer: nn.Module, kernel: jax.Array) -> jax.Array:
  """kernel / sigma, [..., O], with u and sigma among the variables of a layer that is being called."""
  matrix = kernel.reshape(-1, kernel.shape[-1])
  start = lambda: jax.random.normal(layer.make_rng("params"), matrix.shape[1:])
  u = layer.variable("spectral", "u", start)
  sigma = layer.variable("spectral", "sigma", lambda: jnp.zeros(()))
  if layer.is_mutable_collection("spectral"):  # also in init
    sigma.value, u.value = jax.lax.stop_gradient(norms.of_matrix(matrix, u.value))
  found = norms.at(lambda x: x @ matrix, lambda y: matrix @ y, u.value)
  return kernel / jnp.maximum(found, _SMALLEST)


class SpectralDense(nn.Module):
  """x W / sigma(W) + b, where sigma is the spectral norm, by power iteration.

  Attributes:
    features: width of the output.
    use_bias: whether there is b.
    kernel_init, bias_init: initialisers.
    dtype: dtype of the product; None for float32.  The output is float32.
  """

  features: int
  use_bias: bool = True
  kernel_init: Callable = nn.initializers.glorot_uniform()
  bias_init: Callable = nn.initializers.zeros
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = normalised(self, self.param("kernel", self.kernel_init, (x.shape[-1], self.features)))
    y = x @ kernel if self.dtype is None else (x.astype(self.dtype) @ kernel.astype(self.dtype)).astype(jnp.float32)
    return y + self.param("bias", self.bias_init, (self.features,)) if self.use_bias else y


class SpectralConv(Conv):
  """A convolution with kernel / sigma, see convolutions.Conv."""

  def _normalised(self, kernel):
    return normalised(self, kernel)


class Embed(nn.Module):
  """Rows y of a table, [B] -> [B, features]; or sums of rows with the weights y, [B, num_embeddings] -> [B, features].

  Attributes:
    num_embeddings: number of rows.
    features: length of a row.
    embedding_init: initialiser.
  """

  num_embeddings: int
  features: int
  embedding_init: Callable = nn.initializers.normal(1.0)

  @nn.compact
  def __call__(self, y: jax.Array) -> jax.Array:
    table = self._normalised(self.param("embedding", self.embedding_init, (self.num_embeddings, self.features)))
    return jnp.take(table, y, axis=0) if jnp.issubdtype(y.dtype, jnp.integer) else y @ table

  def _normalised(self, table: jax.Array) -> jax.Array:
    return table


class SpectralEmbed(Embed):
  """The same of the table / sigma."""

  def _normalised(self, table):
    return normalised(self, table)

"""Layers whose linear map has norm one (Miyato et al., 2018): the kernel divided by its largest singular value.

The left singular vector u is kept in the collection "spectral" and moves by one power iteration wherever that
collection is mutable; elsewhere it stays.  So whoever trains decides when it moves: once for each update of the
parameters, not once for each pass.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks import norms

_SMALLEST = 1e-12  # of a norm by which is divided: a kernel of zeros stays one


class SpectralDense(nn.Module):
  """x W / sigma(W) + b, where sigma is the spectral norm, by power iteration.

  Attributes:
    features: width of the output.
    use_bias: whether there is b.
    kernel_init, bias_init: initialisers.
  """

  features: int
  use_bias: bool = True
  kernel_init: Callable = nn.initializers.glorot_uniform()
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
    u = self.variable("spectral", "u", lambda: jax.random.normal(self.make_rng("params"), (self.features,)))
    sigma = self.variable("spectral", "sigma", lambda: jnp.zeros(()))
    if self.is_mutable_collection("spectral"):  # also in init
      sigma.value, u.value = jax.lax.stop_gradient(norms.of_matrix(kernel, u.value))
    y = x @ (kernel / jnp.maximum(norms.at(lambda x: x @ kernel, lambda y: kernel @ y, u.value), _SMALLEST))
    return y + self.param("bias", self.bias_init, (self.features,)) if self.use_bias else y

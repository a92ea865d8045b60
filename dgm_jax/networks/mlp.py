"""Multilayer perceptrons, and the options of precision and memory that all networks of a model share.

Parameters and the outputs of networks are float32: distributions, log-probabilities and log-weights are exact, to
float32, for the function that the networks compute in their precision.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.remat import remat, segments

DTYPES = ("float32", "bfloat16")


class Dense(nn.Module):
  """x W + b with the product in `dtype`; W and b are float32, and so are the sums of b's gradient.

  A sum over thousands of rows in bfloat16, which has 8 significant bits, would lose most of them.

  Attributes:
    features: width of the output.
    dtype: dtype of the product.
    output_dtype: dtype of the output.
    kernel_init, bias_init: initialisers.
    use_bias: whether there is a b.
  """

  features: int
  dtype: Any
  output_dtype: Any
  kernel_init: Callable = nn.initializers.glorot_uniform()
  bias_init: Callable = nn.initializers.zeros
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
    bias = self.param("bias", self.bias_init, (self.features,)) if self.use_bias else 0.0
    flat = x.reshape(-1, x.shape[-1])  # XLA:CPU accumulates products over several axes in bfloat16
    y = jnp.matmul(flat.astype(self.dtype), kernel.astype(self.dtype)).reshape(*x.shape[:-1], -1)
    return (y.astype(jnp.float32) + bias).astype(self.output_dtype)


class MLP(nn.Module):
  """Dense layers with an activation between them; the last is linear.

  Attributes:
    features: widths of the hidden layers and of the output.
    activation: applied after every hidden layer.
    output_bias: initialiser of the last layer's bias; None for bias_init.
    kernel_init, bias_init: initialisers.
    dtype: dtype of products and activations (parameters and output are float32); None: that of input and parameters.
    remat: whether activations are recomputed in the backward pass, see `remat` in dgm_jax/networks/remat.py.
    dropout: probability that an input unit of a layer (the first layer, too) is dropped for an example, if there is an
      RNG stream "dropout"; the other units are divided by 1 - dropout (Srivastava et al., 2014).
  """

  features: Sequence[int]
  activation: Callable = nn.tanh
  output_bias: Callable | None = None
  kernel_init: Callable = nn.initializers.glorot_uniform()
  bias_init: Callable = nn.initializers.zeros
  dtype: Any = None
  remat: bool = False
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    last = len(self.features) - 1

    def dense(i):
      bias_init = (self.output_bias if i == last else None) or self.bias_init
      inits = {"kernel_init": self.kernel_init, "bias_init": bias_init}
      if self.dtype is None:
        return nn.Dense(self.features[i], **inits)
      return Dense(self.features[i], self.dtype, jnp.float32 if i == last else self.dtype, **inits)

    def drop(x):
      return nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(x) if self.dropout else x

    def some(layers, x):
      for layer in layers:
        x = self.activation(layer(drop(x)))
      return x

    for group in segments(last) if self.remat else [range(last)]:
      x = remat(self.remat, some, [dense(i) for i in group], x)
    return dense(last)(drop(x))


class Networks(nn.Module, kw_only=True):
  """Base class of the models that are made of networks.

  The parts of a distribution stay float32: flows of priors and posteriors, codebooks, a table of means by class.

  Attributes:
    dtype: a name of DTYPES, for the products and activations inside the networks.
    remat: whether these are recomputed in the backward pass instead of being stored (Chen et al., 2016).
  """

  dtype: str = "float32"
  remat: bool = False

  @property
  def compute(self) -> dict[str, Any]:
    """dtype and remat as attributes of a network, with None for float32.  Raises UserError for an unknown dtype."""
    errors.require(self.dtype in DTYPES, f"dtype = {self.dtype!r}; it must be one of {', '.join(DTYPES)}")
    return {"dtype": None if self.dtype == "float32" else jnp.dtype(self.dtype), "remat": self.remat}

  @nn.nowrap
  def mlp(self, *args: Any, **kwargs: Any) -> MLP:
    """An MLP with this dtype and remat."""
    return MLP(*args, **kwargs, **self.compute)

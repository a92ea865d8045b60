"""Network bricks shared by the models."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn


class MLP(nn.Module):
  """Dense layers with an activation between them; the last is linear.  Glorot initialisation.

  Attributes:
    features: widths of the hidden layers and of the output.
    activation: what follows every hidden layer.
    output_bias: initialiser of the last layer's bias.
  """

  features: Sequence[int]
  activation: Callable = nn.tanh
  output_bias: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    dense = lambda width, **kwargs: nn.Dense(width, kernel_init=nn.initializers.glorot_uniform(), **kwargs)
    for width in self.features[:-1]:
      x = self.activation(dense(width)(x))
    return dense(self.features[-1], bias_init=self.output_bias)(x)


def bias_at_logit(mean: Sequence[float] | None, floor: float = 1e-3) -> Callable:
  """Initialiser of a Bernoulli decoder's output bias: logit of the data's mean, kept `floor` away from 0 and 1."""
  if mean is None:
    return nn.initializers.zeros

  def init(key, shape, dtype=jnp.float32):
    del key
    return jax.scipy.special.logit(jnp.clip(jnp.asarray(mean, dtype), floor, 1 - floor)).reshape(shape)

  return init

"""Dense layers with batch normalisation, ReLU and dropout, whose input at every layer includes covariates.

As in scVI (Lopez et al., 2018) and its implementations.  In training, moments are those of the batch; a call whose
collection `averages` is mutable also updates the running averages, which evaluation uses, by PyTorch's rule:
average <- (1 - momentum) average + momentum moment, with the variance divided by B - 1.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

MOMENTUM, EPSILON = 0.01, 1e-3


class BatchNorm(nn.Module):
  """scale (h - mean) / sqrt(variance + epsilon) + shift for each unit (Ioffe & Szegedy, 2015).

  Attributes:
    width: number of units.
  """

  width: int

  def weights(self) -> jax.Array:
    """scale / sqrt(variance + epsilon) of the running averages, by which evaluation multiplies h, [width]."""
    scale, variance = self.variables["params"]["scale"], self.variables["averages"]["variance"]
    return scale * jax.lax.rsqrt(variance + EPSILON)

  @nn.compact
  def __call__(self, h: jax.Array, by_batch: bool) -> jax.Array:
    """h [B, width]; with `by_batch`, moments are those of h."""
    scale = self.param("scale", nn.initializers.ones, (self.width,))
    shift = self.param("shift", nn.initializers.zeros, (self.width,))
    mean = self.variable("averages", "mean", jnp.zeros, (self.width,))
    variance = self.variable("averages", "variance", jnp.ones, (self.width,))
    if not by_batch:
      return (h - mean.value) * (scale * jax.lax.rsqrt(variance.value + EPSILON)) + shift
    centre = jnp.mean(h, 0)
    spread = jnp.mean(jnp.square(h - centre), 0)
    if self.is_mutable_collection("averages") and not self.is_initializing():
      n = h.shape[0]
      mean.value += MOMENTUM * (centre - mean.value)
      variance.value += MOMENTUM * (spread * (n / max(n - 1, 1)) - variance.value)
    return (h - centre) * (scale * jax.lax.rsqrt(spread + EPSILON)) + shift


class Injected(nn.Module):
  """h W + c V + b for covariates c, which may have no columns.

  Attributes:
    width: of the output.
    use_bias: whether there is a b; one before a batch normalisation would have a zero gradient.
    bias_init: its initialiser.
  """

  width: int
  use_bias: bool = True
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, h: jax.Array, covariates: jax.Array) -> jax.Array:
    start = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's
    y = h @ self.param("kernel", start, (h.shape[-1], self.width))
    if covariates.shape[-1]:
      y += covariates @ self.param("covariates", start, (covariates.shape[-1], self.width))
    return y + self.param("bias", self.bias_init, (self.width,)) if self.use_bias else y


def dropped(h: jax.Array, keys: jax.Array | None, rate: float, layer: int) -> jax.Array:
  """h [B, D] with units dropped by the key of each example, keys [B]; unchanged without keys."""
  if keys is None or not rate:
    return h
  draw = lambda key: jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - rate, h.shape[1:])
  return jnp.where(jax.vmap(draw)(keys), h / (1 - rate), 0)


class NormedLayers(nn.Module):
  """Hidden layers: dense with covariates, batch normalisation, ReLU, dropout.

  Attributes:
    widths: of the layers.
    dropout: the probability that a unit is dropped.
  """

  widths: Sequence[int]
  dropout: float = 0.0

  @nn.compact
  def __call__(self, h: jax.Array, covariates: jax.Array, keys: jax.Array | None) -> jax.Array:
    """h [B, D], covariates [B, C]; keys [B] of the examples of a training batch, None in evaluation."""
    for i, width in enumerate(self.widths):
      h = Injected(width, use_bias=False, name=f"dense_{i}")(h, covariates)
      h = nn.relu(BatchNorm(width, name=f"norm_{i}")(h, keys is not None))
      h = dropped(h, keys, self.dropout, i)
    return h

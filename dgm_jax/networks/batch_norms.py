"""Batch normalisation (Ioffe & Szegedy, 2015), plain or with gains and biases that depend on a condition.

Three kinds of moments: those of the batch (in training), moving averages of them (the collection "batch_stats", as of
flax.linen.BatchNorm), and pooled ones that stand in their place after `pooled`.  To pool, make the collection
"moments" mutable: a pass in training then leaves the mean and the mean square of its batch there.

Moments are float32 in any precision.  Under jit with a batch that is split over devices they are those of the whole
batch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.spectral import Embed, SpectralDense


class BatchNorm(nn.Module):
  """gain (x - mean) / sqrt(variance + epsilon) + bias for each channel; moments over all axes but the last.

  Attributes:
    momentum: the share of the old moving moment.
    epsilon: see above.
    use_scale, use_bias: whether there are parameters gain and bias.
    dtype: of the output; None: that of the input.
  """

  momentum: float = 0.9
  epsilon: float = 1e-5
  use_scale: bool = True
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool, gain: jax.Array | float = 1.0, bias: jax.Array | float = 0.0
  ) -> jax.Array:
    """x [B, ..., C]; `gain` and `bias`, [B, C], multiply and move what is normalised by the layer's own."""
    width, given = x.shape[-1], x
    x = x.astype(jnp.float32)
    of = lambda start: lambda: start((width,), jnp.float32)
    moving = {name: self.variable("batch_stats", name, of(f)) for name, f in (("mean", jnp.zeros), ("var", jnp.ones))}
    if train:
      axes = tuple(range(x.ndim - 1))
      mean, square = jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)
      var = jnp.maximum(square - jnp.square(mean), 0.0)
      if not self.is_initializing():
        self._keep(moving, mean, square, var)
    else:
      mean, var = moving["mean"].value, moving["var"].value
    gain = gain * self.param("scale", nn.initializers.ones, (width,)) if self.use_scale else jnp.asarray(gain)
    bias = bias + self.param("bias", nn.initializers.zeros, (width,)) if self.use_bias else jnp.asarray(bias)
    slope = jax.lax.rsqrt(var + self.epsilon) * gain  # [C], or [B, C]
    shift = bias - mean * slope
    of_example = lambda a: a.reshape(a.shape[0], *[1] * (x.ndim - 2), width) if a.ndim == 2 else a
    return (x * of_example(slope) + of_example(shift)).astype(self.dtype or given.dtype)

  def _keep(self, moving: dict[str, Any], mean: jax.Array, square: jax.Array, var: jax.Array) -> None:
    if self.is_mutable_collection("batch_stats"):
      for name, value in (("mean", mean), ("var", var)):
        old = moving[name].value
        moving[name].value = self.momentum * old + (1 - self.momentum) * jax.lax.stop_gradient(value)
    if self.is_mutable_collection("moments"):
      for name, value in (("mean", mean), ("square", square)):
        self.variable("moments", name, lambda: jnp.zeros_like(mean)).value = jax.lax.stop_gradient(value)


class ConditionalBatchNorm(nn.Module):
  """Batch normalisation with gain 1 + g(c) and bias b(c) of a condition c (Dumoulin et al., 2017).

  For class labels int [B], or weights of classes [B, C], g and b are (sums of) rows of tables; for vectors, such as an
  embedding of the class and a part of z (BigGAN; Brock et al., 2019), they are linear maps without biases.

  Attributes:
    num_classes: C, for labels; 0 for vectors [B, E].
    spectral: whether the linear maps have spectral norm 1.
    kernel_init: initialiser of tables and linear maps.
    momentum, epsilon, dtype: see BatchNorm.
  """

  num_classes: int = 0
  spectral: bool = False
  kernel_init: Callable = nn.initializers.zeros
  momentum: float = 0.9
  epsilon: float = 1e-5
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, c: jax.Array, train: bool) -> jax.Array:
    width = x.shape[-1]

    def of_condition(name):
      if self.num_classes:
        return Embed(self.num_classes, width, embedding_init=self.kernel_init, name=name)(c)
      layer = SpectralDense if self.spectral else nn.Dense
      return layer(width, use_bias=False, kernel_init=self.kernel_init, name=name)(c)

    gain, bias = 1 + of_condition("gain"), of_condition("bias")
    norm = BatchNorm(self.momentum, self.epsilon, use_scale=False, use_bias=False, dtype=self.dtype, name="norm")
    return norm(x, train, gain, bias)


def pooled(old: Mapping[str, Any], moments: Mapping[str, Any]) -> dict[str, Any]:
  """The collection "batch_stats" with pooled moments in place of the moving ones, where there are any.

  Args:
    old: {layer: ... {"mean", "var"}}.
    moments: {layer: ... {"mean", "square"}}, the means over batches of what passes left in "moments".
  """
  found = dict(old)
  for name, value in moments.items():
    if "square" in value:
      var = jnp.maximum(value["square"] - jnp.square(value["mean"]), 0.0)
      found[name] = {"mean": value["mean"], "var": var}
    else:
      found[name] = pooled(old[name], value)
  return found

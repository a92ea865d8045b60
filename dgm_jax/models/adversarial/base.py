"""What the models of two players share: the noise z, the range of x, examples as vectors."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.special import logit

from dgm_jax.core import errors
from dgm_jax.models.base import require_at_least, require_one_of

OUTPUTS = ("sigmoid", "linear")
NOISES = ("normal", "uniform")
_ALL = 8.0  # of a normal, |z| < 8 is true to float32; the least of 2^23 uniform numbers has no finite quantile


class Noise(nn.Module, kw_only=True):
  """The noise z of a generator.

  Attributes:
    data_shape: shape of an x.
    latent_dim: L.
    noise, noise_scale: z ~ N(0, noise_scale^2 I), or uniform in [-noise_scale, noise_scale]^L.
  """

  data_shape: Sequence[int] = ()
  latent_dim: int = 64
  noise: str = "normal"
  noise_scale: float = 1.0

  def check(self) -> None:
    """Raises UserError if an option is invalid."""
    require_at_least(1, latent_dim=self.latent_dim)
    require_at_least(1e-6, noise_scale=self.noise_scale)
    require_one_of(NOISES, noise=self.noise)

  @property
  def num_noise(self) -> int:
    """The entries of z that are used: L, or fewer where a model says so."""
    return self.latent_dim

  @nn.nowrap
  def latent(self, key: jax.Array, n: int, truncation: float | jax.Array | None = None) -> jax.Array:
    """z, [n, L]; with a truncation t its entries are drawn given |z| < t noise_scale (Brock et al., 2019)."""
    shape = (n, self.num_noise)
    if self.noise == "uniform":
      errors.require(truncation is None, "truncation is for normal noise; this model has noise = 'uniform'.")
      return jax.random.uniform(key, shape, minval=-self.noise_scale, maxval=self.noise_scale)
    if truncation is None:
      return self.noise_scale * jax.random.normal(key, shape)
    bound = jnp.minimum(truncation, _ALL)
    return self.noise_scale * jax.random.truncated_normal(key, -bound, bound, shape)


class AdversarialModel(Noise, kw_only=True):
  """Base class of games of vectors.

  Attributes, in addition to those of Noise:
    data_mean: mean of the training set, flat; for output_bias = "mean".
    output: "sigmoid" for x in [0, 1], or "linear" for real numbers.
    output_bias: "zeros", or "mean": samples begin at the mean of the data.
  """

  data_mean: Sequence[float] | None = None
  output: str = "sigmoid"
  output_bias: str = "zeros"

  def check(self) -> None:
    """Raises UserError if an option is invalid."""
    super().check()
    require_one_of(OUTPUTS, output=self.output)
    require_one_of(("zeros", "mean"), output_bias=self.output_bias)

  @property
  def support(self) -> tuple[float, float]:
    """The smallest and the largest value of an x."""
    return (0.0, 1.0) if self.output == "sigmoid" else (-math.inf, math.inf)

  @property
  def dim(self) -> int:
    """D, the length of an x as a vector."""
    return math.prod(self.data_shape)

  @nn.nowrap
  def first_output(self) -> Any:
    """The initialiser of the generator's last bias."""
    if self.output_bias == "zeros" or self.data_mean is None:
      return nn.initializers.zeros
    mean = jnp.asarray(self.data_mean)
    start = logit(jnp.clip(mean, 1e-3, 1 - 1e-3)) if self.output == "sigmoid" else mean
    return lambda key, shape, dtype=jnp.float32: start.reshape(shape).astype(dtype)

  @nn.nowrap
  def shaped(self, a: jax.Array) -> jax.Array:
    """The generator's outputs [B, D] as x, [B, *data_shape]."""
    return (jax.nn.sigmoid(a) if self.output == "sigmoid" else a).reshape(-1, *self.data_shape)

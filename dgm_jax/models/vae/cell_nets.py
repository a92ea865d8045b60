"""The encoder of scVI, and what its decoder says of a cell."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks.normed_layers import NormedLayers

_MIN_VARIANCE = 1e-4  # of q(z|x)


class Decoded(NamedTuple):
  """What the decoder says of each cell, [B, G] or what broadcasts to it.

  Attributes:
    log_rho: log of the expected frequency of each gene.
    log_dispersion: log theta; None for the Poisson.
    logit: of the extra zero; None without it.
  """

  log_rho: jax.Array
  log_dispersion: jax.Array | None
  logit: jax.Array | None


class Encoder(nn.Module):
  """(mean, log of the standard deviation), [B, 2 D]: variance exp(h) + 1e-4.

  Attributes:
    outputs: D.
    widths, dropout: of the hidden layers.
  """

  outputs: int
  widths: Sequence[int]
  dropout: float

  @nn.compact
  def __call__(self, h: jax.Array, covariates: jax.Array, keys: jax.Array | None) -> jax.Array:
    h = NormedLayers(self.widths, self.dropout, name="layers")(h, covariates, keys)
    start = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    mean, h = jnp.split(nn.Dense(2 * self.outputs, kernel_init=start, name="heads")(h), 2, -1)
    return jnp.concatenate([mean, 0.5 * jnp.log(jnp.exp(h) + _MIN_VARIANCE)], -1)


def of_library(keys: jax.Array) -> jax.Array:
  """The keys [B] of the library's encoder, other than those of z's."""
  return jax.vmap(lambda key: jax.random.fold_in(key, 1_000))(keys)

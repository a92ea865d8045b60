"""Networks of x and a time, with a class if there are any: a multilayer perceptron, or a U-Net of images."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.mlp import MLP
from dgm_jax.networks.unet import UNet

NETS = ("mlp", "unet")


_FASTEST = 30.0  # frequency of TimeNet: a field that changes faster with t takes a solver more steps


def sinusoids(t: jax.Array, count: int, fastest: float = 1000.0) -> jax.Array:
  """sin(w t) and cos(w t) for frequencies w from 1 to `fastest`, geometrically spaced, [B, count]; t [B] in [0, 1]."""
  half = count // 2
  angles = t[:, None] * fastest ** (jnp.arange(half) / max(half - 1, 1))
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)


def check(net: str, data_shape: Sequence[int], channels: Sequence[int], dtype: str, remat: bool) -> None:
  """Raises UserError for an unknown net, or a U-Net of x that it cannot take."""
  errors.choose("net", net, NETS)
  if net == "mlp":
    return
  errors.require(
    len(data_shape) == 3, f"net = 'unet' takes images [H, W, C]; x has shape {list(data_shape)}: choose net = 'mlp'"
  )
  divisor = 2 ** (len(channels) - 1)
  errors.require(
    data_shape[0] % divisor == data_shape[1] % divisor == 0,
    f"net = 'unet' with {len(channels)} levels of channels takes images whose sides are divisible by {divisor}; these "
    f"are of {data_shape[0]} x {data_shape[1]} pixels: choose fewer channels, or the transform 'pad'",
  )
  errors.require(
    dtype == "float32" and not remat,
    "net = 'unet' computes in float32 without remat: leave dtype and remat, or take mlp",
  )


class TimeNet(nn.Module):
  """f(x, t, c), [B, D] -> [B, D].

  mlp: of x, sinusoids of t and c side by side, swish between the layers.  unet: two dense layers of the sinusoids and c
  make an embedding, of which a linear map is added to every level.

  Attributes:
    data_shape: the shape of one x.
    net: mlp or unet.
    hidden: widths of the hidden layers of mlp.
    channels: of the levels of unet.
    time_dim: number of sinusoids.
    activation: of mlp; it must be smooth where the divergence of f is trained.
    dtype, remat: see Networks, of mlp.
  """

  data_shape: Sequence[int]
  net: str = "mlp"
  hidden: Sequence[int] = (512, 512)
  channels: Sequence[int] = (32, 64, 128)
  time_dim: int = 64
  dtype: Any = None
  remat: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, t: jax.Array, context: jax.Array | None = None) -> jax.Array:
    """f of x [B, D], t [B] in [0, 1], and c [B, C] or None."""
    dim, given = math.prod(self.data_shape), sinusoids(t, self.time_dim, _FASTEST)
    given = given if context is None else jnp.concatenate([given, context], -1)
    if self.net == "mlp":
      net = MLP((*self.hidden, dim), nn.swish, dtype=self.dtype, remat=self.remat, name="net")
      return net(jnp.concatenate([x, given], -1))
    e = nn.swish(nn.Dense(2 * self.time_dim, name="embed_1")(given))
    e = nn.swish(nn.Dense(2 * self.time_dim, name="embed_2")(e))
    image = x.reshape(-1, *self.data_shape)
    return UNet(self.data_shape[-1], self.channels, name="net")(image, embedding=e).reshape(x.shape)

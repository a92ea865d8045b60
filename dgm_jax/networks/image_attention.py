"""Self-attention between the pixels of an image (SAGAN; Zhang et al., 2019)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.networks.resampled_convolutions import conv


def largest_of_four(x: jax.Array) -> jax.Array:
  """[B, 2 H, 2 W, C] -> [B, H, W, C]: maxima over 2 x 2 pixels."""
  n, h, w, c = x.shape
  return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


class ImageAttention(nn.Module):
  """x + gain * out(sum_s softmax_s(q_t' k_s) v_s), of all pixels t and of blocks s of 2 x 2 pixels; gain starts at 0.

  q, k have C / 8 channels, v has C / 2, all without biases; k and v are maxima over the blocks.  The scores are not
  divided by the root of the width.

  Attributes:
    spectral: whether the four maps have spectral norm 1.
    kernel_init: initialiser of the four maps.
    dtype: of the products; None for float32.  Scores and softmax are float32.
  """

  spectral: bool = True
  kernel_init: Callable = nn.initializers.orthogonal()
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] of x [B, H, W, C], H and W even, C a multiple of 8."""
    n, h, w, c = x.shape
    errors.require(c % 8 == 0, f"attention needs a multiple of 8 channels; here are {c}: choose other channels.")
    linear = lambda width, name: conv(
      width, 1, "none", self.spectral, self.kernel_init, self.dtype, use_bias=False, name=name
    )
    flat = lambda a: a.reshape(n, -1, a.shape[-1])
    q = flat(linear(c // 8, "query")(x))
    k = flat(largest_of_four(linear(c // 8, "key")(x)))
    v = flat(largest_of_four(linear(c // 2, "value")(x)))
    scores = jnp.einsum("bte,bse->bts", q, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores, -1).astype(v.dtype)
    mixed = jnp.einsum("bts,bse->bte", weights, v).reshape(n, h, w, c // 2)
    gain = self.param("gain", nn.initializers.zeros, ())
    return x + gain.astype(x.dtype) * linear(c, "out")(mixed).astype(x.dtype)

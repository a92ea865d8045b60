"""Rematerialisation: trading memory of the backward pass for a second forward computation."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import platforms


def remat(enabled: bool, f: Callable, layers: Sequence[nn.Module], x: jax.Array, platform: str = "") -> jax.Array:
  """f(layers, x); if `enabled`, only x is stored for the backward pass, which computes f again.

  XLA:CPU removes the barrier with which jax.checkpoint keeps the two computations from being merged.  On the CPU x is
  therefore tied to the cotangent, by adding 0 times its sum; then there is no forward-mode derivative.  `platform` is
  that of the program, see platforms.is_cpu.
  """
  if not enabled or layers[0].is_initializing():
    return f(layers, x)
  bare, variables = zip(*(layer.unbind() for layer in layers), strict=True)
  pure = lambda variables, x: f([partial(m.apply, v) for m, v in zip(bare, variables, strict=True)], x)
  return recomputed(pure, platform)(variables, x)


def recomputed(pure: Callable, platform: str = "") -> Callable:
  """(variables, x) -> pure(variables, x), of which only the arguments are stored for the backward pass; see `remat`."""
  if not platforms.is_cpu(platform):
    return jax.checkpoint(pure)

  def backward(kept, cotangent):
    variables, x = kept
    return jax.vjp(pure, variables, x + (0 * jnp.sum(cotangent)).astype(x.dtype))[1](cotangent)

  tied = jax.custom_vjp(pure)
  tied.defvjp(lambda variables, x: (pure(variables, x), (variables, x)), backward)
  return tied


def segments(num_layers: int) -> list[range]:
  """Groups of layers whose inputs are stored: about sqrt(n) groups of sqrt(n) layers need the least memory."""
  size = max(1, math.ceil(math.sqrt(num_layers)))
  return [range(i, min(i + size, num_layers)) for i in range(0, num_layers, size)]

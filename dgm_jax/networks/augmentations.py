"""Random changes of images that are differentiable in the image: DiffAugment (Zhao et al., 2020), also as used by ADA.

The same changes, in law, are made to data and to samples before a discriminator sees them, so that it cannot learn the
changes; the gradient passes through them to the generator.  Images are in [0, 1]; pixels that a move or a cut leaves
empty are grey, 0.5.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

POLICIES = ("color", "translation", "cutout")
NUMBERS = 10  # uniform random numbers that an image takes: seven for the changes, three for whether they are made
_SHIFT, _CUT = 1 / 8, 1 / 2  # of the height and the width
_EMPTY = 0.5


def color(u: jax.Array, x: jax.Array, strength: jax.Array | float) -> jax.Array:
  """Brightness moved by up to 0.25, saturation times 0 to 2, contrast times 0.5 to 1.5; u [B, 3]."""
  u = (strength * (2 * u - 1))[:, :, None, None, None]  # in [-strength, strength]
  x = x + 0.25 * u[:, 0]
  grey = jnp.mean(x, -1, keepdims=True)
  x = grey + (1 + u[:, 1]) * (x - grey)
  mean = jnp.mean(x, (1, 2, 3), keepdims=True)
  return mean + (1 + 0.5 * u[:, 2]) * (x - mean)


def _whole(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
  """A whole number, uniform in low .. high, of u in [0, 1)."""
  return jnp.minimum(low + jnp.floor(u * (high - low + 1)), high)


def translation(u: jax.Array, x: jax.Array, strength: jax.Array | float) -> jax.Array:
  """Moved by whole pixels, up to an eighth of the height and the width; u [B, 2].

  The moves are products with matrices of zeros and ones, whose gradient is one, too, and no scattering.
  """
  moved = x - _EMPTY
  for axis in (0, 1):
    size = x.shape[1 + axis]
    most = jnp.floor(size * _SHIFT * strength + 0.5)
    by = _whole(u[:, axis], -most, most)
    place = jnp.arange(size)
    matrix = (place[:, None] - place[None, :] == by[:, None, None]).astype(x.dtype)  # [B, new, old]
    moved = jnp.einsum("bij,bjwc->biwc" if axis == 0 else "bij,bhjc->bhic", matrix, moved)
  return moved + _EMPTY


def cutout(u: jax.Array, x: jax.Array, strength: jax.Array | float) -> jax.Array:
  """A rectangle of half the height and width, whose centre is anywhere in the image, is grey; u [B, 2]."""
  inside = jnp.ones((x.shape[0], 1, 1), bool)
  for axis in (0, 1):
    size = x.shape[1 + axis]
    length = jnp.floor(size * _CUT * strength + 0.5)
    centre = _whole(u[:, axis], 0.0, size - length % 2)
    first = (centre - jnp.floor(length / 2))[:, None]
    place = jnp.arange(size)
    # at the edge a rectangle that reaches out still has the pixel at the edge, as in the authors' code
    low, high = (jnp.clip(v, 0, size - 1) for v in (first, first + length - 1))
    along = (place >= low) & (place <= high) & (length > 0)
    inside = inside & (along[:, :, None] if axis == 0 else along[:, None, :])
  return jnp.where(inside[..., None], jnp.asarray(_EMPTY, x.dtype), x)


_CHANGES = {"color": (color, slice(0, 3)), "translation": (translation, slice(3, 5)), "cutout": (cutout, slice(5, 7))}


def augment(
  u: jax.Array, x: jax.Array, policy: Sequence[str], strength: jax.Array | float = 1.0, p: jax.Array | float = 1.0
) -> jax.Array:
  """Images with the changes of a policy, in the order of POLICIES.

  Args:
    u: uniform in [0, 1), [B, NUMBERS].
    x: [B, H, W, C].
    policy: some of POLICIES.
    strength: 1 for the ranges above; 0 for none of it.
    p: the probability with which each change is made, for each image by itself (Karras et al., 2020).
  """
  for i, name in enumerate(POLICIES):
    if name in policy:
      change, part = _CHANGES[name]
      made = (u[:, 7 + i] < p)[:, None, None, None]
      x = jnp.where(made, change(u[:, part], x, strength), x)
  return x

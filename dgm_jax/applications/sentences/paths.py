"""Points of the latent space between two others."""

import jax
import jax.numpy as jnp

from dgm_jax.core import errors

KINDS = ("linear", "spherical")


def between(a: jax.Array, b: jax.Array, steps: int, kind: str = "linear") -> jax.Array:
  """`steps` points from a to b, [steps, L], both ends included.

    linear      (1 - t) a + t b
    spherical   (sin((1 - t) w) a + sin(t w) b) / sin w,  w the angle of a and b        (White, 2016)

  With the second the norms change as from |a| to |b|, so that the points stay where N(0, I) has its mass; of parallel
  vectors it is the first.

  Args:
    a, b: [L].
    steps: 2 or more.
    kind: of KINDS.

  Raises:
    UserError: an unknown kind, or fewer than 2 steps.
  """
  errors.choose("kind of interpolation", kind, KINDS)
  errors.require(steps >= 2, f"steps = {steps}; a path has 2 or more, its ends.")
  t = jnp.linspace(0.0, 1.0, steps)[:, None]
  linear = (1 - t) * a + t * b
  if kind == "linear":
    return linear
  cosine = jnp.vdot(a, b) / jnp.maximum(jnp.linalg.norm(a) * jnp.linalg.norm(b), 1e-12)
  angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
  sine = jnp.sin(angle)
  curved = (jnp.sin((1 - t) * angle) * a + jnp.sin(t * angle) * b) / jnp.where(sine > 1e-4, sine, 1.0)
  return jnp.where(sine > 1e-4, curved, linear)

"""Unnormalised densities exp(-U(z)) of the plane: the four energies of Rezende & Mohamed (2015), table 1.

  U1 = 1/2 ((|z| - 2) / 0.4)^2 - log(exp(-1/2 ((z_1 - 2) / 0.6)^2) + exp(-1/2 ((z_1 + 2) / 0.6)^2))
  U2 = 1/2 ((z_2 - w_1) / 0.4)^2
  U3 = -log(exp(-1/2 ((z_2 - w_1) / 0.35)^2) + exp(-1/2 ((z_2 - w_1 + w_2) / 0.35)^2))
  U4 = -log(exp(-1/2 ((z_2 - w_1) / 0.4)^2) + exp(-1/2 ((z_2 - w_1 + w_3) / 0.35)^2))
  w_1 = sin(2 pi z_1 / 4),   w_2 = 3 exp(-1/2 ((z_1 - 1) / 0.6)^2),   w_3 = 3 sigmoid((z_1 - 1) / 0.3)

exp(-U2), exp(-U3) and exp(-U4) do not decay along z_1 and cannot be normalised.  The paper draws the window
|z_d| <= 4; here a wall 1/2 ((|z_d| - 4)_+ / 0.4)^2 around it is added to U in each direction.
"""

import jax
import jax.numpy as jnp

WINDOW = 4.0
_WALL = 0.4


def _two(a: jax.Array, b: jax.Array) -> jax.Array:
  """-log(exp(-a^2 / 2) + exp(-b^2 / 2))."""
  return -jnp.logaddexp(-0.5 * a**2, -0.5 * b**2)


def _wave(z: jax.Array) -> jax.Array:
  """z_2 - w_1."""
  return z[..., 1] - jnp.sin(2 * jnp.pi * z[..., 0] / 4)


def _ring(z: jax.Array) -> jax.Array:
  radius = jnp.sqrt(jnp.sum(jnp.square(z), -1) + 1e-12)  # differentiable at 0
  return 0.5 * ((radius - 2) / 0.4) ** 2 + _two((z[..., 0] - 2) / 0.6, (z[..., 0] + 2) / 0.6)


def _bump(z: jax.Array) -> jax.Array:
  return 3 * jnp.exp(-0.5 * ((z[..., 0] - 1) / 0.6) ** 2)


def _step(z: jax.Array) -> jax.Array:
  return 3 * jax.nn.sigmoid((z[..., 0] - 1) / 0.3)


ENERGIES = {
  "U1": _ring,
  "U2": lambda z: 0.5 * (_wave(z) / 0.4) ** 2,
  "U3": lambda z: _two(_wave(z) / 0.35, (_wave(z) + _bump(z)) / 0.35),
  "U4": lambda z: _two(_wave(z) / 0.4, (_wave(z) + _step(z)) / 0.35),
}


def energy(name: str, z: jax.Array) -> jax.Array:
  """U(z) with the wall, z [..., 2]."""
  beyond = jnp.maximum(jnp.abs(z) - WINDOW, 0) / _WALL
  return ENERGIES[name](z) + 0.5 * jnp.sum(jnp.square(beyond), -1)

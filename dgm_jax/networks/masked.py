"""Degrees and masks of networks whose output d depends on the inputs before d alone (Germain et al., 2015, MADE).

Every unit has a degree in 1..D: an input or an output its place in the order of the entries, a hidden unit the place of
the last entry that it may depend on.  Masks are comparisons of degrees inside the program: XLA folds masks that are
constants when it compiles, for seconds.
"""

import jax
import jax.numpy as jnp


def cyclic_degrees(width: int, dim: int) -> jax.Array:
  """Degrees 1, 2, ..., D - 1, 1, 2, ... of hidden units, [width]."""
  return 1 + jnp.arange(width) % max(1, dim - 1)


def even_degrees(width: int, dim: int) -> jax.Array:
  """Degrees of hidden units from 1 to D - 1 at equal distances, [width]: also of fewer units than entries."""
  return 1 + jnp.arange(width) * max(1, dim - 1) // width


def random_degrees(key: jax.Array, width: int, dim: int) -> jax.Array:
  """Degrees of hidden units drawn uniformly from 1 to D - 1, [width]."""
  return jax.random.randint(key, (width,), 1, max(2, dim))


def up_to(source: jax.Array, target: jax.Array) -> jax.Array:
  """The mask [S, T] of a layer into hidden units: a unit sees what depends on entries up to its degree."""
  return source[:, None] <= target


def before(source: jax.Array, target: jax.Array) -> jax.Array:
  """The mask [S, T] of a layer into outputs: an output sees what depends on entries before its own."""
  return source[:, None] < target

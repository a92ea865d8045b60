"""Orders of the entries of x."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.models.base import require_one_of

ORDERS = ("natural", "reversed", "random")


def places(ordering: str | Sequence[int], dim: int, num: int, key: jax.Array) -> jax.Array:
  """The place of each entry in each of `num` orders, 1 .. D, [num, D].

  Args:
    ordering: a name of ORDERS, or a permutation of 0 .. D - 1, the entries in their order.
    dim: D.
    num: number of orders: independent ones if they are random, else equal ones.
    key: of random orders.

  Raises:
    UserError: neither a name nor a permutation.
  """
  entries = jnp.arange(dim)
  if isinstance(ordering, str):
    require_one_of(ORDERS, ordering=ordering)
    if ordering == "random":
      return 1 + jax.vmap(lambda key: jax.random.permutation(key, dim))(jax.random.split(key, num))
    return jnp.tile(1 + (entries if ordering == "natural" else entries[::-1]), (num, 1))
  errors.require(
    sorted(ordering) == list(range(dim)),
    f"ordering must be one of {', '.join(ORDERS)}, or a permutation of 0 .. {dim - 1}; it is {tuple(ordering)}"[:300],
  )
  return jnp.tile(jnp.zeros(dim, int).at[jnp.asarray(ordering)].set(1 + entries), (num, 1))

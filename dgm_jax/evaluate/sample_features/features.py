"""What a set of features is, and how the hidden units of a network become one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.networks import mlp


class Features(NamedTuple):
  """A set of features.

  Attributes:
    name: what results state.
    embed: x [B, ...] -> {"features": [B, F]}, with "probs" [B, C] of a classifier.
    shape: of the examples that it takes; None for any.
    range: of the numbers that it takes; None for any.
    num_classes: C; None if it is no classifier.
    classes: their names; None if they are not known.
    fid: whether distances have the names FID, KID and inception score.
  """

  name: str
  embed: Callable[[jax.Array], dict[str, jax.Array]]
  shape: tuple[int, ...] | None = None
  range: tuple[float, float] | None = None
  num_classes: int | None = None
  fid: bool = False
  classes: tuple[str, ...] | None = None


def pixels() -> Features:
  """The numbers of x themselves."""
  return Features("pixels", lambda x: {"features": x.reshape(x.shape[0], -1).astype(jnp.float32)})


def with_last_input(call: Callable[[], Any]) -> tuple[Any, jax.Array]:
  """(call(), the input of the last dense layer that it applies): the units by which a classifier decides."""
  caught: list[jax.Array] = []

  def intercept(next_fun, args, kwargs, context):
    if isinstance(context.module, (nn.Dense, mlp.Dense)) and context.method_name == "__call__":
      caught.append(args[0])
    return next_fun(*args, **kwargs)

  with nn.intercept_methods(intercept):
    result = call()
  return result, caught[-1]

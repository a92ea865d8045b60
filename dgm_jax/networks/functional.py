"""A bound Flax module as a pure function."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn


def functional(module: nn.Module, *examples: Any) -> Callable[..., jax.Array]:
  """The module's `__call__` as a pure function of its arguments, for use inside loops and other transformations of JAX.

  Args:
    module: a submodule, bound.
    *examples: arguments for `init`, which creates its parameters.
  """
  if module.is_initializing():
    module(*examples)
  bare, variables = module.unbind()
  return lambda *args: bare.apply(variables, *args)

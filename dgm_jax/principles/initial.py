"""The initial variables of a model."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from dgm_jax.core import requirements


def variables(
  model: nn.Module, key: jax.Array, batch: dict[str, jax.Array], touch: Callable
) -> tuple[Any, dict[str, Any]]:
  """(the parameters of a model, its other collections) from its `__call__`, which uses every parameter.

  Args:
    model: a Flax module.
    key: for the random initial values.
    batch: examples, for their shapes.
    touch: (model, batch) -> anything, which uses every parameter of a model without `__call__`.
  """
  called = {} if requirements.defines(model, "__call__") else {"method": touch}
  found = dict(model.init(key, batch, **called))
  return found.pop("params"), found

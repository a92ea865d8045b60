"""Statistics of normalising layers from the whole training set, layer by layer, in place of those of training."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import errors
from dgm_jax.core.batches import size


def with_training_statistics(experiment: Any, state: Any, key: jax.Array, batch_size: int = 500) -> Any:
  """The state with the statistics of normalising layers taken from the whole training set (transformed once).

  Raises:
    UserError: the model has no `fit_statistics(variables, total)`; see models/flows/flow.py.
  """
  model, train, transform = experiment.model, experiment.splits.train, experiment.transforms.evaluate
  errors.require(
    hasattr(model, "fit_statistics"),
    "evaluate.exact_likelihood.statistics = 'train' is for models with batch normalisation, with a method "
    "fit_statistics(variables, total); leave it empty.",
  )

  def total(variables, function):
    def of_batch(variables, key, batch):
      keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["index"])
      return function(model.bind(variables), jax.vmap(transform)(keys, batch))

    compiled, found = jax.jit(of_batch), None
    for start in range(0, size(train), batch_size):
      part = jax.tree.map(lambda a, start=start: jnp.asarray(a[start : start + batch_size]), train)
      values = compiled(variables, key, part)
      found = values if found is None else jax.tree.map(jnp.add, found, values)
    return found

  variables = model.fit_statistics({"params": state.params, **state.variables}, total)
  return state.replace(variables={name: value for name, value in variables.items() if name != "params"})


def as_evaluated(experiment: Any, state: Any, key: jax.Array, options: Mapping[str, Any]) -> Any:
  """The state whose log p(x) an exact_likelihood with these options reports: what stands beside it is of the same p.

  Args:
    experiment, state, key: the built experiment, the trained state, the evaluation key.
    options: config.evaluate.exact_likelihood of the run; empty for a run without one.
  """
  if options.get("statistics", "") != "train":
    return state
  return with_training_statistics(experiment, state, key, options.get("batch_size", 500))

"""What the data determine of a model and of a principle."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import rng
from dgm_jax.data import cells
from dgm_jax.data import pipeline as pipelines
from dgm_jax.data.files import tokens
from dgm_jax.data.splits import Splits
from dgm_jax.training import labels

_OF_CELLS = ("num_batches", "num_labels", "categories", "num_continuous", "library_moments")
# arguments of models, see `arguments`
FIELDS = ("data_shape", "data_mean", "num_tokens", "token_counts", "grammar", "context_dim", "data_classes", *_OF_CELLS)


def _as_tuples(value: Any) -> Any:
  return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def arguments(model_class: type, pipeline: pipelines.Pipeline, parts: Splits) -> dict[str, Any]:
  """The model's arguments that the data determine: shape of x, mean of the training set, size of a vocabulary, ..."""
  mean, fields = pipeline.statistics.mean, inspect.signature(model_class).parameters
  values = {"data_shape": mean.shape, "data_mean": tuple(mean.ravel().tolist())}
  values["context_dim"] = len(pipeline.given_columns)
  if "tokens" in parts.about:  # x is token ids, not counts of words
    values["num_tokens"] = len(parts.about["vocabulary"])
    if "token_counts" in fields:
      values["token_counts"] = tuple(tokens.token_counts(parts.train, values["num_tokens"]).tolist())
  if "grammar" in parts.about:
    values["grammar"] = parts.about["grammar"]
  if (classes := labels.number(parts)) is not None:
    values["data_classes"] = classes
  of_cells = cells.for_model(parts, "data") if "library_moments" in fields else {}
  values |= {name: _as_tuples(of_cells[name]) for name in _OF_CELLS if name in of_cells}
  return {name: value for name, value in values.items() if name in fields}


def held_out(parts: Splits, pipeline: pipelines.Pipeline) -> Callable | None:
  """() -> the validation set after its transforms, as one batch; None if there is none."""
  if parts.valid is None:
    return None
  key = rng.stream(jax.random.key(0), "held_out")
  return lambda: pipeline.evaluate(key, jax.tree.map(jnp.asarray, parts.valid))

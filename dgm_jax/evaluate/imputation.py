"""Imputation error on entries that transforms hid on purpose (data/missing_mechanisms.py)."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dgm_jax.core import errors, rng
from dgm_jax.core.evaluation import make_evaluate_examples, mean_and_error
from dgm_jax.core.progress import progress_bar
from dgm_jax.inference import imputation

NEEDS = ("infer", "log_joint", "decode")  # methods of the model


def check(*, num_samples: int = 1, batch_size: int = 1, chunk: int = 1, part: str = "") -> None:
  """Raises UserError for an invalid option."""
  for name, value in (("num_samples", num_samples), ("batch_size", batch_size), ("chunk", chunk)):
    errors.require(value >= 1, f"evaluate.imputation.{name} = {value}; it must be 1 or more.")
  errors.choose("value of evaluate.imputation.part", part, ("", "train", "valid", "test"))


def make(model: nn.Module, transform: Callable, num_samples: int, batch_size: int, chunk: int) -> Callable:
  """((state, key), key, arrays, progress) -> {name: [N]}: sum of squared errors, number of hidden entries, and ess."""

  def eval_step(held, _, batch):
    errors.require(
      "hidden" in batch, "evaluate.imputation needs hidden entries: put e.g. 'mcar:rate=0.5' into data.transforms."
    )
    state, key = held
    bound = model.bind({"params": state.params, **state.variables})
    found = imputation.single(bound, rng.row_keys(key, batch["index"]), batch, num_samples, chunk)
    square = jnp.where(batch["hidden"] > 0, jnp.square(found.x - batch["complete"]), 0)
    axes = tuple(range(1, square.ndim))
    return {
      "imputation_square": jnp.sum(square, axes),
      "imputation_hidden": jnp.sum(batch["hidden"], axes),
      "imputation_ess": found.ess,
    }

  return make_evaluate_examples(eval_step, transform, batch_size)


def mean_squared_error(values: dict[str, Any]) -> float:
  """Mean squared error of hidden entries from the values of `make`'s function; NaN if none are hidden."""
  square, hidden = (math.fsum(values[f"imputation_{name}"].tolist()) for name in ("square", "hidden"))
  return square / hidden if hidden else math.nan


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_samples: int = 10_000,
  batch_size: int = 10,
  chunk: int = 500,
  part: str = "",
) -> dict[str, Any]:
  """Error of E[x_hidden | x_observed] (with a missing process, given m, too), estimated by inference.imputation.

    rmse^2 = mse = sum over hidden entries (x - imputed)^2 / number of hidden entries,

  in the units after the transforms: after "standardize", imputing the mean has an error of 1 if entries are missing at
  random.  A wrongly imputed class counts by the difference of the class numbers.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the examples.
    num_samples: K.
    batch_size, chunk: examples and samples at once.
    part: a split to use instead of `arrays`; "train" scores the entries that were hidden in training.

  Returns:
    imputation_rmse, imputation_mse, imputation_samples, imputation_ess (the mean effective number of samples); "values"
    holds the sum of squared errors, the number of hidden entries and the effective number of samples of each example.

  Raises:
    UserError: the transforms hide no entries.
  """
  run = make(experiment.model, experiment.transforms.evaluate, num_samples, batch_size, chunk)
  if part:
    parts = experiment.splits.parts()
    arrays = parts[errors.choose("value of evaluate.imputation.part", part, parts)]
  with progress_bar(len(arrays["x"]), description=f"imputation, K = {num_samples}", unit="example") as bar:
    values = run((state, key), key, arrays, bar.update)
  mse = mean_squared_error(values)
  return {
    "imputation_rmse": math.sqrt(mse),
    "imputation_mse": mse,
    "imputation_samples": num_samples,
    "imputation_ess": mean_and_error(values["imputation_ess"])[0],
    "values": values,
  }

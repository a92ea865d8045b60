"""Checks of a config against its data and model, before anything compiles."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dgm_jax.core import errors, requirements
from dgm_jax.data.pipeline import Pipeline
from dgm_jax.data.splits import Splits
from dgm_jax.data.statistics import Statistics
from dgm_jax.evaluate.chosen import Evaluation
from dgm_jax.models.base import support
from dgm_jax.networks import mlp
from dgm_jax.training import early_stopping
from dgm_jax.training.experiment import Experiment, two_examples
from dgm_jax.training.processes import signals


def check_model(model_class: Any, config: ConfigDict, requires: Sequence[str]) -> None:
  """Raises UserError unless the model is a Flax module that has what the principle requires of its models."""
  name = config.model.name
  errors.require(
    isinstance(model_class, type) and issubclass(model_class, nn.Module),
    f"Model {name!r} must be a class of flax.linen modules; it is {model_class!r}.",
  )
  requirements.check(config.principle, requires, model_class, name)
  errors.require(
    requirements.defines(model_class, "data_shape"),
    f"Model {name!r} needs a field `data_shape: tuple[int, ...]`, which receives the shape of an x.",
  )


def check_numbers(config: ConfigDict, n: int, batches: int = 1) -> None:
  """Raises UserError if a number of the config is invalid for `n` training examples, `batches` batches in a step."""
  errors.require(
    0 <= config.batch_size <= n,
    f"batch_size = {config.batch_size}; it must be between 1 and the {n} training examples of {config.data.name!r}, or "
    "0 for all of them.",
  )
  errors.require(
    batch_size(config, n) * batches <= n,
    f"batch_size = {config.batch_size}; a step takes {batches} batches, of which the {n} training examples of "
    f"{config.data.name!r} allow at most {n // batches} examples each.",
  )
  errors.require(config.log_every >= 0, f"log_every = {config.log_every}; it must be 1 or more, or 0 for an epoch.")
  for name in ("eval_batch_size", "keep_checkpoints"):
    errors.require(config[name] >= 1, f"{name} = {config[name]}; it must be 1 or more.")
  for name in ("eval_every", "figures_every", "checkpoint_every"):
    errors.require(
      config[name] >= 0 and config[name] % log_every(config, n, batches) == 0,
      f"{name} = {config[name]}; it must be 0 or a multiple of log_every = {log_every(config, n, batches)}.",
    )
  check_aggressive(config)
  early_stopping.check(config.keep_best, config.early_stopping, config.max_minutes)
  grace = config.get("grace_seconds", signals.GRACE_S)
  errors.require(
    0 < grace < math.inf, f"grace_seconds = {grace}; it must be positive: the seconds that a run may take to stop."
  )
  errors.require(0 <= config.seed < 2**32, f"seed = {config.seed}; it must be in 0 .. 2^32 - 1.")


def check_aggressive(config: ConfigDict) -> None:
  """Raises UserError for options of the optimiser that have no meaning with aggressive updates of the encoder."""
  count, optim = config.objective.get("aggressive", 0), config.optim
  if not count:
    return
  errors.require(
    optim.get("accumulate", 1) == 1,
    f"optim.accumulate = {optim.get('accumulate')} with objective.aggressive = {count} would average gradients of one "
    "part of the model at different values of the other: leave it at 1.",
  )
  staged = optim.get("schedule", "staged")
  shares = [name for name in ("boundaries", "warmup", "hold") if optim.get(name)]
  errors.require(
    staged in ("constant", "staged", "exponential", "plateau") and not shares,
    f"optim.{shares[0] if shares else f'schedule = {staged!r}'} is in shares of num_steps; with objective.aggressive = "
    f"{count} encoder and decoder have other numbers of updates, so choose a constant rate.",
  )


def is_alone(config: ConfigDict) -> bool:
  """Whether the run cannot be a lane: a vmapped step would take every update of the encoder, the decoder and both,
  and estimate the mutual information on the whole validation set, at each step."""
  return config.get("objective", {}).get("aggressive", 0) > 0


def batch_size(config: ConfigDict, n: int) -> int:
  """Examples of a batch: config.batch_size, or all `n` training examples if that is 0."""
  return config.batch_size or n


def log_every(config: ConfigDict, n: int, batches: int = 1) -> int:
  """Steps of one compiled program: config.log_every, or an epoch if that is 0."""
  return config.log_every or n // (batch_size(config, n) * batches)


def num_steps(config: ConfigDict, n: int, batches: int = 1) -> int:
  """config.num_steps if it is given, else config.num_epochs of n // (batch_size * batches) steps."""
  steps, epochs = config.num_steps, config.num_epochs
  errors.require(steps is not None or epochs is not None, "Neither num_steps nor num_epochs is given; give one.")
  name, value = ("num_epochs", epochs) if steps is None else ("num_steps", steps)
  errors.require(value >= 1, f"{name} = {value}; it must be 1 or more.")
  found = value * (n // (batch_size(config, n) * batches)) if steps is None else value
  errors.require(found < 2**31, f"{name} = {value} gives {found:,} steps; a run takes fewer than 2^31.")
  return found


def check_support(model: Any, train: Statistics, config: ConfigDict) -> None:
  """Raises UserError if x lies outside the support of the model's decoder."""
  (low, high), (least, greatest) = support(model), train.range
  errors.require(
    low <= least and greatest <= high,
    f"Model {config.model.name!r} expects x in [{low:g}, {high:g}]; {config.data.name!r} after data.transforms = "
    f"{config.data.transforms} has values in [{least:.4g}, {greatest:.4g}]. Choose transforms that fit the model.",
  )


def check_real(model: Any, integers: bool, dequantizes: bool, config: ConfigDict) -> None:
  """Raises UserError if a density of real numbers gets integers, of which its likelihood has no bound."""
  errors.require(
    dequantizes or not integers or not getattr(model, "takes_real_numbers", False),
    f"Model {config.model.name!r} is a density of real numbers, and x of {config.data.name!r} is integers, on which it "
    "can be arbitrarily large: put the transform 'dequantize' first in data.transforms, which is "
    f"{config.data.transforms}.",
  )


def check_values(model: Any, transforms: Pipeline, config: ConfigDict) -> None:
  """Raises UserError if an autoregressive model of the integers 0 .. V - 1 gets other numbers, such as grey levels.

  The Bernoulli of other models takes numbers between 0 and 1, too, of which it has no probability.
  """
  discrete = hasattr(model, "conditionals") and model.likelihood in ("bernoulli", "categorical", "logistic_levels")
  if not discrete or transforms.binarizes:
    return
  binary = "The transform 'binarize', as in data.transforms=binarize:static, makes grey levels 0 and 1"
  errors.require(
    transforms.statistics.is_whole,
    f"Model {config.model.name!r} with likelihood {model.likelihood!r} has a probability for each of "
    f"{model.num_levels} values, 0 .. {model.num_levels - 1}; {config.data.name!r} after data.transforms = "
    f"{config.data.transforms} has other numbers. {binary}; real numbers take a likelihood such as gaussian_mixture.",
  )


def check_given(model_class: type, transforms: Pipeline, config: ConfigDict) -> None:
  """Raises UserError if columns of a table are to be given to a model that does not take them."""
  errors.require(
    not transforms.given_columns or "context_dim" in inspect.signature(model_class).parameters,
    f"Model {config.model.name!r} is not given columns of a table: leave 'condition:columns=' out of data.transforms, "
    "or choose flow, residual_flow or made.",
  )


def check_targets(model: Any, parts: Splits, config: ConfigDict) -> None:
  """Raises UserError if a conditional model p(y given x) gets data without y, or y outside its likelihood's support."""
  if not hasattr(model, "target_support"):
    return
  (low, high), about = model.target_support, f"Model {config.model.name!r} is a conditional model p(y given x)"
  errors.require(
    "standardize_targets" not in config.data.transforms or low == -high == -math.inf,
    f"{about}, whose likelihood {model.likelihood!r} expects y in [{low:g}, {high:g}]: transform 'standardize_targets' "
    "maps y out of that range.",
  )
  own = "; choose the column that is y by data.target" if config.data.name == "array" else ""
  names = ", ".join(map(str, parts.about.get("classes", ())))
  errors.require(
    model.num_classes is not None or not names,
    f"{about}, whose likelihood {model.likelihood!r} expects numbers; y of {config.data.name!r} is one of {names}.",
  )
  for part, arrays in parts.parts().items():
    errors.require("y" in arrays, f"{about}; {config.data.name!r} has no y{own}.")
    y = arrays["y"]
    least, greatest, is_integer = float(y.min()), float(y.max()), jnp.issubdtype(y.dtype, jnp.integer)
    errors.require(
      low <= least and greatest <= high and (model.num_classes is None or is_integer),
      f"{about}, whose likelihood {model.likelihood!r} expects {'class labels' if model.num_classes else 'y'} in "
      f"[{low:g}, {high:g}]; y of {part} of {config.data.name!r} is {y.dtype} in [{least:.4g}, {greatest:.4g}].",
    )


def check_mask(experiment: Experiment, config: ConfigDict) -> None:
  """Raises UserError if x has missing entries and the model, which takes no mask, would treat them as zeros."""
  batch = jax.eval_shape(experiment.transforms.train, jax.random.key(0), two_examples(experiment))
  errors.require(
    "mask" not in batch or getattr(experiment.model, "takes_mask", False),
    f"Model {config.model.name!r} does not support missing entries, but x of {config.data.name!r} after "
    f"data.transforms = {config.data.transforms} has some.",
  )


def networks_options(config: ConfigDict, model_class: type) -> dict[str, Any]:
  """dtype and remat of the config unless they are the defaults; raises UserError if the model has no such field."""
  errors.choose("value of dtype", config.dtype, mlp.DTYPES)
  errors.require(config.remat in (True, False), f"remat = {config.remat!r}; it must be True or False.")
  defaults = {name: getattr(mlp.Networks, name) for name in ("dtype", "remat")}
  asked = {name: config[name] for name, default in defaults.items() if config[name] != default}
  for name, value in asked.items():
    errors.require(
      hasattr(model_class, name),
      f"{name} = {value!r} applies to neural networks, but model {config.model.name!r} has no field {name!r}: leave it "
      f"at {defaults[name]!r}.",
    )
  return asked


def check_evaluation(evaluation: Evaluation, model: Any, section: str = "evaluate") -> None:
  """Raises UserError if the model lacks a method that the evaluation NEEDS, or one of its options is invalid."""
  try:
    evaluation.validate()
  except errors.UserError as error:
    raise errors.UserError(str(error).replace(f"evaluate.{evaluation.name}", f"{section}.{evaluation.name}")) from None
  for method in evaluation.needs:
    errors.require(
      requirements.defines(model, method),
      f"{section}.{evaluation.name} needs a model with {' and '.join(evaluation.needs)}; this one has no {method}.",
    )

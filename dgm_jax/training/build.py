"""From a config to what the loop runs.  Every name and number is checked here, before anything compiles."""

import inspect
import math
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from ml_collections import ConfigDict, config_dict

from dgm_jax import data, evaluate, models, principles
from dgm_jax.core import batches, errors
from dgm_jax.core.registry import module
from dgm_jax.core.system import averaging
from dgm_jax.data import sources, transforms
from dgm_jax.data.splits import Splits
from dgm_jax.data.statistics import Statistics
from dgm_jax.networks import mlp
from dgm_jax.training import early_stopping, optimisers
from dgm_jax.training.experiment import Experiment, hyper_parameters, make_init, two_examples


def data_section(name: str, transforms: tuple[str, ...] = ()) -> ConfigDict:
  """config.data for a data set: its name, its options at their defaults, and what every data set has.

  Args:
    name: see data.names().
    transforms: applied in this order inside the step; see data.transforms.
  """
  config = ConfigDict({"name": name, "transforms": transforms, "source": "auto"})  # auto, resident or streaming
  for option, parameter in data.options(name).items():
    kinds = [k for k in typing.get_args(parameter.annotation) or (parameter.annotation,) if k is not type(None)]
    config[option] = config_dict.placeholder(kinds[0])
    if parameter.default not in (None, parameter.empty):
      config[option] = parameter.default
  return config


def _check_numbers(config: ConfigDict, n: int) -> None:
  """Refuses values that cannot be run on `n` training examples."""
  errors.require(
    1 <= config.batch_size <= n,
    f"batch_size = {config.batch_size}; it must be between 1 and the {n} training examples of {config.data.name!r}.",
  )
  for name in ("log_every", "eval_batch_size", "keep_checkpoints"):
    errors.require(config[name] >= 1, f"{name} = {config[name]}; it must be 1 or more.")
  for name in ("eval_every", "figures_every", "checkpoint_every"):
    errors.require(
      config[name] >= 0 and config[name] % config.log_every == 0,
      f"{name} = {config[name]}; it must be 0 or a multiple of log_every = {config.log_every}.",
    )
  early_stopping.check(config.keep_best, config.early_stopping, config.max_minutes)
  errors.require(0 <= config.seed < 2**32, f"seed = {config.seed}; it must be in 0 .. 2^32 - 1.")


def _num_steps(config: ConfigDict, n: int) -> int:
  """config.num_steps if it is given, else config.num_epochs of n // batch_size steps."""
  steps, epochs = config.num_steps, config.num_epochs
  errors.require(steps is not None or epochs is not None, "Neither num_steps nor num_epochs is given; give one.")
  name, value = ("num_epochs", epochs) if steps is None else ("num_steps", steps)
  errors.require(value >= 1, f"{name} = {value}; it must be 1 or more.")
  return value * (n // config.batch_size) if steps is None else value


def _check_support(model: Any, train: Statistics, config: ConfigDict) -> None:
  """Refuses data that the model's decoder cannot give."""
  (low, high), (least, greatest) = model.support, train.range
  errors.require(
    low <= least and greatest <= high,
    f"Model {config.model.name!r} is of x in [{low:g}, {high:g}]; {config.data.name!r} after data.transforms = "
    f"{config.data.transforms} lies in [{least:.4g}, {greatest:.4g}]. Another transform may bring it there.",
  )


def _check_targets(model: Any, parts: Splits, config: ConfigDict) -> None:
  """Refuses data without the targets y that the model is of."""
  if not hasattr(model, "target_support"):
    return
  (low, high), about = model.target_support, f"Model {config.model.name!r} is of y given x"
  errors.require(
    "standardize_targets" not in config.data.transforms or low == -high == -math.inf,
    f"{about}, and of y in [{low:g}, {high:g}] with likelihood {model.likelihood!r}: that of transform "
    "'standardize_targets' is another.",
  )
  for part, arrays in parts.parts().items():
    errors.require("y" in arrays, f"{about}; {config.data.name!r} has no y.")
    y = arrays["y"]
    least, greatest, is_integer = float(y.min()), float(y.max()), jnp.issubdtype(y.dtype, jnp.integer)
    errors.require(
      low <= least and greatest <= high and (model.num_classes is None or is_integer),
      f"{about}, and likelihood {model.likelihood!r} of {'classes' if model.num_classes else 'y'} in [{low:g}, "
      f"{high:g}]; y of {part} of {config.data.name!r} is {y.dtype} in [{least:.4g}, {greatest:.4g}].",
    )


def _check_mask(experiment: Experiment, config: ConfigDict) -> None:
  """Refuses data with missing entries for a model that would take them for zeros."""
  batch = jax.eval_shape(experiment.transforms.train, jax.random.key(0), two_examples(experiment))
  errors.require(
    "mask" not in batch or getattr(experiment.model, "takes_mask", False),
    f"Model {config.model.name!r} is of complete data; x of {config.data.name!r} after data.transforms = "
    f"{config.data.transforms} has missing entries.",
  )


def _trace_a_step(experiment: Experiment, seed: int) -> None:
  """Finds out whether the system can be trained on the data's shapes, without computing anything."""

  def step():
    key = jax.random.key(seed)
    batch = experiment.transforms.train(key, two_examples(experiment) | {"epoch": jnp.zeros(2, jnp.int32)})
    return experiment.system.train_step(make_init(experiment, seed)(), key, batch)

  jax.eval_shape(step)


def _number(loaded: Splits) -> Splits:
  """Adds `index` to every part: the number of each example within the data set, for what is drawn once for each."""
  numbered, start = {}, 0
  for part, arrays in loaded.parts().items():
    n = batches.size(arrays)
    numbered[part] = arrays | {"index": jax.device_get(start + jnp.arange(n, dtype=jnp.int32))}
    start += n
  return loaded._replace(**numbered)


def _compute(config: ConfigDict, model_class: type) -> dict[str, Any]:
  """dtype and remat of the model's networks, what of them is not the default; refuses a model without networks."""
  errors.choose("value of dtype", config.dtype, mlp.DTYPES)
  errors.require(config.remat in (True, False), f"remat = {config.remat!r}; it must be True or False.")
  defaults = {name: getattr(mlp.Networks, name) for name in ("dtype", "remat")}
  asked = {name: config[name] for name, default in defaults.items() if config[name] != default}
  for name, value in asked.items():
    errors.require(
      hasattr(model_class, name),
      f"{name} = {value!r} is of networks, and model {config.model.name!r} has no field {name!r}: leave it at "
      f"{defaults[name]!r}.",
    )
  return asked


def check_evaluation(name: str, evaluation: Any, model: Any) -> None:
  """Refuses an evaluation of a model that lacks a method which it NEEDS."""
  for method in evaluation.NEEDS:
    errors.require(
      hasattr(model, method),
      f"evaluate.{name} needs a model with {' and '.join(evaluation.NEEDS)}; this one has no {method}.",
    )


def _of_data(make: Callable, n: int) -> dict[str, int]:
  """What a principle asks of the data: the number of training examples, for one that keeps something of each."""
  return {"num_examples": n} if "num_examples" in inspect.signature(make).parameters else {}


def load(config: ConfigDict) -> tuple[Splits, transforms.Pipeline]:
  """The data of config.data, numbered, and its transforms: runs that have that section in common can share them."""
  options = {k: v for k, v in config.data.items() if k not in ("name", "transforms", "source")}
  loaded = _number(data.load(config.data.name, **options))
  others = [arrays for part, arrays in loaded.parts().items() if part != "train"]
  return loaded, transforms.make(config.data.transforms, loaded.train, others)


def build(config: ConfigDict, loaded: tuple[Splits, transforms.Pipeline] | None = None) -> Experiment:
  """Loads the data and assembles model, optimiser and system.

  Args:
    config: see configs/.
    loaded: what `load` gave for this config.data; None to load it.

  Raises:
    UserError: a name that does not exist, a number that cannot be, data that cannot be had.
  """
  principle = module(principles, "principle", config.principle)
  model_class = module(models, "model", config.model.name).Model
  compute = _compute(config, model_class)
  errors.choose("value of data.source", config.data.source, sources.KINDS)
  for name, options in config.evaluate.items():
    evaluation = module(evaluate, "evaluation", name)
    evaluation.check(**options)
    check_evaluation(name, evaluation, model_class)
  parts, pipeline = loaded or load(config)
  n = batches.size(parts.train)
  _check_numbers(config, n)
  num_steps = _num_steps(config, n)
  mean = pipeline.statistics.mean
  tx, training = optimisers.make(num_steps=num_steps, **config.optim), optimisers.Options(**config.optim)
  args = config.model.args.to_dict()
  try:
    model = model_class(data_shape=mean.shape, data_mean=tuple(mean.ravel().tolist()), **args, **compute)
    _check_support(model, pipeline.statistics, config)
    _check_targets(model, parts, config)
    system = principle.make(model, tx, **_of_data(principle.make, n), **config.objective)
    if training.ema_decay:
      system = averaging(system, training.ema_decay, training.accumulate)
    experiment = Experiment(model, system, parts, pipeline, num_steps, n // config.batch_size, hyper_parameters(config))
    _check_mask(experiment, config)
    _trace_a_step(experiment, config.seed)
  except (TypeError, NotImplementedError, ValueError, ZeroDivisionError, IndexError, FlaxError) as e:
    reason = (str(e).strip() or type(e).__name__).splitlines()[0]
    raise errors.UserError(
      f"config.model.args = {args} do not make a model {config.model.name!r}: {reason} (DGM_TRACEBACK=1 shows where)"
    ) from e
  return experiment

"""Builds an experiment from a config.  All names and numbers are validated here, before anything compiles."""

import contextlib
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, config_dict

from dgm_jax import data, evaluate, models, principles
from dgm_jax.core import batches, errors, files, options, renamed
from dgm_jax.core.registry import module
from dgm_jax.core.system import averaging
from dgm_jax.data import pipeline as pipelines
from dgm_jax.data import sources
from dgm_jax.data.splits import Splits
from dgm_jax.training import optimisers
from dgm_jax.training.checks import (
  check_evaluation,
  check_mask,
  check_numbers,
  check_support,
  check_targets,
  networks_options,
  num_steps,
)
from dgm_jax.training.experiment import Experiment, hyper_parameters, make_init, two_examples

_FLAX_FIELDS = ("parent", "name", "dtype", "remat")  # of every Flax module, or set by other keys of the config


def data_section(name: str, transforms: tuple[str, ...] = ()) -> ConfigDict:
  """config.data for a data set: its name, its options at their defaults, and the keys of every data set.

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


def _trace_a_step(experiment: Experiment, seed: int) -> None:
  """Traces a training step on the shapes of the data, without computing it, so that mistakes are found early."""

  def step():
    key = jax.random.key(seed)
    batch = experiment.transforms.train(key, two_examples(experiment) | {"epoch": jnp.zeros(2, jnp.int32)})
    return experiment.system.train_step(make_init(experiment, seed)(), key, batch)

  jax.eval_shape(step)


def _number(loaded: Splits) -> Splits:
  """Adds `index` to every part: the number of each example in the data set, for random draws made once per example."""
  numbered, start = {}, 0
  for part, arrays in loaded.parts().items():
    n = batches.size(arrays)
    numbered[part] = arrays | {"index": jax.device_get(start + jnp.arange(n, dtype=jnp.int32))}
    start += n
  return loaded._replace(**numbered)


def _objective(make: Callable, config: ConfigDict, n: int) -> dict[str, Any]:
  """config.objective, validated, with num_examples for a principle that takes it."""
  of_data = {"num_examples": n} if "num_examples" in inspect.signature(make).parameters else {}
  given = config.objective.to_dict()
  options.check(f"principle {config.principle!r} (config.objective)", make, given, ("model", "tx", *of_data))
  return of_data | given


@contextlib.contextmanager
def _arguments_of_the_model(config: ConfigDict) -> Iterator[None]:
  """Adds config.model.args to the message if one of the model's own checks fails; other errors are not changed."""
  try:
    yield
  except errors.UserError as e:
    args = config.model.args.to_dict()
    raise errors.UserError(f"config.model.args = {args} are invalid for model {config.model.name!r}: {e}") from e


def load(config: ConfigDict) -> tuple[Splits, pipelines.Pipeline]:
  """Loads the data of config.data, numbered, and their transforms; runs with the same config.data can share them."""
  given = {k: v for k, v in config.data.items() if k not in ("name", "transforms", "source")}
  loaded = _number(data.load(config.data.name, **given))
  others = [arrays for part, arrays in loaded.parts().items() if part != "train"]
  return loaded, pipelines.make(config.data.transforms, loaded.train, others)


def build(config: ConfigDict, loaded: tuple[Splits, pipelines.Pipeline] | None = None) -> Experiment:
  """Loads the data and assembles model, optimiser and system.

  Args:
    config: see configs/.
    loaded: the result of `load` for this config.data; None to load it here.

  Raises:
    UserError: an unknown name, an invalid number, or data that are missing or do not fit the model.
  """
  for path, value in files.flatten(config.to_dict()).items():
    renamed.check(path, value)
  principle = module(principles, "principle", config.principle)
  model_class = module(models, "model", config.model.name).Model
  compute = networks_options(config, model_class)
  errors.choose("value of data.source", config.data.source, sources.KINDS)
  for name, given in config.evaluate.items():
    evaluation = module(evaluate, "evaluation", name)
    options.check(f"evaluate.{name}", evaluation.check, given)
    evaluation.check(**given)
    check_evaluation(name, evaluation, model_class)
  parts, pipeline = loaded or load(config)
  n = batches.size(parts.train)
  check_numbers(config, n)
  steps = num_steps(config, n)
  tx, training = optimisers.make(num_steps=steps, **config.optim), optimisers.Options(**config.optim)
  mean = pipeline.statistics.mean
  of_data = {"data_shape": mean.shape, "data_mean": tuple(mean.ravel().tolist())}
  with _arguments_of_the_model(config):
    options.check(f"model {config.model.name!r}", model_class, config.model.args.to_dict(), (*of_data, *_FLAX_FIELDS))
    model = model_class(**of_data, **config.model.args.to_dict(), **compute)
    check_support(model, pipeline.statistics, config)
  check_targets(model, parts, config)
  system = principle.make(model, tx, **_objective(principle.make, config, n))
  if training.ema_decay:
    system = averaging(system, training.ema_decay, training.accumulate)
  experiment = Experiment(model, system, parts, pipeline, steps, n // config.batch_size, hyper_parameters(config))
  check_mask(experiment, config)
  with _arguments_of_the_model(config):
    _trace_a_step(experiment, config.seed)
  return experiment

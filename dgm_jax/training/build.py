"""Builds an experiment from a config.  All names and numbers are validated here, before anything compiles."""

import contextlib
import inspect
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dgm_jax import data, evaluate, models, principles
from dgm_jax.core import batches, errors, files, memory, options, references, renamed
from dgm_jax.core.registry import definition, entries, module
from dgm_jax.core.system import averaging
from dgm_jax.data import pipeline as pipelines
from dgm_jax.data import sources, units
from dgm_jax.data.splits import Splits
from dgm_jax.evaluate import chosen
from dgm_jax.training import given_by_data, labels, optimisers, settings, signatures
from dgm_jax.training.checks import (
  batch_size,
  check_evaluation,
  check_given,
  check_mask,
  check_model,
  check_numbers,
  check_real,
  check_support,
  check_targets,
  check_values,
  log_every,
  networks_options,
  num_steps,
)
from dgm_jax.training.experiment import Experiment, first_examples, hyper_parameters, make_init, two_examples
from dgm_jax.training.tracking import evaluations as tracked

_GIVEN = ("model", "tx", "num_examples", "num_steps", "held_out")  # arguments of a principle's make that are no options
_FLAX_FIELDS = ("parent", "name", "dtype", "remat")  # of every Flax module, or set by other keys of the config


def data_section(name: str, transforms: tuple[str, ...] = ()) -> ConfigDict:
  """config.data for a data set: its name, its options at their defaults, and the keys of every data set.

  Args:
    name: see data.names().
    transforms: applied in this order inside the step; see data.transforms.
  """
  config = ConfigDict({"name": name, "transforms": transforms, "source": "auto"})  # auto, resident or streaming
  return signatures.fill(config, data.options(name))


def _trace(experiment: Experiment, seed: int, whole: bool, rows: int) -> Any:
  """The jaxpr of a training step on `rows` examples: traced, not computed, so that mistakes are found early.

  With `whole`, for a model or a principle of the user's own, also everything that the run does later.
  """
  system = experiment.system

  def step():
    key = jax.random.key(seed)
    examples = first_examples(experiment, rows)
    batch = experiment.transforms.train(key, examples | {"epoch": jnp.zeros(rows, jnp.int32)})
    state, metrics = system.train_step(make_init(experiment, seed)(), key, batch)
    if not whole:
      return metrics
    batch = experiment.transforms.evaluate(key, two_examples(experiment))
    later = [system.eval_step(state, key, batch)]
    later += [system.sample(state, key, 2)] if system.sample else []
    return metrics, later, system.pictures(state, key, batch) if system.pictures else None

  return jax.make_jaxpr(step)()


def _number(loaded: Splits) -> Splits:
  """Adds `index` to every part: the number of each example in the data set, for random draws made once per example."""
  numbered, start = {}, 0
  for part, arrays in loaded.parts().items():
    n = batches.size(arrays)
    numbered[part] = arrays | {"index": jax.device_get(start + jnp.arange(n, dtype=jnp.int32))}
    start += n
  return loaded._replace(**numbered)


def model_arguments(name: str) -> ConfigDict:
  """config.model.args of a model: the arguments of its constructor, at their defaults.  Raises UserError if unknown."""
  return signatures.section(definition(models, "model", name), (*given_by_data.FIELDS, *_FLAX_FIELDS))


def objective_section(principle: str) -> ConfigDict:
  """config.objective of a principle: its options at their defaults.  Raises UserError if there is no such principle."""
  config = signatures.section(definition(principles, "principle", principle), _GIVEN)
  if of := getattr(module(principles, "principle", principle), "Options", None):
    config.update(of._field_defaults)
  return config


def evaluation_section(place: str) -> ConfigDict:
  """{name: options at their defaults} in config.evaluate of an evaluation, also of a module of one's own."""
  own = references.parse(place)
  found = chosen.find(place, {"from": place} if own else {})
  section = signatures.section(found.run, tuple(inspect.signature(found.run).parameters)[: chosen.NUM_GIVEN])
  if own is None:
    return ConfigDict({place: section})
  section["from"] = place
  stem = pathlib.PurePath(own.place).stem if own.place.endswith(".py") else own.place.rpartition(".")[2]
  return ConfigDict({stem: section})


def with_evaluations(config: ConfigDict, asked: Iterable[str]) -> ConfigDict:
  """The config with a section, at its defaults, for each evaluation that a path evaluate.NAME.OPTION or
  track.NAME.OPTION asks for."""
  for path in asked:
    section, _, rest = path.partition(".")
    name, dot, _ = rest.partition(".")
    sections = {"evaluate": config.evaluate, "track": config.get("track", {})}
    if section in sections and dot and name not in sections[section] and name in entries(evaluate, "evaluation"):
      made = evaluation_section(name)
      if section == "track" and "against" in made[name]:  # the part that is evaluated during training
        del made[name]["against"]
      with config.unlocked():
        config[section].update(made)
  return config


def _arguments(config: ConfigDict, model_class: type) -> dict[str, Any]:
  return signatures.given(model_class, config.model.args.to_dict())


def _chosen(config: ConfigDict) -> tuple[Callable, type, dict[str, Any]]:
  """(make of the principle, class of the model, its dtype and remat), checked as far as that needs no data."""
  principle, make = (f(principles, "principle", config.principle) for f in (module, definition))
  model_class = definition(models, "model", config.model.name)
  check_model(model_class, config, getattr(principle, "REQUIRES", ()))
  compute = networks_options(config, model_class)
  errors.choose("value of data.source", config.data.source, sources.KINDS)
  for name, given in config.evaluate.items():
    check_evaluation(chosen.find(name, given), model_class)
  for evaluation in tracked(config):
    check_evaluation(evaluation, model_class, "track")
  of_config = config.objective.to_dict()
  options.check(f"principle {config.principle!r} (config.objective)", make, of_config, _GIVEN)
  with _arguments_of_the_model(config):
    args = _arguments(config, model_class)
    options.check(f"model {config.model.name!r}", model_class, args, (*given_by_data.FIELDS, *_FLAX_FIELDS))
  return make, model_class, compute


@contextlib.contextmanager
def _arguments_of_the_model(config: ConfigDict) -> Iterator[None]:
  """Says which model, and which options it has, if one of the model's own checks fails."""
  try:
    yield
  except errors.UserError as e:
    sentence, args = str(e), config.model.args.to_dict()
    if sentence.startswith("Model "):
      raise
    named = any(name in sentence for name in args)
    what = "config.model.args" if named else f"config.model.args = {args}"
    raise errors.UserError(f"Model {config.model.name!r} ({what}): {sentence}") from e


def _players(config: ConfigDict) -> tuple[tuple[str, ...], int]:
  """(the players that a principle trains, () where there is only the model; batches that a step takes)."""
  principle = module(principles, "principle", config.principle)
  batches_of = getattr(principle, "batches", None)
  return tuple(getattr(principle, "PLAYERS", ())), batches_of(**config.objective.to_dict()) if batches_of else 1


def _transformations(config: ConfigDict, players: tuple[str, ...], steps: int) -> Any:
  """The optimiser, or {player: its optimiser}; objective.num_PLAYER is a player's number of updates in a step."""
  if not players:
    return optimisers.make(num_steps=steps, **config.optim)
  updates = {player: max(1, steps * config.objective.get(f"num_{player}", 1)) for player in players}
  return optimisers.make_players(players, updates, **config.optim.to_dict())


def load(config: ConfigDict) -> tuple[Splits, pipelines.Pipeline]:
  """Loads the data of config.data, numbered, and their transforms; runs with the same config.data can share them."""
  given = {k: v for k, v in config.data.items() if k not in ("name", "transforms", "source")}
  loaded = units.reduced(_number(data.load(config.data.name, **given)), config.data.transforms)
  others = [arrays for part, arrays in loaded.parts().items() if part != "train"]
  return loaded, pipelines.make(config.data.transforms, loaded.train, others, **pipelines.of_about(loaded.about))


def build(config: ConfigDict, loaded: tuple[Splits, pipelines.Pipeline] | None = None) -> Experiment:
  """Loads the data and assembles model, optimiser and system.

  Args:
    config: see configs/.
    loaded: the result of `load` for this config.data; None to load it here.

  Raises:
    UserError: an unknown name, an invalid number, or data that are missing or do not fit the model.
  """
  settings.check(config)
  for path, value in files.flatten(config.to_dict()).items():
    renamed.check(path, value)
  make_system, model_class, compute = _chosen(config)
  parts, pipeline = loaded or load(config)
  n = batches.size(parts.train)
  players, per_step = _players(config)
  check_numbers(config, n, per_step)
  if check_batch := getattr(module(principles, "principle", config.principle), "check_batch", None):
    check_batch(batch_size(config, n), **config.objective.to_dict())
  steps = num_steps(config, n, per_step)
  tx = _transformations(config, players, steps)
  check_given(model_class, pipeline, config)
  with _arguments_of_the_model(config):
    of_data = given_by_data.arguments(model_class, pipeline, parts)
    model = model_class(**of_data, **_arguments(config, model_class), **compute)
    check_support(model, pipeline.statistics, config)
    check_values(model, pipeline, config)
    labels.check(model, parts)
  check_real(model, parts.train["x"].dtype.kind in "iub", pipeline.dequantizes, config)
  check_targets(model, parts, config)
  of_set = {"num_examples": n, "num_steps": steps, "held_out": given_by_data.held_out(parts, pipeline)}
  of_set = {name: v for name, v in of_set.items() if name in inspect.signature(make_system).parameters}
  system = make_system(model, tx, **of_set, **config.objective.to_dict())
  if decay := config.optim.get("ema_decay", 0.0):
    every, start = config.optim.get("accumulate", 1), config.optim.get("ema_start", 0)
    system = averaging(system, decay, every, players[0] if players else None, start)
  size, chunk = batch_size(config, n), log_every(config, n, per_step)
  epoch = n // (size * per_step)
  experiment = Experiment(model, system, parts, pipeline, steps, epoch, hyper_parameters(config), size, chunk)
  check_mask(experiment, config)
  with _arguments_of_the_model(config):
    own = references.is_own(config.model.name) or references.is_own(config.principle)
    # two players divide the examples of a step among batches and packs
    step = _trace(experiment, config.seed, own, experiment.examples_per_step if players else 2)
  memory.check(step, "A training step", errors.SMALLER)
  return experiment

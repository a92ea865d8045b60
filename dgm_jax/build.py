"""From a config to what the loop runs.  Every name and number is checked here, before anything compiles."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import FlaxError
from ml_collections import ConfigDict

from dgm_jax import data, errors, evaluate, models, optim, principles, rng
from dgm_jax.data import splits, transforms
from dgm_jax.system import System


class Experiment(NamedTuple):
  """All that a config stands for.

  Attributes:
    model: the Flax module.
    system: its pure functions.
    splits: the data, on the host.
    transform: (key, batch) -> batch, applied inside the compiled step.
    num_steps: updates in the whole run.
    steps_per_epoch: updates in one pass over the training set.
    hparams: {config path: float}, the numbers that may differ between lanes of one program.
  """

  model: nn.Module
  system: System
  splits: splits.Splits
  transform: Callable
  num_steps: int
  steps_per_epoch: int
  hparams: dict[str, float]


def module(package: Any, what: str, name: str) -> Any:
  """The module `name` of a package whose modules are the choices: the file name is the registry."""
  names = [m.name for m in pkgutil.iter_modules(package.__path__)]
  return importlib.import_module(f"{package.__name__}.{errors.choose(what, name, names)}")


def make_init(experiment: Experiment, seed: int) -> Callable[[], Any]:
  """() -> the state at step 0, a function of the seed."""
  key = rng.stream(jax.random.key(seed), "init")

  def init():
    key_transform, key_init = jax.random.split(key)
    examples = jax.tree.map(lambda a: jnp.asarray(a[:2]), experiment.splits.train)
    hparams = {k: jnp.float32(v) for k, v in experiment.hparams.items()}
    return experiment.system.init(key_init, experiment.transform(key_transform, examples), hparams)

  return init


def hyper_parameters(config: ConfigDict) -> dict[str, float]:
  """The float leaves of config.optim and config.objective by their paths, e.g. {"optim.lr": 1e-3}."""
  return {
    f"{section}.{name}": value
    for section in ("optim", "objective")
    for name, value in config[section].items()
    if isinstance(value, float)
  }


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
  errors.require(0 <= config.seed < 2**32, f"seed = {config.seed}; it must be in 0 .. 2^32 - 1.")


def _num_steps(config: ConfigDict, n: int) -> int:
  """config.num_steps if it is given, else config.num_epochs of n // batch_size steps."""
  steps, epochs = config.num_steps, config.num_epochs
  errors.require(steps is not None or epochs is not None, "Neither num_steps nor num_epochs is given; give one.")
  name, value = ("num_epochs", epochs) if steps is None else ("num_steps", steps)
  errors.require(value >= 1, f"{name} = {value}; it must be 1 or more.")
  return value * (n // config.batch_size) if steps is None else value


def build(config: ConfigDict) -> Experiment:
  """Loads the data and assembles model, optimiser and system.

  Raises:
    UserError: a name that does not exist, a number that cannot be, data that cannot be had.
  """
  principle = module(principles, "principle", config.principle)
  model_class = module(models, "model", config.model.name).Model
  transform = transforms.binarize(config.data.binarization)
  for name, options in config.evaluate.items():
    module(evaluate, "evaluation", name).check(**options)
  options = {k: v for k, v in config.data.items() if k not in ("name", "binarization")}
  loaded = data.load(config.data.name, **options)
  n = splits.size(loaded.train)
  _check_numbers(config, n)
  num_steps = _num_steps(config, n)
  mean = transforms.expected_mean(config.data.binarization, loaded.train["x"])
  tx = optim.make(num_steps=num_steps, **config.optim)
  args = config.model.args.to_dict()
  try:
    model = model_class(data_shape=mean.shape, data_mean=tuple(mean.ravel().tolist()), **args)
    system = principle.make(model, tx, **config.objective)
    experiment = Experiment(
      model, system, loaded, transform, num_steps, n // config.batch_size, hyper_parameters(config)
    )
    jax.eval_shape(make_init(experiment, config.seed))
  except (TypeError, ValueError, ZeroDivisionError, IndexError, FlaxError) as e:
    reason = (str(e).strip() or type(e).__name__).splitlines()[0]
    raise errors.UserError(
      f"config.model.args = {args} do not make a model {config.model.name!r}: {reason} (DGM_TRACEBACK=1 shows where)"
    ) from e
  return experiment

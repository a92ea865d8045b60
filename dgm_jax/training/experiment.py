"""The objects that a config describes, and the state at step 0."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dgm_jax.core import batches, files, rng
from dgm_jax.core.system import System
from dgm_jax.data import pipeline
from dgm_jax.data.splits import Splits
from dgm_jax.training import optimisers


class Experiment(NamedTuple):
  """The objects that a config describes.

  Attributes:
    model: the Flax module.
    system: its pure functions.
    splits: the data, on the host; every example has an `index`, numbered through train, valid and test.
    transforms: what is applied to a batch inside the compiled step, in training and in evaluation.
    num_steps: training steps of the whole run.
    steps_per_epoch: training steps of one pass over the training set, at least 1.
    hparams: {config path: float}, the numbers that may differ between lanes of one program.
    batch_size: examples of a batch: config.batch_size, or all training examples if that is 0.
    log_every: steps of one compiled program: config.log_every, or an epoch if that is 0.
  """

  model: nn.Module
  system: System
  splits: Splits
  transforms: pipeline.Pipeline
  num_steps: int
  steps_per_epoch: int
  hparams: dict[str, float]
  batch_size: int
  log_every: int

  @property
  def examples_per_step(self) -> int:
    """Examples that a step takes: a batch, or several for a game of two players."""
    return self.batch_size * self.system.batches

  def __repr__(self) -> str:
    name = f"{type(self.model).__module__}.{type(self.model).__qualname__}"
    return (
      f"Experiment: {name}, {self.num_steps:,} steps, {self.steps_per_epoch:,} in an epoch\n{self.system}\n"
      f"{self.splits}\nhparams: {', '.join(f'{k}={v:g}' for k, v in self.hparams.items())}"
    )


# All runs are evaluated with the same key, whatever their seeds: on the same binarised images with the same noise, so
# that they can be compared example by example.
_EVALUATION_SEED = 0


def evaluation_key() -> jax.Array:
  """The key of all final evaluations."""
  return rng.stream(jax.random.key(_EVALUATION_SEED), "eval")


def two_examples(experiment: Experiment) -> dict[str, jax.Array]:
  """A batch of two examples, for code that depends only on shapes."""
  return first_examples(experiment, 2)


def first_examples(experiment: Experiment, n: int) -> dict[str, jax.Array]:
  """The first n training examples."""
  return jax.tree.map(lambda a: jnp.asarray(a[:n]), experiment.splits.train)


def init_examples(experiment: Experiment) -> dict[str, jax.Array]:
  """What `init` gets: two examples, or the model's `num_examples_for_init`, for a start that depends on the data.

  They are evenly spaced over the training set, which may be sorted by class.
  """
  wanted = getattr(experiment.model, "num_examples_for_init", 0)
  if not wanted:
    return two_examples(experiment)
  return jax.tree.map(jnp.asarray, batches.evenly_spaced(experiment.splits.train, wanted))


def make_init_of(experiment: Experiment) -> Callable:
  """Makes (key of the run, {config path: number}) -> the state at step 0."""

  def init(key, hparams):
    key_transform, key_init = jax.random.split(rng.stream(key, "init"))
    examples = init_examples(experiment)
    return experiment.system.init(key_init, experiment.transforms.train(key_transform, examples), hparams)

  return init


def make_init(experiment: Experiment, seed: int) -> Callable[[], Any]:
  """Makes () -> the state at step 0, a function of the seed."""
  key, init = jax.random.key(seed), make_init_of(experiment)
  return lambda: init(key, {k: jnp.float32(v) for k, v in experiment.hparams.items()})


def hyper_parameters(config: ConfigDict) -> dict[str, float]:
  """The float leaves of config.optim and config.objective by path, {"optim.lr": 1e-3}, except static ones.

  config.optim may have sections of further players, as in "optim.discriminator.lr".
  """
  flat = files.flatten({section: config[section].to_dict() for section in ("optim", "objective")})
  is_static = lambda path, value: path.startswith("optim.") and optimisers.is_static(path.rpartition(".")[2], value)
  return {path: value for path, value in flat.items() if isinstance(value, float) and not is_static(path, value)}

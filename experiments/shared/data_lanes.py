"""Trains one config on many data sets of one shape at once: a lane for each data set and seed, in one compiled program.

In a sweep, runs are lanes only if they share their data.  Here each data set, a random split or mask of one table that
is transformed beforehand, has its own lanes.  A lane has the seed, batches, noise and results of a single run.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dgm_jax.core import evaluation
from dgm_jax.evaluate import imputation, normalisation
from dgm_jax.inference.predictions import predictive, targets
from dgm_jax.training import build, programs
from dgm_jax.training.experiment import Experiment, evaluation_key, make_init_of

_RADIUS = 30.0  # of the grid of an integral, in standard deviations: tables have distant rows


class Trained(NamedTuple):
  """Trained lanes.

  Attributes:
    experiment: built from the first config.
    parts: {part: arrays} for each of the S data sets, after its own transforms, on the host.
    states: training states, leaves [S, M, ...].
  """

  experiment: Experiment
  parts: list[dict[str, dict[str, np.ndarray]]]
  states: Any

  def state(self, s: int, m: int) -> Any:
    """The training state of seed m on data set s."""
    return jax.tree.map(lambda a: a[s, m], self.states)


def _identity(key: jax.Array, batch: dict) -> dict:
  del key
  return batch


def _transformed(loaded: tuple[Any, Any]) -> dict[str, dict[str, np.ndarray]]:
  splits, pipeline = loaded
  return {
    part: jax.device_get(pipeline.evaluate(jax.random.key(0), {k: jnp.asarray(a) for k, a in arrays.items()}))
    for part, arrays in splits.parts().items()
  }


def train(configs: Sequence[ConfigDict], seeds: Sequence[Sequence[int]], eval_every: int = 0) -> Trained:
  """Trains M seeds on each data set.

  Args:
    configs: one for each data set; they differ only in data.transforms, data.split_seed or data.fold, and their
      transforms map an example to the same values at every use, in training and in evaluation.
    seeds: [S][M].
    eval_every: after this many steps, which divide the steps of a run, the validation set is evaluated, and each lane
      ends with the parameters that had the best mean log p(x) on it; 0: with the last ones.
  """
  loaded = [build.load(config) for config in configs]
  parts = [_transformed(each) for each in loaded]
  data = {k: jnp.stack([part["train"][k] for part in parts]) for k in parts[0]["train"]}
  experiment = build.build(configs[0], loaded[0])
  keys = jnp.stack([jnp.stack([jax.random.key(seed) for seed in row]) for row in seeds])
  hparams = {k: jnp.float32(v) for k, v in experiment.hparams.items()}
  init = lambda key: make_init_of(experiment)(key, hparams)
  states = jax.jit(jax.vmap(jax.vmap(init)))(keys)
  held_out = {k: jnp.stack([part["valid"][k] for part in parts]) for k in parts[0]["valid"]} if eval_every else data
  over_members = jax.vmap(_lane(experiment, eval_every), (0, 0, None, None))
  return Trained(experiment, parts, jax.jit(jax.vmap(over_members), donate_argnums=0)(states, keys, data, held_out))


def _lane(experiment: Experiment, eval_every: int) -> Callable:
  """(state, key, training set, validation set) -> the trained state; see `train`."""
  system, steps = experiment.system, experiment.num_steps
  chunk = programs.make_train_chunk(system, _identity, experiment.batch_size, eval_every or steps)
  if not eval_every:
    return lambda state, key, data, held_out: chunk(state, key, data)[0]

  def lane(state, key, data, held_out):
    def step(carry, _):
      state, best, most = carry
      state, _ = chunk(state, key, data)
      log_px = jnp.mean(system.eval_step(state, evaluation_key(), held_out)["log_px"])
      best = jax.tree.map(lambda new, old: jnp.where(log_px > most, new, old), state.params, best)
      return (state, best, jnp.maximum(log_px, most)), None

    start = (state, state.params, -jnp.inf)
    (state, best, _), _ = jax.lax.scan(step, start, None, length=steps // eval_every)
    return state.replace(params=best)

  return lane


def predictions(configs: Sequence[ConfigDict], seeds: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
  """Predictions of each trained lane on its split's test set.

  Args:
    configs, seeds: as in `train`, for S splits.

  Returns:
    log_py [S, M, N], mean and variance [S, M, N, T], y [S, N, T], in nats and in the units of y before the transforms.
  """
  trained = train(configs, seeds)
  options, model = configs[0].evaluate.predictive, trained.experiment.model

  def step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    found = predictive(model, variables, key, batch, options.num_samples)
    return found | {"y": targets(model, batch)}

  run, key = evaluation.make_evaluate_examples(step, _identity, options.batch_size), evaluation_key()
  lane = lambda s, m: run(trained.state(s, m), key, trained.parts[s]["test"])
  found = [[lane(s, m) for m in range(len(row))] for s, row in enumerate(seeds)]
  stacked = jax.tree.map(lambda *a: np.stack(a), *[jax.tree.map(lambda *a: np.stack(a), *row) for row in found])
  return stacked | {"y": stacked["y"][:, 0]}


def log_likelihoods(configs: Sequence[ConfigDict], eval_every: int = 0, num_points: int = 0) -> dict[str, np.ndarray]:
  """log p(x) of the test rows and of the validation rows of each fold, one after another, nats of the transformed x.

  Args:
    configs: as in `train`, for S folds; the seed of a lane is that of its config.
    eval_every: see `train`.
    num_points: on a grid by which the conditional densities of the first fold are integrated; 0: they are not.

  Returns:
    log_px, valid_log_px, and the fold of each of their rows: fold, valid_fold; with num_points,
    what evaluate.normalisation gives.
  """
  trained = train(configs, [[config.seed] for config in configs], eval_every)
  run = evaluation.make_evaluate_examples(trained.experiment.system.eval_step, _identity, configs[0].eval_batch_size)
  found = {}
  for prefix, part in (("", "test"), ("valid_", "valid")):
    of = [run(trained.state(s, 0), evaluation_key(), parts[part])["log_px"] for s, parts in enumerate(trained.parts)]
    found[f"{prefix}log_px"] = np.concatenate(of)
    found[f"{prefix}fold"] = np.repeat(np.arange(len(of)), [len(a) for a in of])
  if num_points:
    first, options = trained.experiment, {"num_points": num_points, "radius": _RADIUS}
    whole = normalisation.evaluate(first, trained.state(0, 0), evaluation_key(), first.splits.test, **options)
    found |= {name: np.array(value) for name, value in whole.items()}
  return found


def imputation_errors(configs: Sequence[ConfigDict], seeds: Sequence[int]) -> dict[str, np.ndarray]:
  """Mean squared errors "mse" [S] of hidden entries, imputed by one lane for each mask.

  Args:
    configs: as in `train`, for S masks; for evaluate.imputation see dgm_jax/evaluate/imputation.py.
    seeds: [S], one for each mask.
  """
  trained = train(configs, [[seed] for seed in seeds])
  options, key = configs[0].evaluate.imputation, evaluation_key()
  run = imputation.make(trained.experiment.model, _identity, options.num_samples, options.batch_size, options.chunk)
  found = [run((trained.state(s, 0), key), key, trained.parts[s][options.part]) for s in range(len(seeds))]
  return {"mse": np.stack([imputation.mean_squared_error(values) for values in found])}

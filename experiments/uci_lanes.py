"""Trains one config on many random splits at once: a lane for each split and member, in one compiled program.

The runs of a sweep are lanes where they share their data; here each split has its own, of the same shape, standardised
beforehand.  A lane's seed, batches, noise and numbers are those of the lone run of its config.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dgm_jax import build, programs, rng
from dgm_jax.principles import likelihood


def _identity(key: jax.Array, batch: dict) -> dict:
  del key
  return batch


def _transformed(loaded: tuple[Any, Any]) -> dict[str, dict[str, np.ndarray]]:
  """{part: arrays} of a split, after its own transforms."""
  splits, pipeline = loaded
  return {
    part: jax.device_get(pipeline.evaluate(jax.random.key(0), {k: jnp.asarray(a) for k, a in arrays.items()}))
    for part, arrays in splits.parts().items()
  }


def _train(experiment: build.Experiment, config: ConfigDict, data: dict, seeds: Sequence[Sequence[int]]) -> Any:
  """States [S, M] of the lanes at the end; data [S, N, ...]."""
  keys = jnp.stack([jnp.stack([jax.random.key(seed) for seed in row]) for row in seeds])
  hparams = {k: jnp.float32(v) for k, v in experiment.hparams.items()}
  init = lambda key: build.make_init_of(experiment)(key, hparams)
  states = jax.jit(jax.vmap(jax.vmap(init)))(keys)
  chunk = programs.make_train_chunk(experiment.system, _identity, config.batch_size, experiment.num_steps)
  over_members = jax.vmap(lambda state, key, data: chunk(state, key, data)[0], (0, 0, None))
  return jax.jit(jax.vmap(over_members), donate_argnums=0)(states, keys, data)


def predictions(configs: Sequence[ConfigDict], seeds: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
  """What each trained lane predicts of its split's test set.

  Args:
    configs: of each split; they differ in data.split_seed alone.
    seeds: of the members of each split.

  Returns:
    log_py [S, M, N], mean and variance [S, M, N, T], y [S, N, T]; nats, and units of y before the transforms.
  """
  loaded = [build.load(config) for config in configs]
  parts = [_transformed(each) for each in loaded]
  data = {k: jnp.stack([part["train"][k] for part in parts]) for k in parts[0]["train"]}
  experiment = build.build(configs[0], loaded[0])
  states = _train(experiment, configs[0], data, seeds)
  options, model = configs[0].evaluate.predictive, experiment.model

  def step(state, key, batch):
    variables = {"params": state.params, **state.variables}
    found = likelihood.predictive(model, variables, key, batch, options.num_samples)
    return found | {"y": likelihood.targets(model, batch)}

  run = programs.make_evaluate_examples(step, _identity, options.batch_size)
  key = rng.stream(jax.random.key(0), "eval")  # that of every run's final evaluation
  lane = lambda s, m: run(jax.tree.map(lambda a: a[s, m], states), key, parts[s]["test"])
  found = [[lane(s, m) for m in range(len(row))] for s, row in enumerate(seeds)]
  stacked = jax.tree.map(lambda *a: np.stack(a), *[jax.tree.map(lambda *a: np.stack(a), *row) for row in found])
  return stacked | {"y": stacked["y"][:, 0]}

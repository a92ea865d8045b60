"""Accuracy of the nearest neighbour among the training digits, in the features of a BiGAN's encoder."""

from typing import Any

import jax
import numpy as np

from dgm_jax.core.evaluation import make_evaluate_examples
from dgm_jax.evaluate.sample_metrics import distances
from dgm_jax.training.experiment import make_init

NAMES = ("hidden", "code")
_ROWS = 500


def _features(experiment: Any, state: Any, part: str) -> dict[str, np.ndarray]:
  """{"hidden" [N, H], "code" [N, L]} of a part of the data."""

  def step(state, key, batch):
    model = experiment.model.bind({"params": state.params, **state.variables})
    return {"hidden": model.features(batch), "code": model.encode(batch)}

  run = make_evaluate_examples(step, experiment.transforms.evaluate, _ROWS)
  found = run(state, jax.random.key(0), getattr(experiment.splits, part))
  return {name: np.asarray(found[name]) for name in NAMES}


def accuracies(experiment: Any, state: Any) -> np.ndarray:
  """Of the validation examples, in the last hidden layer and in E(x), in per cent."""
  train, valid = (_features(experiment, state, part) for part in ("train", "valid"))
  labels, true = experiment.splits.train["y"], experiment.splits.valid["y"]
  nearest = lambda name: distances.nearest(valid[name], train[name])[1]
  return np.array([100 * np.mean(labels[nearest(name)] == true) for name in NAMES])


def measure(run: Any) -> dict[str, np.ndarray]:
  """{"trained", "untrained": accuracies}, the latter of the run's own state at step 0."""
  first = jax.jit(make_init(run.experiment, run.config.seed))()
  return {"trained": accuracies(run.experiment, run.state), "untrained": accuracies(run.experiment, first)}

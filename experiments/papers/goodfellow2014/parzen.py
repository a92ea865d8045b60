"""Parzen windows around the samples of a run's checkpoints, and around what needs no model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import rng
from dgm_jax.core.evaluation import make_prepare
from dgm_jax.evaluate.sample_metrics import distances, parzen
from dgm_jax.training.restore import restore
from dgm_jax.training.workdir import checkpoint

CENTRES = 10_000
_PASSES = 10  # of Lloyd's algorithm
_DRAWS = 1000  # samples at once
_CHOICES = 4  # random choices of training digits


def _pixels(experiment: Any, part: str) -> np.ndarray:
  """x of a part after the transforms, [N, D]."""
  arrays = getattr(experiment.splits, part)
  key, found = jax.random.key(0), []
  apply = jax.jit(lambda batch: experiment.transforms.evaluate(key, batch)["x"])
  for start in range(0, len(arrays["x"]), _DRAWS):
    found.append(np.asarray(apply({k: jnp.asarray(v[start : start + _DRAWS]) for k, v in arrays.items()})))
  x = np.concatenate(found)
  return x.reshape(len(x), -1)


def _samples(experiment: Any, state: Any, n: int) -> np.ndarray:
  draw = jax.jit(experiment.system.sample, static_argnums=2)
  key, size = rng.stream(jax.random.key(0), "sample"), min(n, _DRAWS)
  state = make_prepare(experiment.system)(state)
  parts = [np.asarray(draw(state, jax.random.fold_in(key, i), size)) for i in range(-(-n // size))]
  x = np.concatenate(parts)[:n]
  return x.reshape(len(x), -1)


def score(centres: np.ndarray, valid: np.ndarray, test: np.ndarray) -> np.ndarray:
  """[mean log-likelihood of the test examples, its standard error, sigma], nats."""
  values, sigma = parzen.chosen(centres, valid, test)
  return np.array([values.mean(), values.std(ddof=1) / np.sqrt(len(values)), sigma])


def clusters(x: np.ndarray, count: int, passes: int = _PASSES, seed: int = 0) -> np.ndarray:
  """Centres of k-means after some passes of Lloyd's algorithm, from `count` examples drawn at random."""
  centres = x[np.random.RandomState(seed).choice(len(x), count, replace=False)].astype(np.float64)
  for _ in range(passes):
    _, nearest = distances.nearest(x, centres)
    number = np.bincount(nearest, minlength=count)
    sums = np.zeros_like(centres)
    np.add.at(sums, nearest, x)
    centres = np.where(number[:, None] > 0, sums / np.maximum(number, 1)[:, None], centres)
  return centres


def without_a_model(run: Any) -> dict[str, np.ndarray]:
  """{"digits", "centres"}: scores of training examples, and of k-means centres of all of them, as windows.

  The choice of training digits matters: of MNIST's first 50,000, six random choices of 10,000 have 243.1 nats with a
  standard deviation of 0.5, the first 10,000 have 241.2 and the last 238.0; so "digits" is the mean over four random
  choices, by the seeds 0 to 3.  Sigma is 0.167 for all of them, the best of ten values for the validation digits 50,000
  to 51,000; between these values, 0.175 would give 2.7 nats more.
  """
  train, valid, test = (_pixels(run.experiment, part) for part in ("train", "valid", "test"))
  count = min(CENTRES, len(train) // 2)
  chosen = (train[np.random.RandomState(seed).permutation(len(train))[:count]] for seed in range(_CHOICES))
  digits = np.mean([score(centres, valid, test) for centres in chosen], axis=0)
  return {"digits": digits, "centres": score(clusters(train, count), valid, test)}


def measure(run: Any) -> dict[str, np.ndarray]:
  """{"steps" [C], "scores" [C, 3]} of the checkpoints that the run kept; of seed 0 also what needs no model."""
  valid, test = (_pixels(run.experiment, part) for part in ("valid", "test"))
  steps, scores = sorted(checkpoint.steps(run.source)), []
  for step in steps:
    experiment, state = restore(run.config, run.source, str(step))
    scores.append(score(_samples(experiment, state, min(CENTRES, 20 * len(valid))), valid, test))
  found = {"steps": np.array(steps), "scores": np.stack(scores)}
  return found | (without_a_model(run) if run.config.seed == 0 else {})

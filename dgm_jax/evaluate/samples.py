"""Samples of a model against data: Frechet and kernel distances, precision to coverage, memorisation, modes."""

from collections.abc import Sequence
from typing import Any

import jax

from dgm_jax.core import errors, options
from dgm_jax.evaluate.sample_features import choose
from dgm_jax.evaluate.sample_features.measure import DEFAULT, Measure, Options
from dgm_jax.evaluate.sample_metrics import named

RUNS = ("features", "classifier")  # options that may name the folder of a run, which is loaded and handed down
PARTS = ("test", "valid", "train")


def check(
  *,
  metrics: Sequence[str] = DEFAULT,
  num_samples: int = 10_000,
  seed: int = 0,
  features: str = "pixels",
  classifier: str = "",
  against: str = "test",
  batch_size: int = 500,
  neighbours: int = 5,
  splits: int = 10,
  cells: int = 1,
  floor: bool = True,
) -> None:
  """Raises UserError for an invalid option."""
  del floor
  for name in options.words(metrics):
    errors.choose("metric evaluate.samples.metrics", name, named.METRICS)
  errors.require(
    num_samples >= 2, f"evaluate.samples.num_samples = {num_samples}; it must be 2 or more, as distances of laws need."
  )
  for name, value in (("batch_size", batch_size), ("neighbours", neighbours), ("splits", splits), ("cells", cells)):
    errors.require(value >= 1, f"evaluate.samples.{name} = {value}; it must be 1 or more.")
  errors.require(0 <= seed < 2**32, f"evaluate.samples.seed = {seed}; it must be in 0 .. 2^32 - 1.")
  given = options.words(metrics)
  for metric, name, value in (("manifold", "neighbours", neighbours + 1), ("class_score", "splits", splits)):
    errors.require(
      metric not in given or value <= num_samples,
      f"evaluate.samples.{name} = {value - (name == 'neighbours')} of {num_samples} samples: take more samples.",
    )
  errors.require(
    "memorisation" not in given or num_samples >= 5,
    f"evaluate.samples.num_samples = {num_samples}; the metric 'memorisation' needs 5 or more.",
  )
  errors.choose("value of evaluate.samples.against", against, PARTS)
  choose.check("features", features)
  if classifier:
    choose.check("classifier", classifier)


def names(metrics: Sequence[str] = DEFAULT, features: Any = "pixels", **_: Any) -> list[str]:
  """Of the numbers by which a state may be chosen, during training."""
  fid = isinstance(features, str) and features.startswith("inception")
  return [f"samples_{name}" for name in named.names(options.words(metrics), fid)]


def prepare(experiment: Any, **options: Any) -> Measure:
  """(state, key, arrays) -> the numbers of `evaluate`; programs and embedded data serve state after state."""
  return Measure(experiment, **options)


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  metrics: Sequence[str] = DEFAULT,
  num_samples: int = 10_000,
  seed: int = 0,
  features: str = "pixels",
  classifier: str = "",
  against: str = "test",
  batch_size: int = 500,
  neighbours: int = 5,
  splits: int = 10,
  cells: int = 1,
  floor: bool = True,
) -> dict[str, Any]:
  """Draws samples once, embeds them once, and computes the metrics from their features; README.md explains them.

  x is what the model sees, after the transforms, and so are the samples.

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test set.
    metrics: of frechet, kernel, manifold, class_score, nearest, agreement, by_class, memorisation, support, modes,
      parzen.
    num_samples: samples, and training examples of the floor.
    seed: of the samples.
    features: a name of choose.NAMES, or the folder of a run of a classifier, whose last hidden units they are.
    classifier: likewise, that of class_score and modes; "" for that of the features.
    against: test, valid or train, the real examples compared with.
    batch_size: samples and examples at once.
    neighbours: k of manifold.
    splits: of class_score.
    cells: of memorisation.
    floor: whether real training examples (test examples against the training set) are measured like samples, too.

  Returns:
    {samples_NAME: number}, samples_NAME_stderr, samples_NAME_floor, and samples_NAME_why where a number cannot be had;
    samples_features, _num, _seed, _against, _against_size, _floor and _floor_size say what was compared.  "figures"
    has samples_nearest, above samples the training examples that they are closest to.

  Raises:
    UserError: see `Measure`.
  """
  given = (metrics, num_samples, seed, features, classifier, against, batch_size, neighbours, splits, cells, floor)
  return Measure(experiment, **Options(*given)._asdict())(state, key, arrays)

"""What must be equal for the results of two runs to be comparable."""

from typing import Any

from ml_collections import ConfigDict

from dgm_jax.core.batches import size
from dgm_jax.data.published import fingerprints
from dgm_jax.training.experiment import Experiment


def about(config: ConfigDict, experiment: Experiment) -> dict[str, Any]:
  """What is needed to compare the results of two runs: their seed, data, transforms and splits."""
  sizes = {part: size(arrays) for part, arrays in experiment.splits.parts().items()}
  reading = list(experiment.splits.about.get("reading", ()))  # what differs from the plain values of a file
  return {
    "seed": config.seed,
    "data": config.data.name,
    "transforms": list(config.data.transforms),
    "split_sizes": sizes,
    "data_digest": fingerprints.digest(experiment.splits.parts()),
  } | ({"reading": reading} if reading else {})

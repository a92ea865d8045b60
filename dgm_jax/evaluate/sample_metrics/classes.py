"""Numbers that need classes: of a classifier, or of labelled real examples and class-conditional samples."""

from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.sample_metrics import distances


class Score(NamedTuple):
  """A class score and its standard error over the splits, if there are two or more."""

  value: float
  stderr: float | None


def class_score(probs: np.ndarray, splits: int = 10) -> Score:
  """exp I(class; sample) = exp(mean KL(p(y|x) || mean p(y|x))) in each of the splits, averaged (Salimans et al., 2016).

  Called the inception score only where the classifier is Inception.

  Args:
    probs: p(y|x) of samples, [N, C].
    splits: disjoint parts of equal size.

  Raises:
    UserError: fewer samples than splits.
  """
  errors.require(1 <= splits <= len(probs), f"splits = {splits}; it must be 1 to {len(probs)}, the number of samples.")
  found = []
  for part in np.array_split(np.asarray(probs, np.float64), splits):
    marginal = part.mean(0)
    ratio = np.where(part > 0, np.log(np.maximum(part, 1e-300)) - np.log(np.maximum(marginal, 1e-300)), 0)
    found.append(np.exp((part * ratio).sum(1).mean()))
  error = float(np.std(found, ddof=1) / splits**0.5) if splits > 1 else None
  return Score(float(np.mean(found)), error)


class Nearest(NamedTuple):
  """Accuracies of nearest-neighbour classifiers, with binomial standard errors."""

  by_samples: float
  by_samples_stderr: float
  of_samples: float
  of_samples_stderr: float


def is_of_nearest(x: np.ndarray, classes: np.ndarray, y: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Whether the label of the nearest y [N, F] is the class of each x [M, F], bool [M]."""
  x, y = distances.centred(x, y)
  return labels[distances.nearest(x, y)[1]] == classes


def nearest(samples: np.ndarray, classes: np.ndarray, real: np.ndarray, labels: np.ndarray) -> Nearest:
  """1-NN accuracy on real examples of a training set of samples (by_samples), and the other way round (of_samples).

  The first falls where modes are missing or wrong, the second where samples do not look like their class (Ravuri &
  Vinyals, 2019; Shmelkov et al., 2018, with trained classifiers).

  Args:
    samples, classes: features [M, F] and the classes [M] that they were drawn for.
    real, labels: features [N, F] and labels [N].
  """
  x, y = distances.centred(samples, real)
  first = float((classes[distances.nearest(y, x)[1]] == labels).mean())
  second = float(is_of_nearest(samples, classes, real, labels).mean())
  spread = lambda p, n: float((p * (1 - p) / n) ** 0.5)
  return Nearest(first, spread(first, len(y)), second, spread(second, len(x)))

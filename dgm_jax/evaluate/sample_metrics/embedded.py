"""Samples and real examples as the metrics see them."""

from typing import NamedTuple

import numpy as np


class Embedded(NamedTuple):
  """A set of samples or of real examples.

  Attributes:
    features: [N, F], float32.
    x: the numbers themselves, [N, D]; None where no metric needs them.
    probs: p(y|x) of the classifier, [N, C]; None without one.
    mode: the class that a classifier gives it among the modes of the data, [N]; None without one.
    labels: of real examples, or of class-conditional samples, [N]; None without.
  """

  features: np.ndarray
  x: np.ndarray | None = None
  probs: np.ndarray | None = None
  mode: np.ndarray | None = None
  labels: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.features)


class Sets(NamedTuple):
  """What the metrics compare.

  Attributes:
    samples: samples of the model, or, for the floor, real examples in their place.
    real: the set compared with.
    training, valid: the training and the validation set; None where no metric needs them.
  """

  samples: Embedded
  real: Embedded
  training: Embedded | None = None
  valid: Embedded | None = None

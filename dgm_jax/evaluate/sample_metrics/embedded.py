"""Samples and real examples as the metrics see them."""

from collections.abc import Callable
from typing import Any, NamedTuple

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
    known: what `once` keeps; None to keep nothing.
  """

  samples: Embedded
  real: Embedded
  training: Embedded | None = None
  valid: Embedded | None = None
  known: dict[str, Any] | None = None

  def once(self, name: str, compute: Callable[[], Any]) -> Any:
    """compute(), which depends on the real examples alone, computed once for all samples that they stand beside."""
    if self.known is None:
      return compute()
    if name not in self.known:
      self.known[name] = compute()
    return self.known[name]

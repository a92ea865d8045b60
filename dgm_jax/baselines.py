"""What a new imputation is to be compared with: scikit-learn's, of tables with numbers and classes.

Classes are indicators to all of them.  The chained ones, mice and forest, tend to the most frequent class, since an
indicator is one minus the others of its column: errors on columns of classes are no measure of what they can do.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone

from dgm_jax import errors

_MEMORY = 64  # MB of distances at once
_ROUNDS = 10  # of the iterative ones
_TREES = 50


def _mean(seed: int) -> Any:
  del seed
  from sklearn.impute import SimpleImputer

  return SimpleImputer(keep_empty_features=True)


def _knn(seed: int) -> Any:
  del seed
  from sklearn.impute import KNNImputer

  return KNNImputer(keep_empty_features=True)


def _iterative(seed: int, estimator: Any) -> Any:
  from sklearn.experimental import enable_iterative_imputer  # noqa: F401
  from sklearn.impute import IterativeImputer

  return IterativeImputer(estimator, max_iter=_ROUNDS, random_state=seed, keep_empty_features=True)


def _mice(seed: int) -> Any:
  from sklearn.linear_model import BayesianRidge

  return _iterative(seed, BayesianRidge())


def _forest(seed: int) -> Any:
  from sklearn.ensemble import ExtraTreesRegressor

  return _iterative(seed, ExtraTreesRegressor(_TREES, n_jobs=-1, random_state=seed))


IMPUTERS: dict[str, Callable[[int], Any]] = {"mean": _mean, "knn": _knn, "mice": _mice, "forest": _forest}


class Imputer(BaseEstimator, TransformerMixin):
  """An imputer of numbers, of tables with classes, too: those are numbers as one-hot vectors; the greatest entry wins.

  Numbers are standardised by their observed entries before, and brought back.  So "mean" is the mean of numbers and
  the mode of classes, and neighbours are near in all columns alike.

  Args:
    imputer: of arrays with NaN, a scikit-learn transformer.
    num_classes: for each column C where it is of classes 0 .. C - 1, 0 where it is of numbers; None: all numbers.
  """

  def __init__(self, imputer: Any, num_classes: Sequence[int] | None = None):
    self.imputer = imputer
    self.num_classes = num_classes

  def _classes(self, x: np.ndarray) -> Sequence[int]:
    return (0,) * x.shape[1] if self.num_classes is None else self.num_classes

  def _spread(self, x: np.ndarray) -> np.ndarray:
    """[N, F]: numbers standardised, classes one-hot, NaN where x is."""
    parts = []
    for values, mean, scale, classes in zip(x.T, self.mean_, self.scale_, self._classes(x), strict=True):
      part = (values == np.arange(classes)[:, None]).astype(float) if classes else (values[None] - mean) / scale
      parts.append(np.where(np.isnan(values), np.nan, part))
    return np.concatenate(parts).T

  def fit(self, x: np.ndarray, y: Any = None) -> "Imputer":
    """Of x [N, D], NaN where missing; every column has an observed entry."""
    del y
    x = np.asarray(x, float)
    self.mean_, scale = np.nanmean(x, 0), np.nanstd(x, 0)
    self.scale_ = np.where(scale > 0, scale, 1)
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # after a fixed number of rounds some have not converged
      self.imputer_ = clone(self.imputer).fit(self._spread(x))
    return self

  def transform(self, x: np.ndarray) -> np.ndarray:
    """x [N, D] without holes."""
    from sklearn import config_context

    x = np.asarray(x, float)
    with config_context(working_memory=_MEMORY):
      spread = self.imputer_.transform(self._spread(x))
    filled, start = x.copy(), 0
    for j, classes in enumerate(self._classes(x)):
      part, start = spread[:, start : start + max(classes, 1)], start + max(classes, 1)
      values = part.argmax(1) if classes else part[:, 0] * self.scale_[j] + self.mean_[j]
      filled[:, j] = np.where(np.isnan(x[:, j]), values, x[:, j])
    return filled


def make(name: str, num_classes: Sequence[int] | None = None, seed: int = 0) -> Imputer:
  """A baseline, to `fit` and `transform` arrays [N, D] with NaN.

  Args:
    name: "mean" (and mode); "knn", the mean of 5 neighbours (Troyanskaya et al., 2001); "mice", chained Bayesian
      ridge regressions, their means (van Buuren & Groothuis-Oudshoorn, 2011); "forest", chained extremely randomised
      trees, as missForest (Stekhoven & Buhlmann, 2012).
    num_classes: see Imputer.
    seed: of those with randomness.

  Raises:
    UserError: no such name.
  """
  return Imputer(IMPUTERS[errors.choose("baseline", name, IMPUTERS)](seed), num_classes)

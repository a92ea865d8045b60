"""What a new imputation is to be compared with: scikit-learn's, of tables with numbers and classes."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone

from dgm_jax.core import errors

_MEMORY = 64  # MB of distances at once
_TREES = 50


class Chained(BaseEstimator, TransformerMixin):
  """Each column from all others, round by round, that with the fewest holes first; holes start at the means.

  IterativeImputer does so, and of numbers this is the same.  Here columns of classes have a classifier, and are
  indicators to the other columns: to a regressor an indicator would be one minus the others of its own column.

  Args:
    regressor, classifier: of columns of numbers and of classes, scikit-learn's.
    widths: of each column of the table, how many of x [N, F] it is: C indicators of C classes, 1 of a number.
    rounds: how often the columns are gone through.
  """

  def __init__(self, regressor: Any, classifier: Any, widths: Sequence[int], rounds: int = 10):
    self.regressor = regressor
    self.classifier = classifier
    self.widths = widths
    self.rounds = rounds

  def fit(self, x: np.ndarray, y: Any = None) -> "Chained":
    """Of x [N, F], NaN where missing; every column has an observed entry."""
    del y
    gone, ends = np.isnan(x), np.cumsum(self.widths)
    columns = [np.arange(end - width, end) for end, width in zip(ends, self.widths, strict=True)]
    columns.sort(key=lambda at: gone[:, at[0]].sum())
    self.means_, self.steps_ = np.nanmean(x, 0), []
    filled = np.where(gone, self.means_, x)
    for at in columns * self.rounds:
      missing, others = gone[:, at[0]], np.delete(filled, at, 1)
      target = x[~missing][:, at]
      if others.size and (target != target[0]).any():
        step = clone(self.regressor if len(at) == 1 else self.classifier)
        step.fit(others[~missing], target[:, 0] if len(at) == 1 else target.argmax(1))
        self.steps_.append((at, step))
        _predict(step, at, filled, missing)
    return self

  def transform(self, x: np.ndarray) -> np.ndarray:
    """x [N, F] without holes: what was fitted, in that order."""
    gone = np.isnan(x)
    filled = np.where(gone, self.means_, x)
    for at, step in self.steps_:
      _predict(step, at, filled, gone[:, at[0]])
    return filled


def _predict(step: Any, at: np.ndarray, filled: np.ndarray, missing: np.ndarray) -> None:
  """Puts what `step` says of the rows `missing` into columns `at` of filled [N, F]."""
  if missing.any():
    values = step.predict(np.delete(filled[missing], at, 1))[:, None]
    filled[np.ix_(missing, at)] = values if len(at) == 1 else values == np.arange(len(at))


def _mean(seed: int, num_classes: Sequence[int]) -> Any:
  del seed, num_classes
  from sklearn.impute import SimpleImputer

  return SimpleImputer(keep_empty_features=True)


def _knn(seed: int, num_classes: Sequence[int]) -> Any:
  del seed, num_classes
  from sklearn.impute import KNNImputer

  return KNNImputer(keep_empty_features=True)


def _chained(regressor: Any, classifier: Any, rounds: int, seed: int, num_classes: Sequence[int]) -> Any:
  if any(num_classes):
    return Chained(regressor, classifier, [max(c, 1) for c in num_classes], rounds)
  from sklearn.experimental import enable_iterative_imputer  # noqa: F401
  from sklearn.impute import IterativeImputer

  return IterativeImputer(regressor, max_iter=rounds, random_state=seed, keep_empty_features=True)


def _mice(seed: int, num_classes: Sequence[int]) -> Any:
  from sklearn.linear_model import BayesianRidge, LogisticRegression

  return _chained(BayesianRidge(), LogisticRegression(), 10, seed, num_classes)


def _forest(seed: int, num_classes: Sequence[int]) -> Any:
  """As many columns are tried at a split as by missForest; more rounds did not lower errors on white wine."""
  from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

  options = {"n_estimators": _TREES, "max_features": "sqrt", "n_jobs": -1, "random_state": seed}
  return _chained(ExtraTreesRegressor(**options), ExtraTreesClassifier(**options), 3, seed, num_classes)


IMPUTERS: dict[str, Callable[[int, Sequence[int]], Any]] = {
  "mean": _mean,
  "knn": _knn,
  "mice": _mice,
  "forest": _forest,
}


class Imputer(BaseEstimator, TransformerMixin):
  """An imputer of arrays, of tables with classes, too: those are one-hot vectors; the greatest entry wins.

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
      ridge and logistic regressions, their means and modes (van Buuren & Groothuis-Oudshoorn, 2011); "forest", chained
      extremely randomised trees, like missForest (Stekhoven & Buhlmann, 2012).
    num_classes: see Imputer.
    seed: of those with randomness.

  Raises:
    UserError: no such name.
  """
  make_imputer = IMPUTERS[errors.choose("baseline", name, IMPUTERS)]
  return Imputer(make_imputer(seed, num_classes or ()), num_classes)

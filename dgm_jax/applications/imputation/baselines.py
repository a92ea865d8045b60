"""Baseline imputation methods from scikit-learn, extended to tables with numeric and categorical columns."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone

from dgm_jax.core import errors

_MEMORY = 64  # MB of pairwise distances at once
_TREES = 50


class Chained(BaseEstimator, TransformerMixin):
  """Chained imputation: predicts each column from all others, in rounds; missing entries start at the column's mean.

  Columns with the fewest missing entries come first.  For numeric tables this equals IterativeImputer.  A categorical
  column is predicted by one classifier and enters the other predictions as C indicators; IterativeImputer would fit one
  regressor to each indicator, which could read its target off the column's other indicators, as they sum to one.

  Args:
    regressor, classifier: scikit-learn estimators for numeric and for categorical columns.
    widths: for each column of the table, how many columns of x [N, F] it occupies: C (indicators) for C classes, 1 for
      a number.
    rounds: number of passes over the columns.
  """

  def __init__(self, regressor: Any, classifier: Any, widths: Sequence[int], rounds: int = 10):
    self.regressor = regressor
    self.classifier = classifier
    self.widths = widths
    self.rounds = rounds

  def fit(self, x: np.ndarray, y: Any = None) -> "Chained":
    """Fits to x [N, F], NaN where missing; every column must have an observed entry."""
    del y
    is_missing, ends = np.isnan(x), np.cumsum(self.widths)
    columns = [np.arange(end - width, end) for end, width in zip(ends, self.widths, strict=True)]
    columns.sort(key=lambda at: is_missing[:, at[0]].sum())
    self.means_, self.steps_ = np.nanmean(x, 0), []
    filled = np.where(is_missing, self.means_, x)
    for at in columns * self.rounds:
      missing, others = is_missing[:, at[0]], np.delete(filled, at, 1)
      target = x[~missing][:, at]
      if others.size and (target != target[0]).any():
        step = clone(self.regressor if len(at) == 1 else self.classifier)
        step.fit(others[~missing], target[:, 0] if len(at) == 1 else target.argmax(1))
        self.steps_.append((at, step))
        _predict(step, at, filled, missing)
    return self

  def transform(self, x: np.ndarray) -> np.ndarray:
    """x [N, F] with its missing entries imputed, by the fitted predictors in the order of their fit."""
    return self._both(x)[0]

  def expect(self, x: np.ndarray) -> np.ndarray:
    """As transform, but with the probabilities of the last round in place of the indicators of imputed classes."""
    return self._both(x)[1]

  def _both(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    is_missing = np.isnan(x)
    filled = np.where(is_missing, self.means_, x)
    expected = filled.copy()
    for at, step in self.steps_:
      missing = is_missing[:, at[0]]
      if missing.any() and len(at) > 1:
        expected[np.ix_(missing, at)] = _probabilities(step, np.delete(filled[missing], at, 1), len(at))
      _predict(step, at, filled, missing)
      if len(at) == 1:
        expected[:, at] = filled[:, at]
    return filled, expected


def _predict(step: Any, at: np.ndarray, filled: np.ndarray, missing: np.ndarray) -> None:
  """Writes the predictions of `step` for the rows `missing` into columns `at` of filled [N, F]."""
  if missing.any():
    values = step.predict(np.delete(filled[missing], at, 1))[:, None]
    filled[np.ix_(missing, at)] = values if len(at) == 1 else values == np.arange(len(at))


def _probabilities(step: Any, x: np.ndarray, num_classes: int) -> np.ndarray:
  """P(class), [B, C]; a class that the step did not see has probability 0."""
  out = np.zeros((len(x), num_classes))
  out[:, step.classes_] = step.predict_proba(x)
  return out


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
  """Tries as many columns per split as missForest does; more rounds did not lower the errors on white wine."""
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
  """Wraps an imputer of numeric arrays so that it also handles classes, as one-hot vectors; the largest entry wins.

  Numbers are standardised by their observed entries before imputation and transformed back afterwards.  Hence "mean" is
  the mean of a numeric and the mode of a categorical column, and all columns count alike in a neighbour's distance.

  Args:
    imputer: a scikit-learn transformer of arrays with NaN.
    num_classes: for each column, C if it holds classes 0 .. C - 1, or 0 if it is numeric; None: all are numeric.
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
    """Fits to x [N, D], NaN where missing; every column must have an observed entry."""
    del y
    x = np.asarray(x, float)
    self.mean_, scale = np.nanmean(x, 0), np.nanstd(x, 0)
    self.scale_ = np.where(scale > 0, scale, 1)
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # convergence warnings: the number of rounds is fixed
      self.imputer_ = clone(self.imputer).fit(self._spread(x))
    return self

  def expect(self, x: np.ndarray) -> np.ndarray:
    """Standardised numbers and probabilities of classes, [N, F], where entries of x [N, D] are missing."""
    return self._run(getattr(self.imputer_, "expect", self.imputer_.transform), np.asarray(x, float))

  def _run(self, impute: Callable, x: np.ndarray) -> np.ndarray:
    from sklearn import config_context

    with config_context(working_memory=_MEMORY):
      return impute(self._spread(x))

  def transform(self, x: np.ndarray) -> np.ndarray:
    """x [N, D] with its missing entries imputed."""
    x = np.asarray(x, float)
    spread = self._run(self.imputer_.transform, x)
    filled, start = x.copy(), 0
    for j, classes in enumerate(self._classes(x)):
      part, start = spread[:, start : start + max(classes, 1)], start + max(classes, 1)
      values = part.argmax(1) if classes else part[:, 0] * self.scale_[j] + self.mean_[j]
      filled[:, j] = np.where(np.isnan(x[:, j]), values, x[:, j])
    return filled


def make(name: str, num_classes: Sequence[int] | None = None, seed: int = 0) -> Imputer:
  """A baseline imputer with `fit` and `transform` for arrays [N, D] with NaN.

  Args:
    name: "mean" (and mode); "knn", the mean of 5 neighbours (Troyanskaya et al., 2001); "mice", the means and modes of
      chained Bayesian ridge and logistic regressions (van Buuren & Groothuis-Oudshoorn, 2011); "forest", chained
      extremely randomised trees, similar to missForest (Stekhoven & Buhlmann, 2012).
    num_classes: see Imputer.
    seed: of the methods that are random.

  Raises:
    UserError: the name is unknown.
  """
  make_imputer = IMPUTERS[errors.choose("baseline", name, IMPUTERS)]
  return Imputer(make_imputer(seed, num_classes or ()), num_classes)

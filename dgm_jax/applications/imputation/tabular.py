"""What the scikit-learn transformers of tables share: columns, constants and classes of X, and the form of results."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation import frames
from dgm_jax.applications.imputation.cells import Imputed
from dgm_jax.core import errors


class Tabular(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
  """Base class of transformers that impute tables.

  A subclass has the options `categorical_features`, `keep_empty_features` and `random_state`, see MIWAEImputer, and

    _fit_columns(x [N, D], columns)                 fits to the D modelled columns
    _imputed(x [N, D], where, num_draws) -> Imputed
    _modelled                                       the D columns, as fitted
  """

  def __sklearn_tags__(self):
    tags = super().__sklearn_tags__()
    tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
    tags.transformer_tags.preserves_dtype = ["float64", "float32"]
    return tags

  def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
    """Names of the columns that are not dropped."""
    check_is_fitted(self)
    return super().get_feature_names_out(input_features)[list(self.kept_)]

  def _read(self, X: Any, reset: bool) -> tuple[np.ndarray, pd.DataFrame | None]:
    """(X as numbers [N, D], NaN where missing; X as a DataFrame if it is to be imputed as one)."""
    frame = frames.mixed(X) if reset else None
    if not reset and self.layout_ is not None:
      frame = frames.as_frame(X)
    if frame is None:
      if reset:
        self.layout_ = self.empty_ = None
      kinds = [np.float64, np.float32]
      x = validate_data(self, X, reset=reset, dtype=kinds, ensure_all_finite="allow-nan")
      if reset:
        self.categorical_ = self._categorical(set(), set())
      return x, None
    validate_data(self, X, reset=reset, skip_check_array=True)
    if reset:
      self.categorical_ = self._categorical(frames.by_type(frame), frames.texts(frame))
      self.layout_, self.empty_ = frames.Layout.of(frame, self.categorical_), frame.iloc[:0]
    return check_array(self.layout_.encoded(frame), ensure_all_finite="allow-nan"), frame

  def _categorical(self, by_type: set[int], texts: set[int]) -> set[int]:
    """Indices of the columns that hold classes; `by_type` and `texts` are those whose type or entries say so."""
    given, names = self.categorical_features, list(getattr(self, "feature_names_in_", ()))
    if given is None:
      return texts
    if isinstance(given, str):
      if given != "from_dtype":
        raise ValueError(f"categorical_features = {given!r}; it must be 'from_dtype', a mask, indices, names or None.")
      return by_type
    given = list(given)
    if given and all(isinstance(feature, bool | np.bool_) for feature in given):
      if len(given) != self.n_features_in_:
        raise ValueError(
          f"categorical_features is a boolean mask of length {len(given)}, but X has {self.n_features_in_} columns."
        )
      return texts | set(np.flatnonzero(given).tolist())
    found = set()
    for feature in given:
      is_index = not isinstance(feature, str | bool | np.bool_) and feature in range(self.n_features_in_)
      if feature not in names and not is_index:
        raise ValueError(f"categorical_features contains {feature!r}, which is not a column of X.")
      found.add(names.index(feature) if feature in names else int(feature))
    return texts | found

  def fit(self, X: Any, y: Any = None) -> Self:
    """Fits to the observed entries of X [N, D].

    Raises:
      ValueError: no column has two different observed values, a column has too many classes, or an option is invalid.
    """
    del y
    X, _ = self._read(X, reset=True)
    missing = np.isnan(X)
    kinds = ["categorical" if j in self.categorical_ else "numeric" for j in range(X.shape[1])]
    names = list(map(str, getattr(self, "feature_names_in_", range(X.shape[1]))))
    try:
      found = list(map(tables.infer, names, X.T, missing.T, kinds))
    except errors.UserError as e:
      raise ValueError(str(e)) from None
    self.columns_ = tuple(c._replace(kind="real") if c.numeric else c for c in found)  # no rounding
    self.kept_ = tuple(j for j, c in enumerate(self.columns_) if c.kind != "empty" or self.keep_empty_features)
    modelled = [c for c in self.columns_ if c.modelled]
    if not modelled:
      raise ValueError(f"No column of X has two different observed values (n_samples = {len(X)}).")
    self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
    self._fit_columns(tables.encode(self.columns_, X.T, missing.T), modelled)
    return self

  def _constant(self, j: int) -> float:
    """What a missing entry of a column that is not modelled becomes."""
    column = self.columns_[j]
    if column.kind != "empty":
      return column.classes[0]
    return np.nan if j in self.categorical_ else 0.0

  def _impute(self, X: np.ndarray, num_draws: int) -> tuple[np.ndarray, Imputed, np.ndarray]:
    """(X with its constant columns filled, imputed cells of the modelled columns, indices of these columns)."""
    X = X.copy()
    missing, columns = np.isnan(X), np.array([j for j, c in enumerate(self.columns_) if c.modelled])
    for j, column in enumerate(self.columns_):
      if not column.modelled:
        X[missing[:, j], j] = self._constant(j)
    x = tables.encode(self.columns_, X.T, missing.T)
    return X, self._imputed(x, missing[:, columns], num_draws), columns

  def _values(self, column: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Entries x [..., C] of modelled columns [C] with class indices replaced by the classes' values in X."""
    x = x.copy()
    for d, known in enumerate(self._modelled):
      if not known.numeric:
        at = column == d
        x[..., at] = np.array(known.classes)[x[..., at].astype(int)]
    return x

  def _written(self, x: np.ndarray, frame: pd.DataFrame | None, given: Any) -> Any:
    """Imputed numbers x [N, D] without the dropped columns, in the form of the given X."""
    if frame is None:
      return x[:, list(self.kept_)]
    out = self.layout_.restored(frame, x, self.kept_)
    return out if isinstance(given, pd.DataFrame) else out.to_numpy(object)

  def transform(self, X: Any) -> np.ndarray | pd.DataFrame:
    """X [N, D] with its missing entries imputed."""
    check_is_fitted(self)
    x, frame = self._read(X, reset=False)
    x, found, columns = self._impute(x, 0)
    x[found.row, columns[found.column]] = self._values(found.column, found.x)
    return self._written(x, frame, X)

  def _draws(self, X: Any, m: int) -> Any:
    """m draws for every row of X, [m, N, D], or a list of m DataFrames."""
    x, frame = self._read(X, reset=False)
    x, found, columns = self._impute(x, m)
    x = np.tile(x, (m, 1, 1))
    x[:, found.row, columns[found.column]] = self._values(found.column, found.draws)
    if frame is None:
      return x[:, :, list(self.kept_)]
    drawn = [self._written(each, frame, X) for each in x]
    return drawn if isinstance(X, pd.DataFrame) else np.stack(drawn)

"""MIWAE imputation as a scikit-learn transformer."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dgm_jax.applications.imputation import cells, fitted, frames
from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation.fit import Limits
from dgm_jax.core import errors
from dgm_jax.core.progress import progress_bar


class MIWAEImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
  """Imputes missing entries by a deep latent-variable model of the observed ones (MIWAE; Mattei & Frellsen, 2019).

  Missing numbers are replaced by E[x | x_observed], missing classes by the most probable class.  A row's imputed values
  depend only on its observed entries and the fit, not on the other rows.  Columns with a single observed value are
  filled with that value.

  X is an array of numbers with NaN, a DataFrame, or an array of objects.  Columns of text and of the types category and
  bool are classes.  A DataFrame with such columns is imputed as a DataFrame of the same types and categories, an array
  of objects as an array of objects; everything else becomes an array of numbers, as scikit-learn's imputers make it.

  Args:
    latent_dim: dimensions of the latent variable.
    hidden: widths of the networks' hidden layers.
    num_samples: K of the bound that training maximises.
    max_steps: maximum number of training steps; None: 10,000, fewer for few rows.  Training ends earlier when the
      log-probability of entries hidden from it stops improving.
    validation_fraction: share of observed entries that are hidden from training for this purpose.
    impute_samples: number of importance samples per row for imputation.
    categorical_features: the columns that hold classes: "from_dtype", those of the types category, bool and text; a
      boolean mask [D]; indices; names; or None.  Columns of text are always classes.
    keep_empty_features: columns without any observed entry in the fit are dropped (False), or kept, their missing
      numbers being 0 and their missing classes staying missing (True).
    random_state: a seed, a RandomState or None.
    verbose: 0: silent; 1: progress bars with rate and time left.

  Attributes:
    fitted_: the fitted model, see imputation.fitted.Fitted.
    n_iter_: number of training steps taken.
    kept_: indices of the columns that are not dropped.
  """

  def __init__(
    self,
    latent_dim: int = 10,
    hidden: Sequence[int] = (128, 128),
    num_samples: int = 20,
    max_steps: int | None = None,
    validation_fraction: float = 0.05,
    impute_samples: int = 500,
    categorical_features: str | Sequence[bool] | Sequence[int | str] | None = "from_dtype",
    keep_empty_features: bool = False,
    random_state: Any = None,
    verbose: int = 0,
  ):
    self.latent_dim = latent_dim
    self.hidden = hidden
    self.num_samples = num_samples
    self.max_steps = max_steps
    self.validation_fraction = validation_fraction
    self.impute_samples = impute_samples
    self.categorical_features = categorical_features
    self.keep_empty_features = keep_empty_features
    self.random_state = random_state
    self.verbose = verbose

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
    """Fits the model to the observed entries of X [N, D].

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
    x = tables.encode(self.columns_, X.T, missing.T)
    limits = Limits(fitted.steps_for(len(X)) if self.max_steps is None else self.max_steps)
    with fitted.fit_bar(limits.max_steps, disable=not self.verbose) as progress:
      self.fitted_ = fitted.fit(
        x,
        modelled,
        latent_dim=self.latent_dim,
        hidden=self.hidden,
        num_samples=self.num_samples,
        limits=limits,
        held_out=self.validation_fraction,
        seed=self.seed_,
        progress=progress,
      )
    self.n_iter_ = self.fitted_.fit.steps
    return self

  def _constant(self, j: int) -> float:
    """What a missing entry of a column that is not modelled becomes."""
    column = self.columns_[j]
    if column.kind != "empty":
      return column.classes[0]
    return np.nan if j in self.categorical_ else 0.0

  def _impute(self, X: np.ndarray, num_draws: int) -> tuple[np.ndarray, cells.Imputed, np.ndarray]:
    """(X with its constant columns filled, imputed cells of the modelled columns, indices of these columns)."""
    X = X.copy()
    missing, columns = np.isnan(X), np.array([j for j, c in enumerate(self.columns_) if c.modelled])
    for j, column in enumerate(self.columns_):
      if not column.modelled:
        X[missing[:, j], j] = self._constant(j)
    x, where = tables.encode(self.columns_, X.T, missing.T), missing[:, columns]
    options = {"num_draws": num_draws, "num_samples": self.impute_samples, "seed": self.seed_}
    total = int(where.any(1).sum())
    with progress_bar(total, description="impute", unit="row", disable=not self.verbose) as bar:
      return X, cells.impute(self.fitted_, x, where=where, progress=bar.update, **options), columns

  def _values(self, column: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Entries x [..., C] of modelled columns [C] with class indices replaced by the classes' values in X."""
    x = x.copy()
    for d, known in enumerate(self.fitted_.columns):
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

  def sample(self, X: Any = None, m: int = 1) -> Any:
    """m draws of p(x_missing | x_observed) for every row of X, [m, N, D]; without X, m draws of p(x), [m, D].

    The draws for a DataFrame with columns of classes are a list of m DataFrames.  All draws use the same fitted
    parameters, so their spread ignores the uncertainty of the parameters.
    """
    check_is_fitted(self)
    if X is None:
      return self._generated(m)
    x, frame = self._read(X, reset=False)
    x, found, columns = self._impute(x, m)
    x = np.tile(x, (m, 1, 1))
    x[:, found.row, columns[found.column]] = self._values(found.column, found.draws)
    if frame is None:
      return x[:, :, list(self.kept_)]
    drawn = [self._written(each, frame, X) for each in x]
    return drawn if isinstance(X, pd.DataFrame) else np.stack(drawn)

  def _generated(self, m: int) -> Any:
    """m draws of p(x)."""
    constant = [np.nan if c.modelled else self._constant(j) for j, c in enumerate(self.columns_)]
    x = np.tile(constant, (m, 1))
    drawn = fitted.generate(self.fitted_, m, self.seed_)
    x[:, [c.modelled for c in self.columns_]] = self._values(np.arange(drawn.shape[1]), drawn)
    frame = None if self.layout_ is None else self.empty_.reindex(range(m))
    return self._written(x, frame, frame if hasattr(self, "feature_names_in_") else None)

  def score(self, X: Any, y: Any = None) -> float:
    """A stochastic lower bound on log p(x_observed) of the modelled columns, nats, averaged over the rows of X."""
    del y
    check_is_fitted(self)
    X, _ = self._read(X, reset=False)
    x = tables.encode(self.columns_, X.T, np.isnan(X).T)
    return float(fitted.log_prob(self.fitted_, x, self.impute_samples, self.seed_).mean())

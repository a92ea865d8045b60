"""MIWAE imputation as a scikit-learn transformer."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dgm_jax.applications.imputation import cells, fitted
from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation.fit import Limits


class MIWAEImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
  """Imputes NaN by a deep latent-variable model of the observed entries (MIWAE; Mattei & Frellsen, 2019).

  Missing numbers are replaced by E[x | x_observed], missing classes by the most probable class.  A row's imputed values
  depend only on its observed entries and the fit, not on the other rows.  Columns with a single observed value are
  filled with that value.

  Args:
    latent_dim: dimensions of the latent variable.
    hidden: widths of the networks' hidden layers.
    num_samples: K of the bound that training maximises.
    max_steps: maximum number of training steps; None: 10,000, fewer for few rows.  Training ends earlier when the
      log-probability of entries hidden from it stops improving.
    validation_fraction: share of observed entries that are hidden from training for this purpose.
    impute_samples: number of importance samples per row for imputation.
    categorical_features: indices or names of the columns that hold classes, encoded as numbers.
    random_state: a seed, a RandomState or None.

  Attributes:
    fitted_: the fitted model, see imputation.fitted.Fitted.
    n_iter_: number of training steps taken.
  """

  def __init__(
    self,
    latent_dim: int = 10,
    hidden: Sequence[int] = (128, 128),
    num_samples: int = 20,
    max_steps: int | None = None,
    validation_fraction: float = 0.05,
    impute_samples: int = 500,
    categorical_features: Sequence[int | str] | None = None,
    random_state: Any = None,
  ):
    self.latent_dim = latent_dim
    self.hidden = hidden
    self.num_samples = num_samples
    self.max_steps = max_steps
    self.validation_fraction = validation_fraction
    self.impute_samples = impute_samples
    self.categorical_features = categorical_features
    self.random_state = random_state

  def __sklearn_tags__(self):
    tags = super().__sklearn_tags__()
    tags.input_tags.allow_nan = True
    tags.transformer_tags.preserves_dtype = ["float64", "float32"]
    return tags

  def _validated(self, X: Any, reset: bool) -> np.ndarray:
    return validate_data(self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")

  def _categorical(self) -> set[int]:
    """Indices of the columns that hold classes."""
    names, found = list(getattr(self, "feature_names_in_", ())), set()
    for feature in () if self.categorical_features is None else self.categorical_features:
      if feature not in names and feature not in range(self.n_features_in_):
        raise ValueError(f"categorical_features contains {feature!r}, which is not a column of X.")
      found.add(names.index(feature) if feature in names else int(feature))
    return found

  def fit(self, X: Any, y: Any = None) -> Self:
    """Fits the model to the observed entries of X [N, D].

    Raises:
      ValueError: a column has no observed entry, or no column has two different observed values.
    """
    del y
    X = self._validated(X, reset=True)
    categorical, missing = self._categorical(), np.isnan(X)
    if missing.all(0).any():
      raise ValueError(f"Column {missing.all(0).argmax()} of X has no observed entry to learn from.")
    kinds = ["categorical" if j in categorical else "numeric" for j in range(X.shape[1])]
    names = [str(j) for j in range(X.shape[1])]
    found = map(tables.infer, names, X.T, missing.T, kinds)
    self.columns_ = tuple(c._replace(kind="real") if c.numeric else c for c in found)  # no rounding
    modelled = [c for c in self.columns_ if c.modelled]
    if not modelled:
      raise ValueError(f"No column of X has two different observed values (n_samples = {len(X)}).")
    self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
    x = tables.encode(self.columns_, X.T, missing.T)
    self.fitted_ = fitted.fit(
      x,
      modelled,
      latent_dim=self.latent_dim,
      hidden=self.hidden,
      num_samples=self.num_samples,
      limits=Limits(fitted.steps_for(len(X)) if self.max_steps is None else self.max_steps),
      held_out=self.validation_fraction,
      seed=self.seed_,
    )
    self.n_iter_ = self.fitted_.fit.steps
    return self

  def _impute(self, X: Any, num_draws: int) -> tuple[np.ndarray, cells.Imputed, np.ndarray]:
    """(X with its constant columns filled, imputed cells of the modelled columns, indices of these columns)."""
    check_is_fitted(self)
    X = self._validated(X, reset=False).copy()
    missing, columns = np.isnan(X), np.array([j for j, c in enumerate(self.columns_) if c.modelled])
    for j, column in enumerate(self.columns_):
      if not column.modelled:
        X[missing[:, j], j] = column.classes[0]
    x = tables.encode(self.columns_, X.T, missing.T)
    options = {"num_draws": num_draws, "num_samples": self.impute_samples, "seed": self.seed_}
    return X, cells.impute(self.fitted_, x, where=missing[:, columns], **options), columns

  def _values(self, column: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Entries x [..., C] of modelled columns [C] with class indices replaced by the classes' values in X."""
    x = x.copy()
    for d, known in enumerate(self.fitted_.columns):
      if not known.numeric:
        at = column == d
        x[..., at] = np.array(known.classes)[x[..., at].astype(int)]
    return x

  def transform(self, X: Any) -> np.ndarray:
    """X [N, D] with its missing entries imputed."""
    X, found, columns = self._impute(X, 0)
    X[found.row, columns[found.column]] = self._values(found.column, found.x)
    return X

  def sample(self, X: Any = None, m: int = 1) -> np.ndarray:
    """m draws of p(x_missing | x_observed) for every row of X, [m, N, D]; without X, m draws of p(x), [m, D].

    All draws use the same fitted parameters, so their spread ignores the uncertainty of the parameters.
    """
    if X is not None:
      X, found, columns = self._impute(X, m)
      X = np.tile(X, (m, 1, 1))
      X[:, found.row, columns[found.column]] = self._values(found.column, found.draws)
      return X
    check_is_fitted(self)
    X = np.tile([np.nan if c.modelled else c.classes[0] for c in self.columns_], (m, 1))
    drawn = fitted.generate(self.fitted_, m, self.seed_)
    X[:, [c.modelled for c in self.columns_]] = self._values(np.arange(drawn.shape[1]), drawn)
    return X

  def score(self, X: Any, y: Any = None) -> float:
    """A stochastic lower bound on log p(x_observed) of the modelled columns, nats, averaged over the rows of X."""
    del y
    check_is_fitted(self)
    X = self._validated(X, reset=False)
    x = tables.encode(self.columns_, X.T, np.isnan(X).T)
    return float(fitted.log_prob(self.fitted_, x, self.impute_samples, self.seed_).mean())

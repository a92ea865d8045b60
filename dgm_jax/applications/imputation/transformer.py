"""The imputation of a MIWAE as a scikit-learn transformer."""

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
  """Fills NaN by a deep latent-variable model of the observed entries (Mattei & Frellsen, MIWAE, 2019).

  Numbers get E[x | x_observed], classes the most probable one.  A row's values are a function of what is observed of
  it and of the fit, not of the rows beside it.  Columns with a single observed value get that value.

  Args:
    latent_dim: dimensions of the latent variable.
    hidden: widths of the networks' layers.
    num_samples: K of the bound that training raises.
    max_steps: of training; None: 10,000, fewer for few rows.  Training ends before when the probability of entries
      that were hidden from it stops rising.
    validation_fraction: the share of observed entries that are hidden for that.
    impute_samples: importance samples an imputation.
    categorical_features: numbers or names of the columns that hold classes, as numbers.
    random_state: a seed, a RandomState or None.

  Attributes:
    fitted_: the model, see imputation.fitted.Fitted.
    n_iter_: steps of training.
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
    """The numbers of the columns that hold classes."""
    names, found = list(getattr(self, "feature_names_in_", ())), set()
    for feature in () if self.categorical_features is None else self.categorical_features:
      if feature not in names and feature not in range(self.n_features_in_):
        raise ValueError(f"categorical_features names {feature!r}, which X has not.")
      found.add(names.index(feature) if feature in names else int(feature))
    return found

  def fit(self, X: Any, y: Any = None) -> Self:
    """Fits the model to the observed entries of X [N, D].

    Raises:
      ValueError: a column without an observed entry, or none with two different ones.
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
    """(X with constants in their columns; what is imputed; the numbers of the modelled columns)."""
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
    """Entries x [..., C] of modelled columns [C]: numbers as they are, classes as X has them."""
    x = x.copy()
    for d, known in enumerate(self.fitted_.columns):
      if not known.numeric:
        at = column == d
        x[..., at] = np.array(known.classes)[x[..., at].astype(int)]
    return x

  def transform(self, X: Any) -> np.ndarray:
    """X [N, D] with its NaN filled."""
    X, found, columns = self._impute(X, 0)
    X[found.row, columns[found.column]] = self._values(found.column, found.x)
    return X

  def sample(self, X: Any = None, m: int = 1) -> np.ndarray:
    """m draws: x ~ p(x_missing | x_observed) of every row of X, [m, N, D]; without X, x ~ p(x), [m, D].

    The parameters are the same in all draws, whose spread lacks the uncertainty about them.
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
    """log p(x_observed), nats, averaged over the rows of X: a stochastic lower bound, of columns that vary."""
    del y
    check_is_fitted(self)
    X = self._validated(X, reset=False)
    x = tables.encode(self.columns_, X.T, np.isnan(X).T)
    return float(fitted.log_prob(self.fitted_, x, self.impute_samples, self.seed_).mean())

"""Imputation by several methods, weighed by evidence, as a scikit-learn transformer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from dgm_jax.applications.imputation import cells, combined, combined_cells, combined_report, fitted
from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation.fit import Limits
from dgm_jax.applications.imputation.tabular import Tabular
from dgm_jax.core import errors
from dgm_jax.core.progress import progress_bar


class TableImputer(Tabular):
  """Imputes missing entries by several methods, which are weighed by their errors on entries hidden for the purpose.

  Each column has its own weights, non-negative and summing to 1, of networks of all conditionals p(x_d | any others),
  extremely randomised trees, chained ridge regressions, nearest neighbours and the mean; and rows that agree with one
  another are believed as far as the hidden entries say (see weights.py and hot_deck.py).  X is as for MIWAEImputer.

  Args:
    method: "auto", or one method alone: "orderless", "forest", "mice", "knn" or "mean".
    num_models: number of networks, trained as lanes of one program.
    hidden: width of the networks' layers.
    max_steps: maximum number of training steps of the networks.
    categorical_features, keep_empty_features, random_state, verbose: see MIWAEImputer.

  Attributes:
    model_: the fitted combination, see imputation.combined.Combined.
    weights_: {method: weight} of each modelled column.
    kept_: indices of the columns that are not dropped.
  """

  def __init__(
    self,
    method: str = "auto",
    num_models: int = 3,
    hidden: int = 256,
    max_steps: int = 2000,
    categorical_features: str | Sequence[bool] | Sequence[int | str] | None = "from_dtype",
    keep_empty_features: bool = False,
    random_state: Any = None,
    verbose: int = 0,
  ):
    self.method = method
    self.num_models = num_models
    self.hidden = hidden
    self.max_steps = max_steps
    self.categorical_features = categorical_features
    self.keep_empty_features = keep_empty_features
    self.random_state = random_state
    self.verbose = verbose

  def _fit_columns(self, x: np.ndarray, modelled: Sequence[tables.Column]) -> None:
    for name in ("num_models", "hidden", "max_steps"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} = {getattr(self, name)}; it must be 1 or more.")
    with fitted.fit_bar(self.max_steps, disable=not self.verbose) as progress:
      try:
        self.model_, _ = combined_report.fit(
          x,
          modelled,
          self.method,
          combined_report.hide(x, self.method, self.seed_, report=False),
          seed=self.seed_,
          num_models=self.num_models,
          width=self.hidden,
          limits=Limits(self.max_steps),
          progress=progress,
        )
      except errors.UserError as e:
        raise ValueError(str(e)) from None
    self.weights_ = combined_report.weights_of(self.model_)

  @property
  def _modelled(self) -> tuple[tables.Column, ...]:
    return self.model_.spread.columns

  def _imputed(self, x: np.ndarray, where: np.ndarray, num_draws: int) -> cells.Imputed:
    with progress_bar(int(where.any(1).sum()), description="impute", unit="row", disable=not self.verbose) as bar:
      return combined_cells.impute(
        self.model_, x, where=where, num_draws=num_draws, seed=self.seed_, progress=bar.update
      )

  def intervals(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the 90 % intervals of missing numbers of X, [N, D] each; NaN elsewhere."""
    check_is_fitted(self)
    x, _ = self._read(X, reset=False)
    _, found, columns = self._impute(x, 0)
    low, high = np.full((2, *x.shape), np.nan)
    low[found.row, columns[found.column]], high[found.row, columns[found.column]] = found.low, found.high
    return low[:, list(self.kept_)], high[:, list(self.kept_)]

  def predict_proba(self, X: Any, column: int | str) -> np.ndarray:
    """The probabilities of the classes of a column given the other entries of each row of X, [N, C].

    Raises:
      ValueError: the column holds no classes.
    """
    check_is_fitted(self)
    names = list(getattr(self, "feature_names_in_", ()))
    j = names.index(column) if column in names else column
    if j not in range(len(self.columns_)) or not self.columns_[j].modelled or self.columns_[j].numeric:
      raise ValueError(f"Column {column!r} of X holds no classes.")
    x, _ = self._read(X, reset=False)
    encoded = tables.encode(self.columns_, x.T, np.isnan(x).T)
    d = sum(c.modelled for c in self.columns_[:j])
    encoded[:, d] = np.nan
    features = combined.combine(self.model_, encoded)[0].features
    return features[:, next(at for e, at, _ in self.model_.spread.parts() if e == d)]

  def sample(self, X: Any, m: int = 1) -> Any:
    """m draws of the missing entries of every row of X, [m, N, D], or a list of m DataFrames.

    They are draws of the networks, numbers shifted to the combined mean, classes changed to the combined probabilities;
    all use the same fitted parameters, so their spread ignores the uncertainty of the parameters.

    Raises:
      UserError: the method has no networks.
    """
    check_is_fitted(self)
    return self._draws(X, m)

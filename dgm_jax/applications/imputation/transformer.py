"""MIWAE imputation as a scikit-learn transformer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from dgm_jax.applications.imputation import cells, fitted
from dgm_jax.applications.imputation import columns as tables
from dgm_jax.applications.imputation.fit import Limits
from dgm_jax.applications.imputation.tabular import Tabular
from dgm_jax.core.progress import progress_bar


class MIWAEImputer(Tabular):
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

  def _fit_columns(self, x: np.ndarray, modelled: Sequence[tables.Column]) -> None:
    limits = Limits(fitted.steps_for(len(x)) if self.max_steps is None else self.max_steps)
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

  @property
  def _modelled(self) -> tuple[tables.Column, ...]:
    return self.fitted_.columns

  def _imputed(self, x: np.ndarray, where: np.ndarray, num_draws: int) -> cells.Imputed:
    options = {"num_draws": num_draws, "num_samples": self.impute_samples, "seed": self.seed_}
    total = int(where.any(1).sum())
    with progress_bar(total, description="impute", unit="row", disable=not self.verbose) as bar:
      return cells.impute(self.fitted_, x, where=where, progress=bar.update, **options)

  def sample(self, X: Any = None, m: int = 1) -> Any:
    """m draws of p(x_missing | x_observed) for every row of X, [m, N, D]; without X, m draws of p(x), [m, D].

    The draws for a DataFrame with columns of classes are a list of m DataFrames.  All draws use the same fitted
    parameters, so their spread ignores the uncertainty of the parameters.
    """
    check_is_fitted(self)
    if X is None:
      return self._generated(m)
    return self._draws(X, m)

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

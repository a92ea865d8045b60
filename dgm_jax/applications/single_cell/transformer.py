"""scVI as a scikit-learn transformer of arrays and sparse matrices of counts."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from dgm_jax.applications.single_cell.model import SCVI
from dgm_jax.core import errors


class SCVITransformer(TransformerMixin, BaseEstimator):
  """E_q[z|x] of counts, by scVI.

  Args:
    n_latent, n_hidden: of the networks.
    gene_likelihood: zinb, nb or poisson.
    max_epochs: see SCVI.train.
    workdir: folder of the run; a temporary one if None.
    random_state: the seed.

  Attributes:
    model_: the trained SCVI.
  """

  def __init__(
    self,
    n_latent: int = 10,
    n_hidden: int = 128,
    gene_likelihood: str = "zinb",
    max_epochs: int | None = None,
    workdir: str | None = None,
    random_state: int = 0,
  ):
    self.n_latent = n_latent
    self.n_hidden = n_hidden
    self.gene_likelihood = gene_likelihood
    self.max_epochs = max_epochs
    self.workdir = workdir
    self.random_state = random_state

  @staticmethod
  def _adata(X: Any) -> Any:
    return errors.import_package("anndata").AnnData(X if hasattr(X, "toarray") else np.asarray(X))

  def fit(self, X: Any, y: Any = None) -> Self:
    """Trains on counts X [N, G], an array or a CSR matrix.  Raises UserError if they are none."""
    del y
    self.model_ = SCVI(
      self._adata(X), n_latent=self.n_latent, n_hidden=self.n_hidden, gene_likelihood=self.gene_likelihood
    )
    self.model_.train(self.max_epochs, workdir=self.workdir, seed=self.random_state)
    self.n_features_in_ = X.shape[1]
    return self

  def transform(self, X: Any) -> np.ndarray:
    """E_q[z|x], [N, L]."""
    check_is_fitted(self)
    return self.model_.get_latent_representation(self._adata(X))

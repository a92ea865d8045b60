"""What a trained scVI answers: q(z|x), expression, differential expression, log p(x)."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from dgm_jax.applications.single_cell import cells_of, differential
from dgm_jax.applications.single_cell.fitted import FittedCells, gene_moments
from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, take
from dgm_jax.core.evaluation import mean_and_error
from dgm_jax.data.sets.cells import Columns


class TrainedCells:
  """The methods of SCVI that need a trained model.

  Attributes:
    layer, columns: of the AnnData whose cells the model knows.
    options: the model's arguments.
    cells: names of the cells that the model comes with; None if they are not known.
  """

  layer: str | None
  columns: Columns
  options: dict[str, Any]
  cells: list[str] | None
  _fitted: FittedCells | None = None

  @property
  def fitted(self) -> FittedCells:
    """The trained model.  Raises UserError before `train`."""
    errors.require(self._fitted is not None, "The model is not trained yet: call train() first.")
    assert self._fitted is not None
    return self._fitted

  @property
  def is_trained(self) -> bool:
    """Whether `train` or `load` was called."""
    return self._fitted is not None

  def _arrays(self, adata: Any, indices: Sequence[int] | None = None) -> Arrays:
    """The training cells, or those of another AnnData with the same genes in any order."""
    fitted = self.fitted
    if adata is None:
      errors.require(fitted.arrays is not None, "Give adata: the model comes without its cells.")
      arrays = dict(fitted.arrays or {})
    else:
      needs = self.columns if self.options["dispersion"] == "gene_label" else self.columns._replace(labels="")
      arrays = cells_of.arrays_of(cells_of.of_anndata(adata, self.layer), needs, fitted.about, True)
    if indices is None:
      return arrays
    return take(arrays, differential.cell_indices(indices, len(arrays["x"]), "indices"))

  def _index(self, adata: Any, indices: Sequence[int] | None = None) -> list[str] | None:
    """The names of the cells that `_arrays` gives, for a DataFrame."""
    names = self.cells if adata is None else list(map(str, adata.obs_names))
    if names is None or indices is None:
      return names
    return [names[i] for i in differential.cell_indices(indices, len(names), "indices")]

  def _batch_number(self, name: Any) -> int:
    known = list(self.fitted.about.get("batches", ()))
    errors.require(bool(known), "transform_batch needs a model with batch_key.")
    return known.index(errors.choose("batch", str(name), known))

  def get_latent_representation(
    self, adata: Any = None, indices: Sequence[int] | None = None, return_dist: bool = False
  ) -> Any:
    """E_q[z|x], [N, L]; with `return_dist`, mean and variance.  Without adata, of the training cells."""
    mean, variance = self.fitted.posterior(self._arrays(adata, indices))
    mean, variance = (a[:, : self.options["latent_dim"]] for a in (mean, variance))
    return (mean, variance) if return_dist else mean

  def get_normalized_expression(
    self,
    adata: Any = None,
    indices: Sequence[int] | None = None,
    *,
    transform_batch: Any = None,
    gene_list: Sequence[str] | None = None,
    library_size: float | str = 1,
    n_samples: int = 1,
    return_mean: bool = True,
    return_numpy: bool = False,
    seed: int = 0,
  ) -> Any:
    """rho times the library size, a DataFrame [N, G], averaged over `n_samples` draws z ~ q(z|x).

    Args:
      transform_batch: a batch, or several to average over, in which all cells are decoded; the cells' own if None.
      gene_list: names of genes; all if None.
      library_size: a number, or "latent" for each cell's l.
      return_mean: whether to average the draws; else [S, N, G].
    """
    arrays, genes = self._arrays(adata, indices), list(self.fitted.about["genes"])
    chosen = list(range(len(genes))) if gene_list is None else [
      genes.index(errors.choose("gene", g, genes)) for g in gene_list
    ]  # fmt: skip
    several = isinstance(transform_batch, list | tuple)
    batches = [None] if transform_batch is None else transform_batch if several else [transform_batch]
    in_batches = [None if b is None else self._batch_number(b) for b in batches]
    known = isinstance(library_size, numbers.Real) or library_size == "latent"
    errors.require(known, f"library_size = {library_size!r}; it must be a number or 'latent'.")
    scale = self.fitted.library(arrays)[:, None] if library_size == "latent" else float(library_size)
    draws = [
      np.mean([self.fitted.frequencies(arrays, b, False, seed + s)[:, chosen] for b in in_batches], 0) * scale
      for s in range(n_samples)
    ]
    if not return_mean:
      return np.stack(draws)
    found = np.mean(draws, 0)
    if return_numpy:
      return found
    pandas = errors.import_package("pandas")
    return pandas.DataFrame(found, self._index(adata, indices), [genes[j] for j in chosen])

  def differential_expression(
    self,
    adata: Any = None,
    groupby: str | None = None,
    group1: Any = None,
    group2: Any = None,
    *,
    idx1: Sequence[int] | None = None,
    idx2: Sequence[int] | None = None,
    mode: str = "change",
    delta: float = 0.25,
    batch_correction: bool = False,
    n_samples: int = 5_000,
    fdr_target: float = 0.05,
    seed: int = 0,
  ) -> Any:
    """A DataFrame with a row for each gene: probabilities and log-fold changes of pairs of cells of two groups.

    Args:
      adata: cells; the training cells if None, whose groups are those of labels_key.
      groupby: a column of obs, labels_key or batch_key; group1, group2: names in it (group2: all others if None).
      idx1, idx2: indices of cells, in place of groups.
      mode: "change", P(|log2 rho_a / rho_b| > delta), or "vanilla", P(rho_a > rho_b).
      batch_correction: whether both cells of a pair are of the same batch, and all batches count alike.
      n_samples: number of pairs, each with its own draws of z.
      fdr_target: expected share of false discoveries of is_de.
    """
    arrays = self._arrays(adata)
    groups = self._groups(adata, arrays, groupby, (group1, group2), (idx1, idx2))
    batch = np.asarray(arrays["batch"]) if batch_correction and "batch" in arrays else None
    errors.require(not batch_correction or batch is not None, "batch_correction needs a model with batch_key.")
    a, b = [], []
    for i, (number, first, second) in enumerate(differential.group_pairs(groups, batch, n_samples, seed)):
      a.append(self.fitted.draws_of_frequencies(arrays, first, number, seed + 2 * i))
      b.append(self.fitted.draws_of_frequencies(arrays, second, number, seed + 2 * i + 1))
    found = differential.scores(np.concatenate(a), np.concatenate(b), mode, delta)
    for i, group in enumerate(groups, 1):
      found[f"raw_mean{i}"], found[f"non_zeros_proportion{i}"] = gene_moments(arrays["x"], group)
    if mode == "change":
      found[f"is_de_fdr_{fdr_target:g}"] = differential.called(found["proba_de"], fdr_target)
    pandas = errors.import_package("pandas")
    table = pandas.DataFrame(found, index=list(self.fitted.about["genes"]))
    return table.sort_values("bayes_factor", ascending=False)

  def _groups(self, adata: Any, arrays: Arrays, groupby: str | None, names: tuple, given: tuple) -> tuple:
    if given[0] is not None:
      n = len(arrays["x"])
      first = differential.cell_indices(given[0], n, "idx1")
      rest = np.setdiff1d(np.arange(n), first) if given[1] is None else given[1]
      return first, differential.cell_indices(rest, n, "idx2")
    errors.require(names[0] is not None, "differential_expression needs group1 (with groupby) or idx1.")
    values = self._column(adata, arrays, groupby or self.columns.labels or self.columns.batch)
    first = differential.group_indices(values, names[0], groupby or "labels")
    if names[1] is None:
      return first, np.setdiff1d(np.arange(len(values)), first)
    return first, differential.group_indices(values, names[1], groupby or "labels")

  def _column(self, adata: Any, arrays: Arrays, name: str) -> list[str]:
    about = self.fitted.about
    if adata is not None:
      return list(map(str, cells_of.of_anndata(adata, self.layer).column(name)))
    known = {self.columns.labels: ("y", "classes"), self.columns.batch: ("batch", "batches")}
    key, names = known[errors.choose("groupby", name, filter(None, known))]
    return [about[names][i] if i >= 0 else self.columns.unlabelled for i in np.asarray(arrays[key]).tolist()]

  def posterior_predictive_sample(
    self, adata: Any = None, indices: Sequence[int] | None = None, n_samples: int = 1, seed: int = 0
  ) -> np.ndarray:
    """x ~ p(x|z), z ~ q(z|x), [N, G], or [N, G, S] for several draws."""
    arrays = self._arrays(adata, indices)
    draws = [self.fitted.predictive(arrays, seed + s) for s in range(n_samples)]
    return draws[0] if n_samples == 1 else np.stack(draws, -1)

  def get_elbo(self, adata: Any = None, indices: Sequence[int] | None = None, n_mc_samples: int = 10) -> float:
    """The mean over cells of the ELBO, nats: greater is better, as in scvi-tools."""
    return float(self.fitted.log_terms(self._arrays(adata, indices), n_mc_samples)["elbo"].mean())

  def get_marginal_ll(
    self,
    adata: Any = None,
    indices: Sequence[int] | None = None,
    n_mc_samples: int = 1_000,
    return_mean: bool = True,
    return_ess: bool = False,
  ) -> Any:
    """log p(x) by importance sampling, nats, averaged over the cells or [N].  With an observed library, given l.

    Args:
      adata, indices: the cells.
      n_mc_samples: K; the estimate is a lower bound in expectation, which is tight where the effective sample size is
        far above 1.
      return_mean: whether to average over the cells.
      return_ess: whether to give also the effective sample size (sum w)^2 / sum w^2, in 1 .. K: a DataFrame with log_px
        and ess of each cell; or, averaged, {log_px, log_px_stderr, ess, ess_min}, the error being that over the cells.
    """
    terms = self.fitted.log_terms(self._arrays(adata, indices), n_mc_samples)
    values, ess = (np.asarray(terms[name]) for name in ("log_px", "ess"))
    if not return_ess:
      return mean_and_error(values)[0] if return_mean else values
    if not return_mean:
      frame = {"log_px": values, "ess": ess}
      return errors.import_package("pandas").DataFrame(frame, self._index(adata, indices))
    mean, error = mean_and_error(values)
    return {"log_px": mean, "log_px_stderr": error, "ess": float(ess.mean()), "ess_min": float(ess.min())}

  def get_reconstruction_error(self, adata: Any = None, indices: Sequence[int] | None = None) -> dict[str, float]:
    """{"reconstruction_loss": minus the mean of E_q[log p(x|z)]}, nats."""
    terms = self.fitted.log_terms(self._arrays(adata, indices), 10)
    return {"reconstruction_loss": -float(terms["log_px_z"].mean())}

  def get_latent_library_size(self, adata: Any = None, indices: Sequence[int] | None = None) -> np.ndarray:
    """l of each cell, [N, 1]: the total, the size factor, or exp E_q[log l].

    scvi-tools returns E_q[l] = exp(m + v / 2) of a latent library, and an error for an observed one.
    """
    return self.fitted.library(self._arrays(adata, indices))[:, None]

  def get_loadings(self) -> Any:
    """Loadings of the genes in a linear model, a DataFrame [G, L]."""
    state = self.fitted.state
    values = np.asarray(self.fitted.model.bind({"params": state.params, **state.variables}).loadings())
    return errors.import_package("pandas").DataFrame(values, index=list(self.fitted.about["genes"]))

"""What the evaluations of a run do not contain: imputation by every corruption, and clusters of linear factors."""

from typing import Any

import jax
import numpy as np

from dgm_jax.core import errors
from dgm_jax.evaluate.cells import cell_clusters, count_imputation

FACTORS = 10  # as many as z has dimensions


def expected_counts(train: np.ndarray, x: np.ndarray) -> np.ndarray:
  """Total of each cell of x times the frequencies of the genes in the training counts, [N, G]."""
  frequencies = train.sum(0, dtype=np.float64) / train.sum(dtype=np.float64)
  return x.sum(1, keepdims=True) * frequencies


def frequency_error(train: np.ndarray, x: np.ndarray, kind: str, seed: int = 0) -> float:
  """Median absolute error of `expected_counts` in the corrupted entries of x, those of count_imputation.evaluate."""
  changed, (rows, columns) = count_imputation.corrupted(x, kind, seed)
  used = changed.sum(1)[rows] > 0
  found = expected_counts(train, changed)[rows, columns]
  return float(np.median(np.abs(found - x[rows, columns])[used]))


def imputation(run: Any) -> dict[str, Any]:
  """Median errors {KIND: of the model, KIND_frequencies: of the genes' frequencies} of each corruption."""
  test, found = run.experiment.splits.test, {}
  train = np.asarray(run.experiment.splits.train["x"])
  for kind in count_imputation.KINDS:
    of_run = count_imputation.evaluate(run.experiment, run.state, jax.random.key(0), test, corruption=kind)
    found[kind] = of_run["imputation_l1"]
    found[f"{kind}_frequencies"] = frequency_error(train, np.asarray(test["x"]).astype(np.int64), kind)
  return found


def linear_factors(x: np.ndarray, kind: str) -> np.ndarray:
  """Ten factors of log(1 + x), [N, 10], by maximum likelihood ("fa") or of largest variance ("pca")."""
  of = errors.import_package("sklearn.decomposition", "The table of clusters")
  make = {"fa": of.FactorAnalysis, "pca": of.PCA}[kind]
  return make(min(FACTORS, *x.shape), random_state=0).fit_transform(np.log1p(x.astype(np.float64)))


def linear_clusters(run: Any) -> dict[str, Any]:
  """{"fa NAME", "pca NAME"}: the scores of cell_clusters for factors of log(1 + x) of all cells."""
  options = dict(run.config.evaluate.cell_clusters)
  parts, classes = list(run.experiment.splits.parts().values()), list(run.experiment.splits.about["classes"])
  x, y, batch = (np.concatenate([np.asarray(part[name]) for part in parts]) for name in ("x", "y", "batch"))
  kept = (y >= 0) & (y != (classes.index(options["ignore"]) if options["ignore"] else -1))
  found = {}
  for kind in ("fa", "pca"):
    z = linear_factors(x, kind)
    scores = cell_clusters.cluster_scores(z[kept], y[kept], options["num_init"], 0)
    found |= {f"{kind} cells_{name}": value for name, value in scores.items()}
    found[f"{kind} batch_entropy"] = cell_clusters.mixing_entropy(z, batch, 50, 50, 100, 0)
    found[f"{kind} batch_asw"] = cell_clusters.silhouette(z, batch, 10_000, 0)
  return found

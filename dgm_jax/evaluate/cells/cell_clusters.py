"""Clusters of cells in the latent space, against known types, and how well the batches mix there."""

import math
from typing import Any

import jax
import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.evaluation import make_evaluate_examples

NEEDS = ("infer", "log_joint")  # methods of the model


def check(
  *,
  num_init: int = 1,
  neighbours: int = 1,
  pools: int = 1,
  pool_size: int = 1,
  silhouette_cells: int = 2,
  batch_size: int = 1,
  seed: int = 0,
  ignore: str = "",
  on_all: bool = True,
) -> None:
  """Raises UserError for an invalid option."""
  del ignore, on_all  # a class is looked up in the data
  named = {"num_init": num_init, "neighbours": neighbours, "pools": pools, "pool_size": pool_size}
  named |= {"batch_size": batch_size}
  errors.require_package("sklearn")
  for name, value in named.items():
    errors.require(value >= 1, f"evaluate.cell_clusters.{name} = {value}; it must be 1 or more.")
  errors.require(
    silhouette_cells >= 2, f"evaluate.cell_clusters.silhouette_cells = {silhouette_cells}; it must be 2 or more."
  )
  errors.require(seed >= 0, f"evaluate.cell_clusters.seed = {seed}; it must be 0 or more.")


def latent_means(experiment: Any, state: Any, key: jax.Array, parts: list[dict], batch_size: int) -> np.ndarray:
  """E_q[z|x] of the cells of all parts, [N, L], without the library of a model of cells; x is read in batches."""

  def eval_step(state, key, batch):
    del key
    return experiment.model.bind({"params": state.params, **state.variables}).infer(batch).mean()

  run = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)
  found = np.concatenate([np.asarray(run(state, key, arrays)) for arrays in parts])
  warmed = getattr(experiment.model, "warmed", None)
  return found if warmed is None else found[:, np.array(warmed)]


def silhouette(z: np.ndarray, groups: np.ndarray, most: int, seed: int) -> float:
  """The mean silhouette of the cells, or of `most` cells drawn at random: distances of all N are N^2."""
  metrics = errors.import_package("sklearn.metrics", "evaluate.cell_clusters")
  if most < len(z):
    drawn = np.random.RandomState(seed).choice(len(z), most, replace=False)
    z, groups = z[drawn], groups[drawn]
  several = 1 < len(np.unique(groups)) < len(z)
  return float(metrics.silhouette_score(z, groups)) if several else float("nan")


def mixing_entropy(z: np.ndarray, batch: np.ndarray, neighbours: int, pools: int, pool_size: int, seed: int) -> float:
  """Entropy of batch mixing (Haghverdi et al., 2018), nats: of the batches among the nearest cells of a cell.

  For `pools` draws of `pool_size` cells, the mean over these cells of -sum_b p_b log p_b, p_b the share of batch b
  among the `neighbours` nearest of all cells.  At most log of the number of batches.
  """
  of = errors.import_package("sklearn.neighbors", "evaluate.cell_clusters")
  k = min(neighbours, len(z) - 1)
  near = of.NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z, return_distance=False)[:, 1:]
  shares = np.stack([(batch[near] == b).mean(1) for b in np.unique(batch)], 1)  # [N, batches]
  entropy = -np.sum(np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300)), 0), 1)
  rng = np.random.RandomState(seed)
  size = min(pool_size, len(z))
  return float(np.mean([entropy[rng.choice(len(z), size, replace=False)].mean() for _ in range(pools)]))


def cluster_scores(
  z: np.ndarray, y: np.ndarray, num_init: int, seed: int, silhouette_cells: int = 10_000
) -> dict[str, float]:
  """{ari, nmi, nmi_geometric, asw} of KMeans clusters of z against the types y, and of the types themselves (asw).

  nmi has the arithmetic mean of the entropies, as scikit-learn since 0.22; nmi_geometric the geometric one of before,
  in which older tables are.
  """
  cluster, metrics = (errors.import_package(f"sklearn.{m}", "evaluate.cell_clusters") for m in ("cluster", "metrics"))
  found = cluster.KMeans(len(np.unique(y)), n_init=num_init, random_state=seed).fit_predict(z)
  nmi = lambda mean: float(metrics.normalized_mutual_info_score(y, found, average_method=mean))
  return {
    "ari": float(metrics.adjusted_rand_score(y, found)),
    "nmi": nmi("arithmetic"),
    "nmi_geometric": nmi("geometric"),
    "asw": silhouette(z, y, silhouette_cells, seed),
  }


def evaluate(
  experiment: Any,
  state: Any,
  key: jax.Array,
  arrays: dict,
  *,
  num_init: int = 200,
  neighbours: int = 50,
  pools: int = 50,
  pool_size: int = 100,
  silhouette_cells: int = 10_000,
  batch_size: int = 500,
  seed: int = 0,
  ignore: str = "",
  on_all: bool = True,
) -> dict[str, Any]:
  """KMeans clusters of E_q[z|x] against the labels y, and the mixing of the batches (Lopez et al., 2018).

  Args:
    experiment, state, key, arrays: the built experiment, the trained state, the evaluation key, the test cells.
    num_init, seed: of KMeans, with as many clusters as there are types.
    neighbours, pools, pool_size: of the entropy of batch mixing.
    silhouette_cells: as many cells, drawn at random, are compared with each other at most.
    batch_size: cells at once.
    ignore: a class whose cells are left out of the scores of types, such as "NA".
    on_all: whether all cells are used, as in the literature, or the test cells alone.

  Returns:
    cells_ari, cells_nmi, cells_nmi_geometric, cells_asw, where the data have labels y >= 0; batch_entropy,
    batch_entropy_most (log of the number of batches) and batch_asw where they have batches; cells_scored, and
    asw_cells, the number of cells of the two silhouettes at most.
  """
  parts = list(experiment.splits.parts().values()) if on_all else [arrays]
  z = latent_means(experiment, state, key, parts, batch_size)
  arrays = {k: np.concatenate([a[k] for a in parts]) for k in ("y", "batch") if all(k in a for a in parts)}
  found: dict[str, Any] = {"cells_scored": len(z), "asw_cells": min(len(z), silhouette_cells)}
  if "y" in arrays:
    classes = list(experiment.splits.about.get("classes", ()))
    y = np.asarray(arrays["y"])
    left_out = classes.index(errors.choose("class", ignore, classes)) if ignore else -1
    kept = (y >= 0) & (y != left_out)
    if len(np.unique(y[kept])) > 1:
      scores = cluster_scores(z[kept], y[kept], num_init, seed, silhouette_cells)
      found |= {f"cells_{name}": value for name, value in scores.items()}
  if "batch" in arrays and len(np.unique(arrays["batch"])) > 1:
    batch = np.asarray(arrays["batch"])
    found["batch_entropy"] = mixing_entropy(z, batch, neighbours, pools, pool_size, seed)
    found["batch_entropy_most"] = math.log(len(np.unique(batch)))
    found["batch_asw"] = silhouette(z, batch, silhouette_cells, seed)
  return found

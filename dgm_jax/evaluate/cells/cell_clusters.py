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
  errors.require(seed >= 0, f"evaluate.cell_clusters.seed = {seed}; it must be 0 or more.")


def latent_means(experiment: Any, state: Any, key: jax.Array, arrays: dict, batch_size: int) -> np.ndarray:
  """E_q[z|x], [N, L], without the library of a model of cells."""

  def eval_step(state, key, batch):
    del key
    return experiment.model.bind({"params": state.params, **state.variables}).infer(batch).mean()

  found = make_evaluate_examples(eval_step, experiment.transforms.evaluate, batch_size)(state, key, arrays)
  warmed = getattr(experiment.model, "warmed", None)
  return np.asarray(found) if warmed is None else np.asarray(found)[:, np.array(warmed)]


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


def cluster_scores(z: np.ndarray, y: np.ndarray, num_init: int, seed: int) -> dict[str, float]:
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
    "asw": float(metrics.silhouette_score(z, y)),
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
    batch_size: cells at once.
    ignore: a class whose cells are left out of the scores of types, such as "NA".
    on_all: whether all cells are used, as in the literature, or the test cells alone.

  Returns:
    cells_ari, cells_nmi, cells_nmi_geometric, cells_asw, where the data have labels y >= 0; batch_entropy,
    batch_entropy_most (log of the number of batches) and batch_asw where they have batches; cells_scored.
  """
  if on_all:
    parts = experiment.splits.parts().values()
    arrays = {k: np.concatenate([np.asarray(a[k]) for a in parts]) for k in arrays if all(k in a for a in parts)}
  z = latent_means(experiment, state, key, arrays, batch_size)
  found: dict[str, Any] = {"cells_scored": len(z)}
  if "y" in arrays:
    classes = list(experiment.splits.about.get("classes", ()))
    y = np.asarray(arrays["y"])
    left_out = classes.index(errors.choose("class", ignore, classes)) if ignore else -1
    kept = (y >= 0) & (y != left_out)
    if len(np.unique(y[kept])) > 1:
      scores = cluster_scores(z[kept], y[kept], num_init, seed)
      found |= {f"cells_{name}": value for name, value in scores.items()}
  if "batch" in arrays and len(np.unique(arrays["batch"])) > 1:
    batch = np.asarray(arrays["batch"])
    metrics = errors.import_package("sklearn.metrics", "evaluate.cell_clusters")
    found["batch_entropy"] = mixing_entropy(z, batch, neighbours, pools, pool_size, seed)
    found["batch_entropy_most"] = math.log(len(np.unique(batch)))
    found["batch_asw"] = float(metrics.silhouette_score(z, batch))
  return found

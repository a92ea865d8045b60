"""Differential expression from draws of the genes' frequencies rho, as scVI defines it (Lopez et al., 2018).

vanilla: P(rho_a > rho_b), with the Bayes factor log p / (1 - p).  change: P(|log2 rho_a / rho_b| > delta) (Boyeau et
al., 2019).  a and b are drawn independently from the two groups.  scvi-tools' mode `change` leaves out outlying cells
and estimates a pseudocount from genes that are not expressed; here neither is done, as rho is positive.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from dgm_jax.core import errors

MODES = ("vanilla", "change")
_FLOOR = 1e-12


def log2_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """log2 of rho_a / rho_b, [M, G]."""
  return np.log2(np.maximum(a, _FLOOR)) - np.log2(np.maximum(b, _FLOOR))


def scores(a: np.ndarray, b: np.ndarray, mode: str = "change", delta: float = 0.25) -> dict[str, np.ndarray]:
  """{column: [G]} of draws of rho of M pairs, a and b [M, G]."""
  errors.choose("mode", mode, MODES)
  errors.require(delta >= 0, f"delta = {delta}; it must be 0 or more.")
  ratio = log2_ratio(a, b)
  if mode == "vanilla":
    p = (a > b).mean(0)
    return {"proba_m1": p, "proba_m2": 1 - p, "bayes_factor": _log_odds(p)} | _scales(a, b)
  p = (np.abs(ratio) > delta).mean(0)
  found = {"proba_de": p, "proba_not_de": 1 - p, "bayes_factor": _log_odds(p)} | _scales(a, b)
  moments = {"lfc_mean": ratio.mean(0), "lfc_median": np.median(ratio, 0), "lfc_std": ratio.std(0)}
  return found | moments | {"lfc_min": ratio.min(0), "lfc_max": ratio.max(0), "delta": np.full(len(p), delta)}


def _scales(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
  return {"scale1": a.mean(0), "scale2": b.mean(0)}


def _log_odds(p: np.ndarray) -> np.ndarray:
  return np.log(p + 1e-8) - np.log(1 - p + 1e-8)


def called(p: np.ndarray, fdr: float) -> np.ndarray:
  """Which genes are called [G]: the largest set of highest probabilities whose mean of 1 - p is at most `fdr`."""
  errors.require(0 < fdr < 1, f"fdr_target = {fdr}; it must be between 0 and 1.")
  order = np.argsort(-p, kind="stable")
  expected = np.cumsum(1 - p[order]) / np.arange(1, len(p) + 1)
  below = np.flatnonzero(expected <= fdr)
  found = np.zeros(len(p), bool)
  if len(below):
    found[order[: below[-1] + 1]] = True
  return found


def pairs(groups: tuple[np.ndarray, np.ndarray], num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Indices of `num` cells drawn from each of two groups of indices, with replacement."""
  rng = np.random.default_rng(seed)
  return tuple(rng.choice(group, num) for group in groups)  # type: ignore[return-value]


def group_pairs(
  groups: tuple[np.ndarray, np.ndarray], batch: np.ndarray | None, num: int, seed: int
) -> list[tuple[int | None, np.ndarray, np.ndarray]]:
  """(batch that both are decoded in, or None; cells a, cells b): with `batch` [N], pairs of the same batch.

  Raises:
    UserError: no batch has cells of both groups.
  """
  if batch is None:
    return [(None, *pairs(groups, num, seed))]
  shared = sorted(set(batch[groups[0]].tolist()) & set(batch[groups[1]].tolist()))
  errors.require(bool(shared), "batch_correction: no batch has cells of both groups.")
  each = math.ceil(num / len(shared))
  of = lambda b: tuple(g[batch[g] == b] for g in groups)
  return [(b, *pairs(of(b), each, seed + i)) for i, b in enumerate(shared)]


def cell_indices(given: Any, num_cells: int, name: str) -> np.ndarray:
  """Indices of cells: integers from 0, negative ones from the end, or a truth value for each of the cells.

  Raises:
    UserError: there is none, one is out of range, or a mask is of another length.
  """
  found = np.asarray(given)
  if found.dtype == bool:
    errors.require(
      found.shape == (num_cells,), f"{name} is a mask of shape {found.shape}; there are {num_cells:,} cells."
    )
    found = np.flatnonzero(found)
  errors.require(found.size > 0, f"{name} has no cells.")
  errors.require(
    found.ndim == 1 and found.dtype.kind in "iu", f"{name} must be a list of integers, or a mask of cells."
  )
  wrong = found[(found < -num_cells) | (found >= num_cells)]
  errors.require(not len(wrong), f"{name} has {wrong[:1].tolist()}, and there are {num_cells:,} cells, from 0.")
  return found % num_cells


def group_indices(values: list[str], group: Any, column: str) -> np.ndarray:
  """Cells of a group: a name, or several names."""
  several = isinstance(group, Iterable) and not isinstance(group, str)
  names = list(map(str, group)) if several else [str(group)]
  for name in names:
    errors.choose(f"group of {column!r}", name, set(values))
  return np.flatnonzero(np.isin(np.array(values), names))

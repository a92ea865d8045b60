"""Other imputation methods on the masked tables that runs were trained on: the same rows, the same entries hidden."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dgm_jax.applications.imputation import baselines
from dgm_jax.core import files
from dgm_jax.experiments.harness import measured
from dgm_jax.models.linear import exact_inference
from dgm_jax.sweeps import states
from dgm_jax.training import build
from dgm_jax.training.workdir import legacy_configs

LABELS = {
  "ppca": "PPCA, EM",
  "forest": "forest, missForest-like",
  "mice": "chained ridge, MICE-like",
  "knn": "5 neighbours",
  "mean": "mean",
}
NOTE = (
  "The other methods are fitted to the same rows and impute the same hidden entries. PPCA is probabilistic PCA, fitted "
  "to the observed entries by EM with a tolerance of 1e-9 nats per row and as many latent dimensions as the models; "
  "forest is scikit-learn's IterativeImputer with extremely randomised trees, not missForest; MICE-like is the same "
  "imputer with Bayesian ridge regression, using means instead of draws."
)
_RANDOM = ("ppca", "forest")  # depend on a seed
_TOLERANCE, _MAX_STEPS = 1e-9, 5000


class Table(NamedTuple):
  """Rows with missing entries.

  Attributes:
    x: the complete rows, after the transforms, [N, D].
    mask: 1 where an entry is observed, [N, D].
    latent_dim: latent dimensions of the model that was trained on them.
  """

  x: np.ndarray
  mask: np.ndarray
  latent_dim: int


def read(config: ConfigDict) -> Table:
  """The rows whose hidden entries a run of this config imputes."""
  splits, transforms = build.load(config)
  arrays = splits.parts()[config.evaluate.imputation.part]
  batch = transforms.evaluate(jax.random.key(0), {name: jnp.asarray(a) for name, a in arrays.items()})
  flat = lambda name: np.asarray(batch[name], np.float64).reshape(len(batch["x"]), -1)
  return Table(flat("complete"), flat("mask"), config.model.args.latent_dim)


def _ppca(table: Table, seed: int) -> np.ndarray:
  with jax.enable_x64(True):
    x, mask = jnp.asarray(table.x * table.mask), jnp.asarray(table.mask)
    start = exact_inference.start(jax.random.key(seed), x, mask, table.latent_dim, isotropic=True)
    params, *_ = exact_inference.fit(start, x, mask, _TOLERANCE, _MAX_STEPS)
    return np.asarray(exact_inference.conditional(params, x, mask)[0])


def fill(table: Table, method: str, seed: int = 0) -> np.ndarray:
  """The rows with hidden entries imputed, [N, D], by a method of LABELS; it sees no hidden entry."""
  if method == "ppca":
    return _ppca(table, seed)
  seen = np.where(table.mask > 0, table.x, np.nan)
  return baselines.make(method, seed=seed).fit(seen).transform(seen)


def squared_error(table: Table, filled: np.ndarray) -> float:
  """The mean over the hidden entries of (x - filled)^2."""
  return float(np.square(filled - table.x)[table.mask == 0].mean())


def _name(label: str, method: str) -> str:
  return f"{label}-{method}"


def measure(
  folder: pathlib.Path, tables: Mapping[str, Sequence[str]], methods: Sequence[str], seeds: Sequence[int]
) -> None:
  """Writes the mean squared errors "mse" [S] of each method on each table; skips those already measured.

  Args:
    folder: the budget's folder.
    tables: {label of a table: the runs trained on it}; tables without a finished run are skipped.
    methods: keys of LABELS.
    seeds: the S seeds; a method without randomness has the same error for all.
  """
  for label, runs in tables.items():
    done = [states.folder(folder, run) for run in runs if states.is_finished(folder, run)]
    left = {m: path for m in methods if not (path := measured.file(folder, _name(label, m))).exists()}
    if not done or not left:
      continue
    table = read(ConfigDict(legacy_configs.read_config(done[0])))
    for method, path in left.items():
      print(f"  measuring {method} of {label}", flush=True)
      path.parent.mkdir(exist_ok=True)
      errors = [squared_error(table, fill(table, method, seed)) for seed in (seeds if method in _RANDOM else seeds[:1])]
      files.save_arrays(path, mse=np.broadcast_to(errors, len(seeds)))


def errors(folder: pathlib.Path, label: str, methods: Sequence[str]) -> dict[str, np.ndarray]:
  """{method: mean squared errors [S]} of a table, for the methods already measured."""
  found = {method: measured.arrays(folder, [_name(label, method)]) for method in methods}
  return {method: arrays[0]["mse"] for method, arrays in found.items() if arrays}

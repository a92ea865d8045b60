"""Small files of single cells in every format, with the same counts."""

import pathlib

import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse

N, G = 60, 12


def counts(seed: int = 0, n: int = N) -> np.ndarray:
  """Counts [n, G] with no empty cell and no empty gene."""
  x = np.random.default_rng(seed).poisson(1.5, (n, G))
  x[np.arange(n), np.arange(n) % G] += 1
  return x


def obs(n: int = N) -> pd.DataFrame:
  """Columns of the cells."""
  i = np.arange(n)
  frame = pd.DataFrame(index=[f"cell{k}" for k in i])
  frame["donor"] = pd.Categorical([f"d{k % 2}" for k in i])
  frame["type"] = [("alpha", "beta", "unknown")[k % 3] for k in i]
  frame["lane"] = i % 4
  frame["age"] = ((i - i.mean()) / i.std()).astype(float)
  frame["depth"] = 1.0 + i / n
  return frame


def anndata_of(x: np.ndarray, frame: pd.DataFrame | None = None):
  """An AnnData of dense float counts."""
  import anndata

  frame = obs(len(x)) if frame is None else frame
  var = pd.DataFrame(index=[f"gene{j}" for j in range(x.shape[1])])
  return anndata.AnnData(x.astype(np.float32), frame, var)


def write_all(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """{format: path} with the counts of seed 0."""
  import h5py

  x, found = counts(), {}
  for name, matrix in (
    ("dense", x.astype(np.float32)),
    ("csr", scipy.sparse.csr_matrix(x.astype(np.float32))),
    ("csc", scipy.sparse.csc_matrix(x.astype(np.float32))),
  ):
    made = anndata_of(x)
    made.layers["counts"] = matrix
    made.X = matrix if name != "csr" else matrix * 0.5  # X of this one is normalised: the counts are in a layer
    found[name] = folder / f"{name}.h5ad"
    made.write_h5ad(found[name])
  found["loom"] = folder / "cells.loom"
  with h5py.File(found["loom"], "w") as file:
    file["matrix"] = x.T
    file.create_group("layers")
    file["row_attrs/Gene"] = np.array([f"gene{j}".encode() for j in range(G)])
    file["col_attrs/CellID"] = np.array([f"cell{i}".encode() for i in range(N)])
    file["col_attrs/donor"] = np.array([f"d{i % 2}".encode() for i in range(N)])
    file["col_attrs/lane"] = (np.arange(N) % 4)[:, None]
  by_cell = scipy.sparse.csr_matrix(x)
  found["10x"] = folder / "matrix.h5"
  with h5py.File(found["10x"], "w") as file:
    group = file.create_group("matrix")
    for name in ("data", "indices", "indptr"):
      group[name] = getattr(by_cell, name)
    group["shape"] = [G, N]
    group["barcodes"] = np.array([f"cell{i}".encode() for i in range(N)])
    group["features/name"] = np.array([f"gene{j}".encode() for j in range(G)])
  found["mtx"] = folder / "mtx"
  found["mtx"].mkdir()
  scipy.io.mmwrite(found["mtx"] / "matrix.mtx", scipy.sparse.coo_matrix(x.T))
  (found["mtx"] / "features.tsv").write_text("".join(f"ENS{j}\tgene{j}\tGene Expression\n" for j in range(G)))
  (found["mtx"] / "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(N)))
  return found


def quick(make_config):
  """runs.make_config, with ten importance samples of the evaluation."""

  def make(*args):
    config = make_config(*args)
    with config.unlocked():
      if "importance_sampling" in config.evaluate:
        config.evaluate.importance_sampling.num_samples = 10
    return config

  return make

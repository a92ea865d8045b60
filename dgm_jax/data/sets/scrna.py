"""scrna: counts of RNA molecules by cell and gene, small published matrices with cell types.

Members: smfish, osmFISH of mouse cortex, 4,530 cells x 33 genes, 6 types (Codeluppi et al., 2018); starmap, STARmap of
mouse prefrontal cortex, 3,704 x 158 in 3 batches, 16 clusters, where "NA" marks 526 cells without one (Wang et al.,
2018); pbmc68k, 700 x 765 blood cells, 10 types (Zheng et al., 2017), the subset in the package scanpy; and simulated,
2,000 cells x 60 genes in 2 batches, drawn from scVI's likelihood; cortex, 3,005 x 558 (Zeisel et al., 2015).

Held-out log-likelihoods are comparable only on the same cells and genes.  scVI (Lopez et al., 2018) used other cells
and genes of the same studies, and its splits are not published.  pbmc68k was filtered for variable genes, so the total
counts of its cells are not the sequencing depths.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data import simulated_cells
from dgm_jax.data.cells import described, with_factorials
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, at_random

_SCVI = "https://github.com/YosefLab/scVI-data/raw/master/"
_LINNARSSON = "https://storage.googleapis.com/linnarsson-lab-www-blobs/blobs/cortex/expression_mRNA_17-Aug-2014.txt"
_SCANPY = "https://github.com/scverse/scanpy/raw/1.11.5/src/scanpy/datasets/10x_pbmc68k_reduced.h5ad"


@contextlib.contextmanager
def _hdf5(path: pathlib.Path, expected: str) -> Iterator[Any]:
  h5py = readers.extra("h5py", path)
  with readers.reading(path, expected), h5py.File(path, "r") as file:
    yield file


def _strings(names: np.ndarray) -> list[str]:
  return [n.decode() if isinstance(n, bytes) else str(n) for n in np.asarray(names).tolist()]


def _integers(x: np.ndarray) -> np.ndarray:
  if not (x.min() >= 0 and (x == np.round(x)).all()):
    raise ValueError("the counts are not non-negative integers")
  return x.astype(np.int32)


def _codes(codes: np.ndarray, classes: list[str]) -> np.ndarray:
  if codes.min() < 0 or codes.max() >= len(classes):
    raise ValueError("a cell has no type")
  return codes.astype(np.int32)


def _smfish(path: pathlib.Path) -> tuple[Arrays, dict]:
  with _hdf5(path, "an .h5ad file with counts in X and types in obs/str_labels") as file:
    labels = file["obs/str_labels"]
    about = {"genes": _strings(file["var/_index"][:]), "classes": _strings(labels["categories"][:])}
    return {"x": _integers(file["X"][:]), "y": _codes(labels["codes"][:], about["classes"])}, about


def _starmap(path: pathlib.Path) -> tuple[Arrays, dict]:
  with _hdf5(path, "a .loom file with matrix, row_attrs/Gene and col_attrs/Clusters, BatchID") as file:
    classes, y = np.unique(_strings(file["col_attrs/Clusters"][:]), return_inverse=True)
    arrays = {"x": _integers(file["matrix"][:].T), "y": y, "batch": _integers(file["col_attrs/BatchID"][:, 0])}
    return arrays, {"genes": _strings(file["row_attrs/Gene"][:]), "classes": classes.tolist()}


def _pbmc68k(path: pathlib.Path) -> tuple[Arrays, dict]:
  """Recovers the counts from raw.X = log(1 + 10,000 count / n_counts), which is precise enough for exact counts."""
  with _hdf5(path, "scanpy's .h5ad file with log-normalised counts in raw.X") as file:
    import scipy.sparse

    raw, obs = file["raw.X"], file["obs"][:]
    about = {"genes": _strings(file["raw.var"]["index"]), "classes": _strings(file["uns/bulk_labels_categories"][:])}
    shape = len(obs), len(about["genes"])
    x = scipy.sparse.csr_matrix((raw["data"][:], raw["indices"][:], raw["indptr"][:]), shape).toarray()
    x = np.round(np.expm1(x.astype(np.float64)) * obs["n_counts"][:, None].astype(np.float64) / 1e4)
    return {"x": _integers(x), "y": _codes(obs["bulk_labels"], about["classes"])}, about


_CORTEX_GENES = 558


def _cortex(path: pathlib.Path) -> tuple[Arrays, dict]:
  """The 558 genes with the largest variance of counts, as in the authors' code of scVI; level1class is the type."""
  with readers.reading(path, "the table expression_mRNA_17-Aug-2014.txt of Zeisel et al."):
    rows = [line.rstrip("\r\n").split("\t") for line in path.read_text().splitlines()]
    classes, y = np.unique(rows[8][2:], return_inverse=True)
    x = np.array([[int(v) for v in row[2:]] for row in rows[11:] if len(row) > 2]).T
    names = [row[0] for row in rows[11:] if len(row) > 2]
    if rows[8][1] != "level1class" or len(x) != len(y):
      raise ValueError("line 9 is not level1class, or a line has another number of cells")
    chosen = np.argsort(-x.var(0), kind="stable")[:_CORTEX_GENES]
    about = {"genes": [names[j] for j in chosen], "classes": classes.tolist()}
    return {"x": _integers(x[:, chosen]), "y": y.astype(np.int32)}, about


def _spec(member: str, description: str, citation: str, url: str, reader, cells: int, genes: int, **more) -> DataSet:
  def read(files: dict[str, pathlib.Path]) -> tuple[Arrays, dict]:
    arrays, about = reader(files["cells"])
    counts = {
      "cells": ({len(a) for a in arrays.values()}, cells),
      "genes": ({*arrays["x"].shape[1:], len(about["genes"])}, genes),
    }
    for what, (found, published) in counts.items():
      errors.require(found == {published}, f"{files['cells']} has {sorted(found)} {what}; {published} are published.")
    return arrays, about

  return DataSet(
    name=f"scrna/{member}",
    description=description,
    homepage=url.partition("/raw/")[0],
    files={"cells": File(url, url.rpartition("/")[2])},
    features={"x": ((genes,), "int32"), "y": ((), "int32")} | more.pop("features", {}),
    citation=citation,
    sizes={"cells": cells},
    read=lambda files: {"cells": read(files)[0]},
    about=lambda files: read(files)[1],
    **more,
  )


DATA_SETS = (
  _spec(
    "smfish", "Counts of 33 genes in cells of mouse somatosensory cortex by osmFISH.",
    "Codeluppi et al.: Spatial organization of the somatosensory cortex revealed by osmFISH, Nature Methods, 2018.",
    f"{_SCVI}smfish.h5ad", _smfish, 4_530, 33, license="none stated",
  ),
  _spec(
    "starmap", "Counts of 158 genes in cells of mouse medial prefrontal cortex by STARmap.",
    "Wang et al.: Three-dimensional intact-tissue sequencing of single-cell transcriptional states, Science, 2018.",
    f"{_SCVI}mpfc-starmap.loom", _starmap, 3_704, 158, license="none stated", features={"batch": ((), "int32")},
  ),
  _spec(
    "cortex", "Counts of the 558 most variable genes in cells of mouse cortex and hippocampus.",
    "Zeisel et al.: Cell types in the mouse cortex and hippocampus revealed by single-cell RNA-seq, Science, 2015.",
    _LINNARSSON, _cortex, 3_005, _CORTEX_GENES, license="none stated",
  ),
  _spec(
    "pbmc68k", "Counts of 765 genes in 700 of 68,000 peripheral blood cells.",
    "Zheng et al.: Massively parallel digital transcriptional profiling of single cells, Nature Communications, 2017.",
    _SCANPY, _pbmc68k, 700, 765, license="CC BY 4.0, 10x Genomics; scanpy is BSD-3",
  ),
)  # fmt: skip


MEMBERS = ("simulated",)  # drawn, not published; see `load`


def load(
  member: str,
  data_dir: str | None = None,
  manual_dir: str | None = None,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  split_seed: int = 0,
) -> Splits:
  """x int32 [N, G] counts, y int32 [N] type, an index into about["classes"]; starmap has `batch` int32 [N] of 0, 1, 2.

  simulated_cells.py describes `simulated`, whose cells are drawn from scVI's likelihood with known parameters.

  Args:
    member: smfish, starmap, pbmc68k, cortex or simulated.
    data_dir, manual_dir: see prepare.prepared.
    valid_fraction, test_fraction, split_seed: see splits.at_random.
  """
  if member == "simulated":
    drawn, truth = simulated_cells.draw(seed=split_seed)
    return described(at_random(with_factorials(drawn), valid_fraction, test_fraction, split_seed, truth))
  parts = prepared(next(s for s in DATA_SETS if s.name == f"scrna/{member}"), data_dir, manual_dir)
  about = {name: tuple(parts.about[name]) for name in ("genes", "classes")}
  return described(at_random(parts["cells"], valid_fraction, test_fraction, split_seed, about))

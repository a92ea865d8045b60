"""Cells in memory (AnnData), and the arrays that a trained model takes, with genes matched by their names."""

from typing import Any

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.core.batches import Arrays
from dgm_jax.data import cells as counts
from dgm_jax.data.files import cell_files
from dgm_jax.data.sets.cells import Columns, of_columns

WHERE = "adata"


def of_anndata(adata: Any, layer: str | None = None) -> cell_files.CellFile:
  """Cells of an AnnData, as those of a file."""
  layers = [name for name in adata.layers if name is not None]
  matrix = adata.layers[errors.choose(f"layer of {WHERE}", layer, layers)] if layer else adata.X
  errors.require(matrix is not None, f"{WHERE} has no X; choose a layer: {', '.join(layers)}.")
  errors.require(adata.n_obs > 0 and adata.n_vars > 0, f"{WHERE} has no cells, or no genes.")
  errors.require(adata.var_names.is_unique, f"{WHERE} has two genes of one name; adata.var_names_make_unique() helps.")

  def rows(start: int, stop: int) -> np.ndarray:
    block = matrix[start:stop]
    return np.asarray(block.toarray() if hasattr(block, "toarray") else block)

  def column(name: str) -> np.ndarray:
    return adata.obs[errors.choose("column of adata.obs", name, adata.obs.columns)].to_numpy(object)

  texts = cell_files.texts
  return cell_files.CellFile(
    WHERE, texts(adata.var_names), texts(adata.obs_names), rows, column, list(map(str, adata.obs.columns))
  )


def store(path: Any, file: cell_files.CellFile, columns: Columns, layer: str | None = None) -> None:
  """Writes counts and the columns that are used to one .npz, which data.name = cells reads.

  Args:
    path: the file.
    file, columns: cells, and their columns that are used.
    layer: of the AnnData, from which the counts are.

  Raises:
    UserError: counts or columns that cannot be used, or the file is there already with other cells.
  """
  import scipy.sparse

  of_columns(file, columns)  # validates
  blocks = []
  for start, x in file.blocks():
    counts.check_counts(x, file.cells[start:], file.genes, str(file.path))
    counts.check_totals(x.sum(1), file.cells[start:], str(file.path))
    blocks.append(scipy.sparse.csr_matrix(x.astype(np.int32)))
  used = [columns.batch, columns.labels, columns.size_factor, *columns.categorical, *columns.continuous]
  obs = {}
  for name in filter(None, used):
    values = np.asarray(file.column(name))
    of_numbers = name == columns.size_factor or name in columns.continuous
    obs[name] = values.astype(np.float64) if of_numbers else counts.as_texts(values)
  arrays = cell_files.as_arrays(scipy.sparse.vstack(blocks), file.genes, file.cells, obs, layer or "")
  if not path.exists():
    cell_files.save(path, arrays)
    return
  known = files.load_arrays(path)
  same = known.keys() == arrays.keys() and all(np.array_equal(known[k], a) for k, a in arrays.items())
  errors.require(same, f"{path.parent} holds a run of other cells; name another folder.")


def arrays_of(file: cell_files.CellFile, columns: Columns, about: dict, with_labels: bool = False) -> Arrays:
  """The arrays of further cells for a model: its genes in its order, batches and categories by their names.

  Raises:
    UserError: a gene of the model is absent, a count is none, or a batch or category is not known.
  """
  where, genes = str(file.path), list(about["genes"])
  place = {name: j for j, name in enumerate(file.genes)}
  absent = [name for name in genes if name not in place]
  if absent:
    raise errors.UserError(
      f"{where} lacks gene {absent[0]!r} and {len(absent) - 1:,} more of the {len(genes):,} genes of the model."
    )
  order = np.array([place[name] for name in genes])
  x = np.empty((len(file.cells), len(genes)), np.int32)
  for start, block in file.blocks():
    used = block[:, order]
    counts.check_counts(used, file.cells[start:], genes, where)
    x[start : start + len(block)] = used
  counts.check_totals(x.sum(1), file.cells, where)
  given = columns if with_labels else columns._replace(labels="")
  arrays, _ = of_columns(file, given, about)
  return counts.with_factorials({"x": x, "index": np.arange(len(x), dtype=np.int32)} | arrays)

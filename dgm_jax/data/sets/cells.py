"""cells: counts of RNA molecules by cell and gene from the user's own file, with batches, labels and covariates.

The first use checks every count and writes the rows, dense and uncompressed (uint16, or int32 where a count is above
65,535), to the folder of the data sets, from which they are mapped: neither the first use nor training holds a file in
memory as a whole.
"""

import hashlib
import json
import pathlib
from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data import cells as counts
from dgm_jax.data.files import cell_files, gene_choice
from dgm_jax.data.files.table_options import listed
from dgm_jax.data.published import cache
from dgm_jax.data.splits import Splits, random_indices

_VERSION = 2  # of the cached arrays; 2: 10x files without features that are no genes


class Columns(NamedTuple):
  """Which columns of the file describe the cells; see `load`."""

  batch: str = ""
  labels: str = ""
  unlabelled: str = ""
  size_factor: str = ""
  categorical: tuple[str, ...] = ()
  continuous: tuple[str, ...] = ()


def of_columns(file: cell_files.CellFile, columns: Columns, known: dict | None = None) -> tuple[dict, dict]:
  """({name: array [N, ...]}, about) of what describes the cells; `known` is the about of a trained model."""
  where, known = str(file.path), known or {}
  arrays, about = {}, {}
  if columns.batch:
    found = counts.categories(file.column(columns.batch), columns.batch, where, known.get("batches"))
    arrays["batch"], about["batches"] = found
    if not known:
      sizes = np.bincount(found[0])
      errors.require(
        sizes.min() >= 2,
        f"{where}: batch {found[1][int(sizes.argmin())]!r} of column {columns.batch!r} has one cell; a batch needs two "
        "or more: join it to another, or remove the cell.",
      )
  if columns.labels:
    values = file.column(columns.labels)
    arrays["y"], about["classes"] = counts.labels(
      values, columns.labels, where, columns.unlabelled, known.get("classes")
    )
  if columns.size_factor:
    try:
      factor = np.asarray(file.column(columns.size_factor), np.float32)
    except (TypeError, ValueError):
      raise errors.UserError(f"{where}: column {columns.size_factor!r} holds texts, not size factors.") from None
    errors.require(
      bool(np.isfinite(factor).all() and (factor > 0).all()),
      f"{where}: column {columns.size_factor!r} has size factors that are not positive.",
    )
    arrays["size_factor"] = factor
  if columns.categorical:
    of = known.get("category_names") or [None] * len(columns.categorical)
    pairs = [counts.categories(file.column(c), c, where, k) for c, k in zip(columns.categorical, of, strict=True)]
    arrays["categories"] = np.stack([codes for codes, _ in pairs], 1)
    about["category_names"] = [names for _, names in pairs]
  if columns.continuous:
    arrays["continuous"] = np.stack([counts.continuous(file.column(c), c, where) for c in columns.continuous], 1)
  return arrays, about


def _chosen_genes(file: cell_files.CellFile, batch: np.ndarray, num_genes: int) -> np.ndarray:
  """Indices of the genes to use; all counts are checked here, or when the rows are written."""
  if not num_genes or num_genes >= len(file.genes):
    return np.arange(len(file.genes))
  of_batches = int(batch.max(initial=0)) + 1

  def blocks():
    for start, x in file.blocks():
      counts.check_counts(x, file.cells[start:], file.genes, str(file.path))
      yield start, x

  variances = gene_choice.residual_variances(blocks, batch, of_batches, len(file.genes))
  return gene_choice.choose(variances, num_genes)


def _write(folder: pathlib.Path, file: cell_files.CellFile, columns: Columns, num_genes: int, split: tuple) -> None:
  arrays, about = of_columns(file, columns)
  n = len(file.cells)
  batch = arrays.get("batch", np.zeros(n, np.int32))
  genes = _chosen_genes(file, batch, num_genes)
  about["genes"] = [file.genes[j] for j in genes]
  totals, sums, largest = np.zeros(n), np.zeros(len(genes)), 0
  for start, x in file.blocks():
    counts.check_counts(x, file.cells[start:], file.genes, str(file.path))
    totals[start : start + len(x)] = x[:, genes].sum(1)
    sums += x[:, genes].sum(0)
    largest = max(largest, int(x.max(initial=0)))
  counts.check_totals(totals, file.cells, str(file.path))
  counts.check_genes(sums, about["genes"], str(file.path))
  parts = random_indices(n, *split)
  dtype = np.dtype(np.uint16 if largest < 2**16 else np.int32)
  targets = {p: cache.create(folder / p / "x.npy", dtype, (len(i), len(genes))) for p, i in parts.items()}
  factorials = np.zeros(n, np.float32)
  place = {p: (order := np.argsort(i), i[order]) for p, i in parts.items()}  # rows of the file, ascending
  for start, x in file.blocks():
    rows = x[:, genes].astype(dtype)
    factorials[start : start + len(x)] = counts.small_log_factorials(rows)
    for p, (order, at) in place.items():
      low, high = np.searchsorted(at, (start, start + len(x)))
      targets[p][order[low:high]] = rows[at[low:high] - start]
  for target in targets.values():
    target.flush()
  for name, array in (arrays | {"log_factorials": factorials, "row": np.arange(n, dtype=np.int32)}).items():
    for p, indices in parts.items():
      cache.save_rows(folder / p / f"{name}.npy", array, indices)
  cache.save_about(folder, about)


def load(
  path: str,
  layer: str | None = None,
  batch: str | None = None,
  labels: str | None = None,
  unlabelled: str | None = None,
  size_factor: str | None = None,
  categorical: str | None = None,
  continuous: str | None = None,
  num_genes: int = 0,
  valid_fraction: float = 0.0,
  test_fraction: float = 0.1,
  split_seed: int = 0,
  data_dir: str | None = None,
) -> Splits:
  """x uint16 [N, G] counts; batch, y, categories, continuous, size_factor as the file has them; `row` of the file.

  Args:
    path: .h5ad, .loom, 10x .h5, or a 10x folder; see files/cell_files.py.
    layer: of an .h5ad or .loom, in place of X.
    batch, labels, size_factor: columns that describe the cells.
    unlabelled: the label of cells without one, which become y = -1.
    categorical, continuous: further columns, "A,B", which the decoder knows.
    num_genes: the number of most variable genes to use, by Pearson residuals within batches; 0 for all genes.
    valid_fraction, test_fraction, split_seed: of the random splits.
    data_dir: where the rows are kept; see cache.data_dir.

  Raises:
    UserError: the sentence names the cell, gene or column that cannot be used.
  """
  file = pathlib.Path(path).expanduser().absolute()
  errors.require(file.exists(), f"data.path {str(path)!r} does not exist; supported: {cell_files.FORMATS}.")
  errors.require(num_genes >= 0, f"data.num_genes = {num_genes}; it must be 1 or more, or 0 for all genes.")
  columns = Columns(
    batch or "", labels or "", unlabelled or "", size_factor or "", listed(categorical), listed(continuous)
  )
  used = sorted(file.rglob("*")) if file.is_dir() else [file]
  stats = [(str(f), s.st_size, s.st_mtime_ns, s.st_ino) for f in used for s in (f.stat(),)]
  split = (valid_fraction, test_fraction, split_seed)
  key = hashlib.sha256(json.dumps([_VERSION, stats, layer, columns, num_genes, split]).encode()).hexdigest()[:16]
  folder = cache.data_dir(data_dir) / "dgm_arrays" / f"cells-{key}"

  def write(target: pathlib.Path) -> None:
    with cell_files.opened(file, layer or "") as found:
      _write(target, found, columns, num_genes, split)

  found = cache.cached(folder, ("train", "test"), write, what=path)
  return counts.described(Splits(found["train"], found.get("valid"), found["test"], found.about))

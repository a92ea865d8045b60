"""Files of single cells: counts by cell and gene, read by rows, with the columns that describe the cells.

Formats: .h5ad (X or a layer; CSR and dense matrices are read by rows and never whole, CSC as a sparse matrix), .loom
and 10x .h5 (by rows), a 10x folder (matrix.mtx with genes or features and barcodes), and the .npz that `save` writes.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors, files
from dgm_jax.data.files import readers

FORMATS = ".h5ad, .loom, 10x .h5, a 10x folder with matrix.mtx"
_BLOCK_ENTRIES = 2**24  # of a dense block of rows
_OBS = "obs/"


class CellFile(NamedTuple):
  """An open file.

  Attributes:
    path: its path.
    genes, cells: their names.
    rows: (start, stop) -> counts of these cells, dense, [stop - start, G], of any type.
    column: name of a column that describes the cells -> its values [N].
    columns: the names of these columns.
    left_out: number of features of a 10x file that are no genes.
  """

  path: pathlib.Path
  genes: list[str]
  cells: list[str]
  rows: Callable[[int, int], np.ndarray]
  column: Callable[[str], np.ndarray]
  columns: list[str]
  left_out: int = 0

  def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, counts) of consecutive blocks of rows."""
    step = max(1, _BLOCK_ENTRIES // max(1, len(self.genes)))
    for start in range(0, len(self.cells), step):
      yield start, self.rows(start, min(start + step, len(self.cells)))


def texts(values: Any) -> list[str]:
  """Names as strings."""
  return [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(values).tolist()]


@contextlib.contextmanager
def opened(path: str | pathlib.Path, layer: str = "") -> Iterator[CellFile]:
  """Opens a file of cells.

  Args:
    path: a file or folder, see FORMATS.
    layer: of an .h5ad or a .loom, in place of X; of an .npz, the one from which its counts are.

  Raises:
    UserError: there is no such file or layer, or it is not of one of the formats.
  """
  path = pathlib.Path(path).expanduser()
  errors.require(path.exists(), f"{path} does not exist; a file of cells is expected: {FORMATS}.")
  readers.require_file(path)
  kinds = {".h5ad": _h5ad, ".loom": _loom, ".h5": _tenx, ".npz": _store}
  kind = _folder if path.is_dir() else kinds.get(path.suffix.lower())
  errors.require(kind is not None, f"{path} is of an unknown format; supported: {FORMATS}.")
  errors.require(
    not layer or path.suffix.lower() in (".h5ad", ".loom", ".npz"), f"{path} has no layers: leave out layer."
  )
  with contextlib.ExitStack() as stack:
    with readers.reading(path, "a file of cells"):
      found = kind(path, layer, stack)
    errors.require(len(found.cells) > 0 and len(found.genes) > 0, f"{path} has no cells, or no genes.")
    double = _first_double(found.genes)
    errors.require(double is None, f"{path}: gene {double!r} occurs twice; give the genes unique names.")
    yield found


def _first_double(names: list[str]) -> str | None:
  seen: set[str] = set()
  for name in names:
    if name in seen:
      return name
    seen.add(name)
  return None


def _hdf5(path: pathlib.Path, stack: contextlib.ExitStack) -> Any:
  h5py = readers.extra("h5py", path)
  try:
    return stack.enter_context(h5py.File(path, "r"))
  except BlockingIOError as e:
    raise errors.UserError(f"{path} is open in another process that writes it: wait until that has ended.") from e
  except OSError as e:
    locked = "lock" in str(e)
    errors.require(not locked, f"{path} is open in another process that writes it: wait until that has ended.")
    raise


def _sparse_rows(group: Any, shape: tuple[int, int]) -> Callable[[int, int], np.ndarray]:
  """Rows of a CSR matrix in arrays or HDF5 data sets: data, indices, indptr."""
  indptr = np.asarray(group["indptr"][:], np.int64)
  data, indices = group["data"], group["indices"]

  def rows(start: int, stop: int) -> np.ndarray:
    low, high = indptr[start], indptr[stop]
    values = np.asarray(data[low:high])
    dense = np.zeros((stop - start, shape[1]), values.dtype)
    dense[np.repeat(np.arange(stop - start), np.diff(indptr[start : stop + 1])), np.asarray(indices[low:high])] = values
    return dense

  return rows


def _matrix_rows(found: Any, path: pathlib.Path, name: str) -> Callable[[int, int], np.ndarray]:
  """Rows of X or a layer of an .h5ad."""
  if hasattr(found, "shape"):
    return lambda start, stop: found[start:stop]
  kind = found.attrs.get("encoding-type", found.attrs.get("h5sparse_format", ""))
  kind = kind.decode() if isinstance(kind, bytes) else str(kind)
  shape = tuple(int(n) for n in found.attrs.get("shape", found.attrs.get("h5sparse_shape", ())))
  errors.require(kind[:3] in ("csr", "csc") and len(shape) == 2, f"{path}: {name} is of the unknown kind {kind!r}.")
  if kind.startswith("csr"):
    return _sparse_rows(found, shape)
  import scipy.sparse

  by_rows = scipy.sparse.csc_matrix((found["data"][:], found["indices"][:], found["indptr"][:]), shape).tocsr()
  return lambda start, stop: by_rows[start:stop].toarray()


def _h5ad(path: pathlib.Path, layer: str, stack: contextlib.ExitStack) -> CellFile:
  anndata = readers.extra("anndata", path)
  file = _hdf5(path, stack)
  layers = sorted(file["layers"]) if "layers" in file else []
  if layer:
    errors.choose(f"layer of {path}", layer, layers)
  else:
    errors.require("X" in file, f"{path} has no X; choose one of its layers: {', '.join(layers)}.")
  obs, var = (anndata.io.read_elem(file[name]) for name in ("obs", "var"))
  rows = _matrix_rows(file["layers"][layer] if layer else file["X"], path, layer or "X")
  take = lambda name: obs[errors.choose(f"column of obs of {path}", name, obs.columns)].to_numpy(object)
  return CellFile(path, texts(var.index), texts(obs.index), rows, take, list(map(str, obs.columns)))


def _loom(path: pathlib.Path, layer: str, stack: contextlib.ExitStack) -> CellFile:
  file = _hdf5(path, stack)
  layers = sorted(file["layers"]) if "layers" in file else []
  matrix = file["layers"][errors.choose(f"layer of {path}", layer, layers)] if layer else file["matrix"]
  of_genes, of_cells = file["row_attrs"], file["col_attrs"]
  name = lambda group, choices, number: next(
    (texts(group[c][:]) for c in choices if c in group), list(map(str, range(number)))
  )
  columns = [c for c in of_cells if of_cells[c].ndim == 1 or of_cells[c].shape[1:] == (1,)]

  def take(column: str) -> np.ndarray:
    values = of_cells[errors.choose(f"column of {path}", column, columns)][:].reshape(-1)
    return np.array(texts(values), object) if values.dtype.kind in "SO" else values

  genes = name(of_genes, ("Gene", "gene_names", "var_names"), matrix.shape[0])
  cells = name(of_cells, ("CellID", "obs_names", "barcode"), matrix.shape[1])
  return CellFile(path, genes, cells, lambda start, stop: matrix[:, start:stop].T, take, columns)


def _no_column(path: pathlib.Path) -> Callable[[str], np.ndarray]:
  return lambda name: errors.choose(f"column of {path}", name, ())


def _tenx(path: pathlib.Path, layer: str, stack: contextlib.ExitStack) -> CellFile:
  file = _hdf5(path, stack)
  group = file["matrix"] if "matrix" in file else file[sorted(file)[0]]
  if not {"data", "indices", "indptr", "barcodes"} <= set(group):
    raise ValueError("it has no group with data, indices, indptr and barcodes, as Cell Ranger writes it")
  genes = group["features"]["name"] if "features" in group else group["gene_names"]
  num_genes, num_cells = (int(n) for n in group["shape"][:])
  rows = _sparse_rows(group, (num_cells, num_genes))
  kinds = group["features"].get("feature_type") if "features" in group else None
  kept = _are_genes([] if kinds is None else texts(kinds[:]), num_genes)
  names = _unique([name for name, is_gene in zip(texts(genes[:]), kept, strict=True) if is_gene])
  some = lambda start, stop: rows(start, stop)[:, kept]
  return CellFile(path, names, texts(group["barcodes"][:]), some, _no_column(path), [], int((~kept).sum()))


def _are_genes(kinds: list[str], number: int) -> np.ndarray:
  """Which features [G] of a 10x file are genes, not antibodies, peaks ...; all where it does not say."""
  found = np.array([kind in ("", "Gene Expression") for kind in kinds], bool)
  return found if len(found) == number else np.ones(number, bool)


def _unique(names: list[str]) -> list[str]:
  """Names with -1, -2 ... at repetitions, as scanpy makes them: 10x has several genes of one symbol."""
  seen: dict[str, int] = {}
  found = []
  for name in names:
    count = seen.get(name, 0)
    seen[name] = count + 1
    found.append(f"{name}-{count}" if count else name)
  return found


def _folder(path: pathlib.Path, layer: str, stack: contextlib.ExitStack) -> CellFile:
  import scipy.io

  def one(*names: str) -> pathlib.Path:
    found = [path / f"{n}{end}" for n in names for end in ("", ".gz") if (path / f"{n}{end}").exists()]
    errors.require(bool(found), f"{path} has no {' or '.join(names)}, which a 10x folder has.")
    return found[0]

  matrix = scipy.io.mmread(one("matrix.mtx")).T.tocsr()
  genes = [line.split("\t") for line in readers.lines(one("features.tsv", "genes.tsv"))]
  cells = readers.lines(one("barcodes.tsv"))
  if matrix.shape != (len(cells), len(genes)):
    raise ValueError(f"its matrix is {matrix.shape[1]} x {matrix.shape[0]}, for {len(genes)} genes, {len(cells)} cells")
  kept = _are_genes([row[2] if len(row) > 2 else "" for row in genes], len(genes))
  names = _unique([row[min(1, len(row) - 1)] for row, is_gene in zip(genes, kept, strict=True) if is_gene])
  matrix = matrix[:, np.flatnonzero(kept)]
  rows = lambda start, stop: matrix[start:stop].toarray()
  return CellFile(path, names, cells, rows, _no_column(path), [], int((~kept).sum()))


def _store(path: pathlib.Path, layer: str, stack: contextlib.ExitStack) -> CellFile:
  found = readers.archive(path)
  if not {"data", "indices", "indptr", "shape", "genes", "cells"} <= found.keys():
    raise ValueError("it lacks data, indices, indptr, shape, genes or cells of a sparse matrix of cells")
  layers = [str(found["layer"])] if "layer" in found else []
  errors.require(
    not layer or layer in layers, f"{path} has counts of {layers[0] if layers else 'X'!r}, not of layer {layer!r}."
  )
  columns = [name.removeprefix(_OBS) for name in found if name.startswith(_OBS)]
  take = lambda name: found[_OBS + errors.choose(f"column of {path}", name, columns)]
  rows = _sparse_rows(found, tuple(found["shape"].tolist()))
  return CellFile(path, found["genes"].tolist(), found["cells"].tolist(), rows, take, columns)


def as_arrays(
  matrix: Any, genes: list[str], cells: list[str], obs: Mapping[str, np.ndarray], layer: str = ""
) -> dict[str, np.ndarray]:
  """The arrays of an .npz for counts [N, G], dense or a sparse matrix, with names and columns of the cells."""
  import scipy.sparse

  by_rows = scipy.sparse.csr_matrix(matrix)
  by_rows.sort_indices()
  arrays = {"data": by_rows.data, "indices": by_rows.indices, "indptr": by_rows.indptr}
  arrays |= {"shape": np.array(by_rows.shape), "genes": np.array(genes, str), "cells": np.array(cells, str)}
  arrays |= {"layer": np.array(layer)} if layer else {}
  return arrays | {_OBS + name: values for name, values in obs.items()}


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes `as_arrays`, uncompressed, atomically."""
  files.save_plain_arrays(path, **arrays)

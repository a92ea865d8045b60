"""The user's own files as arrays: .npy, .npz, tables, .h5ad.  Each reader gives (arrays, about)."""

import pathlib
from typing import Any

import numpy as np

from dgm_jax import errors
from dgm_jax.data import readers
from dgm_jax.data.splits import Arrays, size

PARTS = ("train", "valid", "test")
_SPARSE = {"data", "indices", "indptr", "shape"}


def values(x: np.ndarray, path: Any, name: str = "x") -> Arrays:
  """{name: array} in the dtypes that the rest expects, and {"mask": ...} if there are NaN.

  bool stays, uint8 of zeros and ones becomes bool, other integers int32, numbers float32; a vector becomes a column,
  and uint8 or bool images [N, H, W] get a channel.  NaN becomes 0 where mask is 0.

  Raises:
    UserError: no numbers, Inf, or nothing at all.
  """
  kind = x.dtype.kind
  errors.require(kind in "biuf", f"{path}: {name!r} holds {x.dtype}, where numbers belong.")
  errors.require(x.ndim >= 1 and x.size > 0, f"{path}: {name!r} is empty (shape {list(x.shape)}).")
  if kind == "u" and x.dtype.itemsize == 1 and x.max() <= 1:
    x = x.astype(bool)
  elif kind in "iu" and x.dtype != np.uint8:
    limits = np.iinfo(np.int32)
    errors.require(x.min() >= limits.min and x.max() <= limits.max, f"{path}: {name!r} has integers beyond 32 bits.")
    x = x.astype(np.int32)
  if x.ndim == 1:
    x = x[:, None]
  if x.ndim == 3 and x.dtype in (np.uint8, bool):
    x = x[..., None]
  if kind != "f":
    return {name: x}
  missing = np.isnan(x)
  errors.require(not np.isinf(x).any(), f"{path}: {name!r} holds Inf.")
  x = x.astype(np.float32)
  if not missing.any():
    return {name: x}
  errors.require(not missing.all(), f"{path}: {name!r} holds nothing but NaN.")
  return {name: np.where(missing, np.float32(0), x), "mask": (~missing).astype(np.float32)}


def labels(y: np.ndarray, path: Any, name: str) -> tuple[np.ndarray, list[str] | None]:
  """(int32 classes or float32 responses [N], names of the classes where they were strings)."""
  if y.dtype.kind in "iub":
    return y.astype(np.int32), None
  if y.dtype.kind == "f":
    errors.require(not np.isnan(y).any(), f"{path}: label {name!r} has missing values.")
    return y.astype(np.float32), None
  classes, codes = np.unique(y.astype(str), return_inverse=True)
  return codes.astype(np.int32), classes.tolist()


def _labelled(arrays: Arrays, about: dict, y: np.ndarray, path: Any, name: str, key: str = "y") -> None:
  """Adds a label to arrays, and the names of its classes to about."""
  n = size(arrays)
  errors.require(len(y) == n, f"{path}: {name!r} has {len(y)} entries for {n} examples.")
  arrays[key], classes = labels(y, path, name)
  if classes is not None:
    about["classes" if key == "y" else key] = classes


def table(path: pathlib.Path, label: str) -> tuple[Arrays, dict]:
  """x float32 [N, D] of a .csv, .tsv or .parquet file with a line of names; mask where cells are empty or NaN."""
  options = {} if path.suffix == ".parquet" else {"sep": "\t" if ".tsv" in path.name else ","}
  frame = readers.table(path, "a table with a line of column names", **options)
  if options and all(_is_number(c) for c in frame.columns):  # the first line is data
    frame = readers.table(path, "a table", header=None, **options)
    frame.columns = [str(c) for c in frame.columns]
  errors.require(len(frame) > 0, f"{path} is empty: it has no rows.")
  y = None
  if label:
    y = frame.pop(errors.choose(f"label column of {path}", label, [str(c) for c in frame.columns]))
    errors.require(not y.isna().any(), f"{path}: label {label!r} has missing values.")
  arrays = values(readers.numbers(frame, path), path)
  about: dict = {"columns": [str(c) for c in frame.columns]}
  if y is not None:
    _labelled(arrays, about, y.to_numpy(), path, label)
  return arrays, about


def _is_number(text: Any) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True


def array(path: pathlib.Path, label: str) -> tuple[Arrays, dict]:
  """x of a .npy file."""
  errors.require(not label, f"{path} holds one array and no label; save a .npz with x and {label!r}.")
  x = readers.array(path)
  big_and_plain = x.dtype == np.uint8 and x.ndim == 4  # stays mapped
  return ({"x": x}, {}) if big_and_plain and x[: 2**12].max(initial=0) > 1 else (values(x, path), {})


def archive(path: pathlib.Path, label: str) -> tuple[dict[str, Arrays], dict]:
  """{part: arrays} of a .npz file: x, and y, mask and more; or x_train, y_train, x_test ...; or a sparse matrix.

  Arrays as long as x belong to the examples, others to `about`.
  """
  found = readers.archive(path)
  if found.keys() >= _SPARSE:
    found = _dense(found, path)
  if "x_train" in found:
    errors.require("x_test" in found, f"{path} has x_train and no x_test.")
    parts = {p: {k.removesuffix(f"_{p}"): v for k, v in found.items() if k.endswith(f"_{p}")} for p in PARTS}
    parts = {p: arrays for p, arrays in parts.items() if arrays}
  else:
    errors.require("x" in found, f"{path} lacks the array 'x' (or x_train and x_test); it has {', '.join(found)}.")
    parts = {"all": found}
  read = {part: _example_arrays(arrays, path, label) for part, arrays in parts.items()}
  if any("mask" in arrays for arrays, _ in read.values()):  # then every part has one
    for arrays, _ in read.values():
      arrays.setdefault("mask", np.ones(arrays["x"].shape, np.float32))
  about = read.get("all", read.get("train"))[1]
  shapes = {part: arrays["x"].shape[1:] for part, (arrays, _) in read.items()}
  errors.require(len(set(shapes.values())) == 1, f"{path}: the parts differ in shape: {shapes}.")
  return {part: arrays for part, (arrays, _) in read.items()}, about


def _dense(found: Arrays, path: pathlib.Path) -> Arrays:
  """x of a matrix in compressed sparse rows, as scipy.sparse.save_npz writes it."""
  import scipy.sparse

  names = [found.get("format", np.array("csr")).item(), *_SPARSE]
  kind = names[0].decode() if isinstance(names[0], bytes) else names[0]
  errors.require(kind in ("csr", "csc"), f"{path} is a sparse matrix in format {kind!r}; save it as csr.")
  with readers.reading(path, "a sparse matrix of scipy.sparse.save_npz"):
    cls = scipy.sparse.csr_matrix if kind == "csr" else scipy.sparse.csc_matrix
    matrix = cls((found["data"], found["indices"], found["indptr"]), tuple(found["shape"]))
    rest = {k: v for k, v in found.items() if k not in _SPARSE | {"format"}}
    return {"x": matrix.toarray()} | rest


def _example_arrays(found: Arrays, path: pathlib.Path, label: str) -> tuple[Arrays, dict]:
  arrays, about = values(found["x"], path), {}
  n = size(arrays)
  chosen = label or ("y" if "y" in found else "")
  if chosen:
    errors.choose(f"array of {path}", chosen, found)
    _labelled(arrays, about, found[chosen].reshape(len(found[chosen]), -1)[:, 0], path, chosen)
  if "mask" in found:
    mask = found["mask"].reshape(found["mask"].shape + (1,) * (arrays["x"].ndim - found["mask"].ndim))
    errors.require(mask.shape == arrays["x"].shape, f"{path}: mask has shape {list(mask.shape)}, x another.")
    arrays["mask"] = mask.astype(np.float32) * arrays.get("mask", np.float32(1))
    arrays["x"] = np.where(arrays["mask"] > 0, arrays["x"], 0).astype(arrays["x"].dtype)
  for name, array_ in found.items():
    if name in ("x", "y", "mask", chosen):
      continue
    if array_.ndim == 1 and len(array_) == n and array_.dtype.kind not in "biuf":
      if len(np.unique(array_)) < n:  # not the names of the examples
        _labelled(arrays, about, array_, path, name, key=name)
    elif array_.ndim >= 1 and len(array_) == n:
      arrays |= values(array_, path, name) if array_.ndim > 1 else {name: labels(array_, path, name)[0]}
    else:
      about[name] = array_.tolist()
  return arrays, about


def cells(path: pathlib.Path, label: str, layer: str, batch: str) -> tuple[Arrays, dict]:
  """x [N, G] of an .h5ad file (X, or a layer), with y and batch from columns of obs."""
  anndata = readers.extra("anndata", path)
  with readers.reading(path, "an .h5ad file"):
    found = anndata.read_h5ad(path)
  x = found.layers[errors.choose(f"layer of {path}", layer, found.layers.keys())] if layer else found.X
  errors.require(x is not None, f"{path} has no X; choose of its layers: {', '.join(found.layers.keys())}.")
  x = np.asarray(x.todense() if hasattr(x, "todense") else x)
  if x.dtype.kind == "f" and x.min() >= 0 and (x == np.round(x)).all():
    x = x.astype(np.int64)  # counts
  arrays, about = values(x, path), {"genes": found.var_names.astype(str).tolist()}
  for key, column in (("y", label), ("batch", batch)):
    if column:
      errors.choose(f"column of obs of {path}", column, found.obs.columns)
      column_values = found.obs[column]
      errors.require(not column_values.isna().any(), f"{path}: column {column!r} of obs has missing values.")
      if column_values.dtype == "category":
        column_values = column_values.astype(str)
      _labelled(arrays, about, column_values.to_numpy(), path, column, key=key)
  return arrays, about

"""Readers of the user's own arrays: .npy, .npz, .h5ad.  Each returns (arrays, about); tables: user_tables.py."""

import pathlib
import re
from typing import Any

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, size, take
from dgm_jax.data import units
from dgm_jax.data.files import readers
from dgm_jax.data.files.table_options import Options, chosen, keys, listed, marked

_SPARSE = {"data", "indices", "indptr", "shape"}
_RESERVED = {"index", "epoch", "log_det", "context", "hidden", "complete"}  # other keys of batches
_PART = re.compile(r"(\w+)_(train|valid|val|test)")


def _int32(x: np.ndarray, path: Any, name: str) -> np.ndarray:
  limits = np.iinfo(np.int32)
  errors.require(x.min() >= limits.min and x.max() <= limits.max, f"{path}: {name!r} has integers too large for int32.")
  return x.astype(np.int32)


def _floats(x: np.ndarray, path: Any, name: str, exact: bool) -> np.ndarray:
  """x as float32; where that would make different values equal, as float64 if `exact` (see units.py)."""
  with np.errstate(over="ignore"):
    rounded = x.astype(np.float32)
  errors.require(not np.isinf(rounded).any(), f"{path}: {name!r} holds Inf, or numbers too large for float32.")
  return x if exact and units.lost(x) is not None else rounded


def values(x: np.ndarray, path: Any, name: str = "x") -> np.ndarray:
  """x converted to a supported dtype.

  bool and uint8 stay, but uint8 of only zeros and ones becomes bool; other integers become int32, floats float32 (NaN
  may remain), or stay float64 where x would lose its differences (see units.py); a vector becomes a column, and uint8
  or bool images [N, H, W] get a channel axis.

  Raises:
    UserError: x is not numeric, holds Inf, or is empty.
  """
  kind = x.dtype.kind
  errors.require(kind in "biuf", f"{path}: {name!r} holds {x.dtype}, where numbers are expected.")
  errors.require(x.ndim >= 1 and x.size > 0, f"{path}: {name!r} is empty (shape {list(x.shape)}).")
  if x.dtype == np.uint8:
    x = x.astype(bool) if x.max() <= 1 else x
  elif kind in "iu":
    x = _int32(x, path, name)
  elif kind == "f":
    x = _floats(x, path, name, exact=name == "x")
  if x.ndim == 1:
    x = x[:, None]
  return x[..., None] if x.ndim == 3 and x.dtype in (np.uint8, bool) else x


def labels(y: np.ndarray, path: Any, name: str, exact: bool = True) -> tuple[np.ndarray, list[str] | None]:
  """(int32 classes or float responses [N], names of the classes if y holds strings); `exact`: see _floats."""
  if y.ndim == 2 and y.shape[1] == 1:
    y = y[:, 0]
  errors.require(
    y.ndim == 1, f"{path}: target {name!r} has shape {list(y.shape)}; one class or number for each example is expected."
  )
  if y.dtype.kind in "iub":
    return _int32(y, path, name), None
  if y.dtype.kind == "f":
    errors.require(not np.isnan(y).any(), f"{path}: target {name!r} has missing values.")
    return _floats(y, path, name, exact), None
  errors.require(y.dtype.kind in "OUST", f"{path}: target {name!r} holds {y.dtype}; classes or numbers are expected.")
  texts, codes = np.unique(y.astype(str), return_inverse=True)
  first: dict[Any, str] = {}
  for text, one in zip(texts.tolist(), keys(texts), strict=True):  # "true" and "True" are one class
    first.setdefault(one, text)
  classes = list(first.values())
  return np.array([classes.index(first[one]) for one in keys(texts)], np.int32)[codes], classes


def with_mask(arrays: Arrays, path: Any, mask: np.ndarray | None = None, markers: tuple[str, ...] = ()) -> Arrays:
  """Adds `mask`, 1 where x is observed, if x has NaN or a marker, or a mask is given; x is 0 where the mask is 0."""
  x = arrays["x"]
  missing = marked(x, markers) if markers or x.dtype.kind == "f" else np.zeros((), bool)
  if mask is not None:
    errors.require(mask.dtype.kind in "biuf", f"{path}: mask holds {mask.dtype}, where 0 and 1 are expected.")
    mask = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    errors.require(
      mask.shape == x.shape and np.isin(mask, (0, 1)).all(),
      f"{path}: mask must have x's shape {list(x.shape)} and be 1 where x is observed, 0 where it is missing.",
    )
    missing = missing | (mask == 0)
  elif not missing.any():
    return arrays
  errors.require(not missing.all(), f"{path}: 'x' has no observed entry.")
  return arrays | {"x": np.where(missing, 0, x).astype(x.dtype), "mask": (~missing).astype(np.float32)}


def add_target(arrays: Arrays, about: dict, y: np.ndarray, path: Any, name: str, key: str = "y") -> None:
  """Adds a label to arrays, and the names of its classes to about."""
  n = size(arrays)
  errors.require(y.ndim >= 1 and len(y) == n, f"{path}: {name!r} has shape {list(y.shape)} for {n} examples.")
  arrays[key], classes = labels(y, path, name, exact=key == "y")
  if classes is not None:
    about["classes" if key == "y" else key] = classes


def _some_columns(arrays: Arrays, about: dict, options: Options, path: Any) -> tuple[Arrays, dict]:
  """The columns of x [N, D] that the options choose, for files whose target is no column of x."""
  if not listed(options.columns):
    return arrays, about
  shape = arrays["x"].shape
  errors.require(len(shape) == 2, f"{path}: the option columns is for x [N, D]; here it has shape {list(shape)}.")
  key = "genes" if "genes" in about else "columns"
  names = about.get(key) or [f"x{j}" for j in range(shape[1])]
  used, _ = chosen(names, options._replace(target=""), path)
  chosen_ = {k: a[:, used] for k, a in arrays.items() if k in ("x", "mask")}
  return arrays | chosen_, about | {key: [names[j] for j in used]}


def array(path: pathlib.Path, options: Options) -> tuple[Arrays, dict]:
  """x of a .npy file; uint8 images [N, H, W, C] stay memory-mapped."""
  target = options.target
  errors.require(not target, f"{path} holds one array and no target; save a .npz with x and {target!r}.")
  x = readers.array(path)
  if x.dtype == np.uint8 and x.ndim == 4 and x[: 2**12].max(initial=0) > 1:
    return {"x": x}, {}
  return _some_columns(with_mask({"x": values(x, path)}, path, markers=options.markers), {}, options, path)


def archive(path: pathlib.Path, options: Options) -> tuple[dict[str, Arrays], dict]:
  """{part: arrays} of a .npz file: x, and y, mask and more; or x_train, y_train, x_test ...; or a sparse matrix.

  Arrays as long as x are data of the examples, others go to `about`.  All parts are converted together, so that they
  have the same classes and dtypes.
  """
  found = readers.archive(path)
  if found.keys() >= _SPARSE or found.keys() >= {"row", "col", "data"}:
    found = _dense(found, path)
  for name in found:
    errors.require(
      name.isidentifier() and name not in _RESERVED, f"{path}: {name!r} cannot be the name of an array; rename it."
    )
  if "x_train" not in found:
    errors.require("x" in found, f"{path} lacks the array 'x' (or x_train and x_test); it has {', '.join(found)}.")
    arrays, about = _example_arrays(found, path, options)
    return {"all": arrays}, about
  joined, counts = _join(found, path)
  arrays, about = _example_arrays(joined, path, options)
  ends = np.cumsum(list(counts.values()))
  return {p: take(arrays, slice(end - n, end)) for (p, n), end in zip(counts.items(), ends, strict=True)}, about


def _join(found: Arrays, path: pathlib.Path) -> tuple[Arrays, dict[str, int]]:
  """({name: array of all parts}, {part: number of examples}) of x_train, y_train, x_test, ..."""
  parts: dict[str, Arrays] = {}
  rest = {}
  for name, array_ in found.items():
    if match := _PART.fullmatch(name):
      parts.setdefault({"val": "valid"}.get(match[2], match[2]), {})[match[1]] = array_
    else:
      rest[name] = array_
  errors.require("test" in parts, f"{path} has x_train but no x_test.")
  errors.require("x" not in rest, f"{path} has both x and x_train; leave one of them out.")
  names = parts["train"].keys()
  for part, arrays in parts.items():
    errors.require(
      arrays.keys() == names,
      f"{path} has {', '.join(f'{n}_train' for n in names)}, but {', '.join(f'{n}_{part}' for n in arrays)}.",
    )
    shape, n = parts["train"]["x"].shape[1:], len(np.atleast_1d(arrays["x"]))
    errors.require(
      arrays["x"].shape[1:] == shape,
      f"{path}: the parts differ in shape: {list(shape)}, {part} {arrays['x'].shape[1:]}.",
    )
    for name, array_ in arrays.items():
      errors.require(
        array_.shape[:1] == (n,), f"{path}: {name}_{part} has shape {list(array_.shape)} for {n} examples."
      )
  with readers.reading(path, "a file whose parts can be joined"):
    joined = {name: np.concatenate([arrays[name] for arrays in parts.values()]) for name in names}
  return joined | rest, {part: len(arrays["x"]) for part, arrays in parts.items()}


def _dense(found: Arrays, path: pathlib.Path) -> Arrays:
  """x, dense, of a sparse matrix (csr or csc) as scipy.sparse.save_npz writes it."""
  import scipy.sparse

  form = found.get("format", np.array("csr" if "indptr" in found else "coo")).item()
  form = form.decode() if isinstance(form, bytes) else form
  errors.require(form in ("csr", "csc"), f"{path} is a sparse matrix in format {form!r}; save it as csr.")
  with readers.reading(path, "a sparse matrix as scipy.sparse.save_npz writes it"):
    cls = scipy.sparse.csr_matrix if form == "csr" else scipy.sparse.csc_matrix
    matrix = cls((found["data"], found["indices"], found["indptr"]), tuple(found["shape"]))
    matrix.check_format(full_check=True)  # toarray() may crash on an invalid matrix
    return {"x": matrix.toarray()} | {k: v for k, v in found.items() if k not in _SPARSE | {"format"}}


def _example_arrays(found: Arrays, path: pathlib.Path, options: Options) -> tuple[Arrays, dict]:
  arrays = with_mask({"x": values(found["x"], path)}, path, found.get("mask"), options.markers)
  arrays, about = _some_columns(arrays, {}, options, path)
  n = size(arrays)
  target = options.target or ("y" if "y" in found else "")
  if target:
    add_target(arrays, about, found[errors.choose(f"array of {path}", str(target), found)], path, target)
  for name, array_ in found.items():
    if name in ("x", "y", "mask", target):
      continue
    if array_.ndim == 0 or len(array_) != n:
      errors.require(array_.dtype.kind in "biufU", f"{path}: {name!r} holds {array_.dtype}, not numbers or strings.")
      about[name] = array_.tolist()
    elif array_.ndim > 1:
      arrays[name] = values(array_, path, name)
      errors.require(not np.isnan(arrays[name]).any(), f"{path}: {name!r} has missing values; only x may have them.")
    elif array_.dtype.kind in "biuf" or len(np.unique(array_)) < n:  # otherwise they are names of the examples
      add_target(arrays, about, array_, path, name, key=name)
  return arrays, about


def cells(path: pathlib.Path, options: Options, layer: str, batch: str) -> tuple[Arrays, dict]:
  """x [N, G] of an .h5ad file (X, or a layer), with y and batch from columns of obs."""
  anndata = readers.extra("anndata", path)
  with readers.reading(path, "an .h5ad file"):
    found = anndata.read_h5ad(path)
  layers = [name for name in found.layers if name is not None]  # newer versions count X as the layer None
  x = found.layers[errors.choose(f"layer of {path}", layer, layers)] if layer else found.X
  errors.require(x is not None, f"{path} has no X; choose one of its layers as data.layer: {', '.join(layers)}.")
  x = np.asarray(x.todense() if hasattr(x, "todense") else x)
  if x.dtype.kind == "f" and x.size and x.min() >= 0 and (x == np.round(x)).all():
    x = x.astype(np.int64)  # counts
  arrays = with_mask({"x": values(x, path)}, path, markers=options.markers)
  arrays, about = _some_columns(arrays, {"genes": found.var_names.astype(str).tolist()}, options, path)
  for key, column in (("y", options.target), ("batch", batch)):
    if column:
      values_ = found.obs[errors.choose(f"column of obs of {path}", column, found.obs.columns)]
      errors.require(not values_.isna().any(), f"{path}: column {column!r} of obs has missing values.")
      add_target(
        arrays, about, (values_.astype(str) if values_.dtype == "category" else values_).to_numpy(), path, column, key
      )
  return arrays, about

"""Reads the arrays of a file that PyTorch saved, in either of its formats, without PyTorch and without running code."""

import io
import pathlib
import pickle
import zipfile
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import errors

_TYPES = {
  "FloatStorage": np.float32,
  "DoubleStorage": np.float64,
  "HalfStorage": np.float16,
  "LongStorage": np.int64,
  "IntStorage": np.int32,
}


class _Lazy(NamedTuple):
  """A tensor whose storage has yet to be read."""

  key: str
  dtype: Any
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def _tensor(storage: tuple, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Lazy:
  return _Lazy(*storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
  """Knows tensors and dicts; any other name in the file is an error, so that nothing of it is called."""

  def find_class(self, module: str, name: str) -> Any:
    if name in _TYPES:
      return _TYPES[name]
    known = {
      ("torch._utils", "_rebuild_tensor_v2"): _tensor,
      ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
      ("collections", "OrderedDict"): OrderedDict,
    }
    if (module, name) not in known:
      raise pickle.UnpicklingError(f"it names {module}.{name}")
    return known[module, name]

  def persistent_load(self, pid: tuple) -> tuple[str, Any]:
    return pid[2], pid[1]  # the storage's key and dtype


def _view(tensor: _Lazy, storage: bytes) -> np.ndarray:
  whole = np.frombuffer(storage, tensor.dtype)
  item = whole.itemsize
  last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
  if min((*tensor.shape, 1)) < 1 or not 0 <= last < len(whole):
    raise ValueError("a tensor reaches beyond its storage")
  strides = [item * s for s in tensor.strides]
  return np.lib.stride_tricks.as_strided(whole[tensor.offset :], tensor.shape, strides).copy()


def _of_zip(path: pathlib.Path) -> tuple[Any, dict[str, bytes]]:
  with zipfile.ZipFile(path) as archive:
    names = archive.namelist()
    [main] = [n for n in names if n.endswith("/data.pkl")]
    folder = main.removesuffix("data.pkl") + "data/"
    found = _Unpickler(io.BytesIO(archive.read(main))).load()
    return found, {n.removeprefix(folder): archive.read(n) for n in names if n.startswith(folder)}


def _of_stream(path: pathlib.Path) -> tuple[Any, dict[str, bytes]]:
  """The format before PyTorch 1.6: four pickles and a list of storages, then each storage after its length."""
  with path.open("rb") as f:
    for _ in range(3):  # magic number, version, sizes of integers
      _Unpickler(f).load()
    found, keys = _Unpickler(f).load(), _Unpickler(f).load()
    sizes = {t.key: np.dtype(t.dtype).itemsize for t in found.values() if isinstance(t, _Lazy)}
    storages = {}
    for key in keys:
      length = int.from_bytes(f.read(8), "little")
      storages[key] = f.read(length * sizes[key])
  return found, storages


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """{name: array} of a state_dict.

  Raises:
    UserError: it is no such file, or holds something else.
  """
  try:
    found, storages = (_of_zip if zipfile.is_zipfile(path) else _of_stream)(path)
    return {name: _view(t, storages[t.key]) for name, t in found.items() if isinstance(t, _Lazy)}
  except OSError:
    raise
  except Exception as e:
    raise errors.UserError(f"{path} is no file of arrays by PyTorch: {e}.") from e

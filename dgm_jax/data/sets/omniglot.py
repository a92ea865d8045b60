"""omniglot: handwritten characters of 50 alphabets, 28 x 28, as Burda, Grosse & Salakhutdinov (2016) use them.

The file of their IWAE code: 24,345 training and 8,070 test images that share the alphabets.  It holds grey levels as
numbers in [0, 1], so x is float32 and not uint8; published likelihoods are for binarised images, drawn again at
every use in the paper (dynamic), but once for validation and test images in the code of the VampPrior (Tomczak &
Welling, 2018).  Other versions of Omniglot (omniglot_resized, other resizings, Lake's own split) are not comparable.
"""

import pathlib

import numpy as np

from dgm_jax.core.batches import Arrays, size, take
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, hold_out_last, permutation

IWAE_SEED = 123  # the authors' code holds out the end of this permutation


def hold_out_permuted(arrays: Arrays, valid_size: int) -> tuple[Arrays, Arrays | None]:
  """(the rest in published order, the last `valid_size` examples of a fixed permutation); (arrays, None) for 0."""
  order = permutation(size(arrays), IWAE_SEED)
  train, valid = hold_out_last({"index": order}, valid_size)
  if valid is None:
    return arrays, None
  return take(arrays, np.sort(train["index"])), take(arrays, valid["index"])


def _part(path: pathlib.Path, prefix: str) -> Arrays:
  """The images and alphabets of one part of the file, both stored with one example per column."""
  data, target = readers.mat(path, f"{prefix}data", f"{prefix}target")
  with readers.reading(path, f"Omniglot at 28 x 28, {prefix}data [784, N] in [0, 1] and {prefix}target [50, N]"):
    if data.ndim != 2 or len(data) != 784 or target.shape != (50, data.shape[1]):
      raise ValueError(f"their shapes are {list(data.shape)} and {list(target.shape)}")
    x = data.T.astype(np.float32).reshape(-1, 28, 28, 1).swapaxes(1, 2)  # MATLAB stores images by column
    if not (x.min() >= 0 and x.max() <= 1):
      raise ValueError(f"{prefix}data lies in [{x.min()}, {x.max()}]")
    return {"x": x, "y": target.argmax(0)}


def _read(files: dict) -> dict:
  return {"train": _part(files["mat"], ""), "test": _part(files["mat"], "test")}


DATA_SETS = (
  DataSet(
    name="omniglot",
    description="Omniglot at 28 x 28, the version of the IWAE paper.",
    homepage="https://github.com/yburda/iwae",
    license="none stated for this version; Omniglot itself is MIT, (c) 2015 Brenden Lake",
    citation="Burda, Grosse and Salakhutdinov: Importance weighted autoencoders, ICLR 2016; Lake, Salakhutdinov and "
    "Tenenbaum: Human-level concept learning through probabilistic program induction, Science 350, 2015.",
    files={
      "mat": File(
        "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
        "chardata.mat",
        git_blob="016a3536ffe5e1d38e42563a18d7a78bfaf643ec",
      )
    },
    features={"x": ((28, 28, 1), "float32"), "y": ((), "int32")},
    sizes={"train": 24_345, "test": 8_070},
    read=_read,
  ),
)


def load(data_dir: str | None = None, manual_dir: str | None = None, valid_size: int = 0) -> Splits:
  """x float32 [N, 28, 28, 1] in [0, 1], y int32 [N], the alphabet 0..49.

  Args:
    data_dir, manual_dir: see prepare.prepared.
    valid_size: number of training examples held out (0: none); 1,345 gives the split of the IWAE code.
  """
  parts = prepared(DATA_SETS[0], data_dir, manual_dir)
  train, valid = hold_out_permuted(parts["train"], valid_size)
  return Splits(train, valid, parts["test"])

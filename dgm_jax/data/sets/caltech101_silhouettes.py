"""caltech101_silhouettes: outlines of the objects of Caltech 101, filled, 28 x 28, binary (Marlin et al., 2010).

The split is the published one, 4,100 / 2,264 / 2,307.  The file draws each object black (0) on white (1); here x is 1
on the object, as in the code of the VampPrior (Tomczak & Welling, 2018) and its successors.  The two conventions give
comparable likelihoods, except that a model's initialisation may favour one.
"""

import pathlib

import numpy as np

from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits

_NAME = "caltech101_silhouettes_28_split1.mat"
_PREFIXES = {"train": "train", "valid": "val", "test": "test"}


def _part(path: pathlib.Path, prefix: str) -> Arrays:
  data, labels = readers.mat(path, f"{prefix}_data", f"{prefix}_labels")
  with readers.reading(path, f"silhouettes, {prefix}_data [N, 784] of 0 and 1 and {prefix}_labels [N, 1] of 1..101"):
    if data.ndim != 2 or data.shape[1] != 784 or labels.size != len(data):
      raise ValueError(f"their shapes are {list(data.shape)} and {list(labels.shape)}")
    if not np.isin(data, (0, 1)).all() or not np.isin(labels, np.arange(1, 102)).all():
      raise ValueError("they hold other values")
    x = (data == 0).reshape(-1, 28, 28, 1).swapaxes(1, 2)  # MATLAB stores images by column
    return {"x": x, "y": labels.ravel().astype(np.int32) - 1}


def _read(files: dict) -> dict:
  return {part: _part(files["mat"], prefix) for part, prefix in _PREFIXES.items()}


DATA_SETS = (
  DataSet(
    name="caltech101_silhouettes",
    description="Silhouettes of the objects of Caltech 101, 101 classes.",
    homepage="https://people.cs.umass.edu/~marlin/data.shtml",
    license="none stated; a derivative of Caltech 101 (CC BY 4.0)",
    citation="Marlin, Swersky, Chen and de Freitas: Inductive principles for restricted Boltzmann machine learning, "
    "AISTATS 2010.",
    files={"mat": File(f"https://people.cs.umass.edu/~marlin/data/{_NAME}", _NAME)},
    features={"x": ((28, 28, 1), "bool"), "y": ((), "int32")},
    sizes={"train": 4_100, "valid": 2_264, "test": 2_307},
    read=_read,
  ),
)


def load(data_dir: str | None = None, manual_dir: str | None = None) -> Splits:
  """x bool [N, 28, 28, 1], y int32 [N], the class 0..100; the validation split is the published one.

  Args:
    data_dir, manual_dir: see prepare.prepared.
  """
  return Splits(**prepared(DATA_SETS[0], data_dir, manual_dir))

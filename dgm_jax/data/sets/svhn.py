"""svhn: house numbers cut out of street photographs, 32 x 32 in colour, one digit each (Netzer et al., 2011).

Members: cropped, the 73,257 training images; extra, these followed by the 531,131 easier ones of the extra set,
604,388 in all, which likelihood papers often train on without saying so.  Both have the same 26,032 test images.  An
image may show parts of neighbouring digits at the sides; y is the digit in the middle.
"""

import itertools
import pathlib
from collections.abc import Iterator

import numpy as np

from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, hold_out_last

_URL = "http://ufldl.stanford.edu/housenumbers/"


def _examples(path: pathlib.Path) -> Iterator[dict]:
  """Yields the examples; the file is held in memory as a whole until the last one."""
  images, labels = readers.mat(path, "X", "y")
  with readers.reading(path, "SVHN, X [32, 32, 3, N] of uint8 and y [N, 1] of 1..10"):
    if images.dtype != np.uint8 or images.shape[:-1] != (32, 32, 3) or labels.shape != (images.shape[-1], 1):
      raise ValueError(f"X is {list(images.shape)} of {images.dtype} and y is {list(labels.shape)}")
    if not np.isin(labels, np.arange(1, 11)).all():
      raise ValueError("y holds other values")
    for i, label in enumerate(labels[:, 0]):
      yield {"x": images[..., i], "y": int(label) % 10}  # the file labels the digit 0 as 10


def _read(files: dict) -> dict:
  train = itertools.chain.from_iterable(_examples(files[k]) for k in ("train", "extra") if k in files)
  return {"train": train, "test": _examples(files["test"])}


def _spec(member: str, files: tuple[str, ...], num_train: int) -> DataSet:
  return DataSet(
    name=f"svhn/{member}",
    description="The Street View House Numbers, cropped digits.",
    homepage=_URL,
    license="for non-commercial use only",
    citation="Netzer, Wang, Coates, Bissacco, Wu and Ng: Reading digits in natural images with unsupervised feature "
    "learning, NIPS workshop on deep learning, 2011.",
    files={part: File(f"{_URL}{part}_32x32.mat", f"{part}_32x32.mat") for part in files},
    features={"x": ((32, 32, 3), "uint8"), "y": ((), "int32")},
    sizes={"train": num_train, "test": 26_032},
    read=_read,
  )


DATA_SETS = (
  _spec("cropped", ("train", "test"), 73_257),
  _spec("extra", ("train", "extra", "test"), 604_388),
)


def load(member: str, data_dir: str | None = None, manual_dir: str | None = None, valid_size: int = 0) -> Splits:
  """x uint8 [N, 32, 32, 3], y int32 [N], the digit.

  Args:
    member: cropped or extra.
    data_dir, manual_dir: see prepare.prepared.
    valid_size: number of training examples held out, from the end, so from the easier ones of extra (0: none).
  """
  spec = next(s for s in DATA_SETS if s.name == f"svhn/{member}")
  parts = prepared(spec, data_dir, manual_dir)
  train, valid = hold_out_last(parts["train"], valid_size)
  return Splits(train, valid, parts["test"])

"""cifar10: colour photographs of ten classes, 32 x 32 (Krizhevsky, 2009).

Members: full, the published 50,000 + 10,000; small, the first 4,000 + 1,000 of them, from the PNG sheets of the
ConvNetJS demo.  Published likelihoods are bits per dimension on all 10,000 test images, of the integers 0..255 or of a
uniformly dequantised density that bounds them; some train on mirrored images too.  small is for quick experiments: its
results are not comparable with published ones.
"""

import pathlib
import re
import tarfile
from collections.abc import Iterator

import numpy as np

from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, hold_out_last

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DEMO = "https://cs.stanford.edu/people/karpathy/convnetjs/demo/cifar10/"
_LABELS = 51_000  # 50,000 of the training set, then the first 1,000 of the test set


def decode(records: bytes) -> Arrays:
  """The binary version's records: a label, then 1,024 bytes each of red, green and blue, row by row."""
  table = np.frombuffer(records, np.uint8).reshape(-1, 3073)
  if table.size and table[:, 0].max() > 9:
    raise ValueError(f"a label is {table[:, 0].max()}")
  return {"x": table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), "y": table[:, 0]}


def _records(path: pathlib.Path, names: list[str]) -> Iterator[dict]:
  expected = "cifar-10-binary.tar.gz with batches of 3,073-byte records"
  with readers.reading(path, expected), tarfile.open(path, "r:gz") as archive:
    for name in names:
      batch = decode(archive.extractfile(f"cifar-10-batches-bin/{name}.bin").read())
      for x, y in zip(batch["x"], batch["y"], strict=True):
        yield {"x": x, "y": y}


def _read_full(files: dict) -> dict:
  batches = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
  return {part: _records(files["tar"], names) for part, names in batches.items()}


def _sheet(path: pathlib.Path) -> np.ndarray:
  """A PNG with an image in each row, its 1,024 pixels side by side."""
  with readers.reading(path, "a PNG sheet of 1,000 images in rows of 1,024 pixels"):
    pixels = readers.image(path.read_bytes(), path, None)
    if pixels.shape != (1000, 1024, 3):
      raise ValueError(f"it has {pixels.shape[0]} rows of {pixels.shape[1]}")
    return pixels.reshape(-1, 32, 32, 3)


def _labels(path: pathlib.Path) -> np.ndarray:
  with readers.reading(path, f"JavaScript with a list of {_LABELS} labels 0..9"):
    listed = re.search(r"labels\s*=\s*\[([\d,\s]*)\]", path.read_text(encoding="ascii"))
    found = np.array([int(s) for s in listed[1].split(",")] if listed else [])
    if len(found) != _LABELS or found.max() > 9:
      raise ValueError(f"it lists {len(found)}")
    return found


def _read_small(files: dict) -> dict:
  y = _labels(files["labels"])
  train = np.concatenate([_sheet(files[f"sheet_{i}"]) for i in range(4)])
  test = _sheet(files["sheet_50"])
  return {"train": {"x": train, "y": y[: len(train)]}, "test": {"x": test, "y": y[50_000:]}}


_FULL = DataSet(
  name="cifar10/full",
  description="The CIFAR-10 photographs, ten classes.",
  homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
  license="none stated; cite the report; a subset of the withdrawn 80 Million Tiny Images",
  citation="Krizhevsky: Learning multiple layers of features from tiny images, University of Toronto, 2009.",
  files={"tar": File("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz")},
  features={"x": ((32, 32, 3), "uint8"), "y": ((), "int32")},
  sizes={"train": 50_000, "test": 10_000},
  read=_read_full,
)
DATA_SETS = (
  _FULL,
  _FULL._replace(
    name="cifar10/small",
    description="The first 4,000 training and 1,000 test images of CIFAR-10.",
    files={f"sheet_{i}": File(f"{_DEMO}cifar10_batch_{i}.png", f"cifar10_batch_{i}.png") for i in (0, 1, 2, 3, 50)}
    | {"labels": File(f"{_DEMO}cifar10_labels.js", "cifar10_labels.js")},
    sizes={"train": 4_000, "test": 1_000},
    read=_read_small,
  ),
)


def load(member: str, data_dir: str | None = None, manual_dir: str | None = None, valid_size: int = 0) -> Splits:
  """x uint8 [N, 32, 32, 3], y int32 [N], an index into about["classes"].

  Args:
    member: full or small.
    data_dir, manual_dir: see prepare.prepared.
    valid_size: number of training examples held out, from the end (0: none).
  """
  spec = next(s for s in DATA_SETS if s.name == f"cifar10/{member}")
  parts = prepared(spec, data_dir, manual_dir)
  train, valid = hold_out_last(parts["train"], valid_size)
  return Splits(train, valid, parts["test"], {"classes": CLASSES})

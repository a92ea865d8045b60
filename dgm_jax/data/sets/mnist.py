"""mnist: the 60,000 + 10,000 handwritten digits of LeCun, Cortes and Burges, 28 x 28, in the published order."""

from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, first, hold_out_last


def _read(files: dict) -> dict:
  """The training and test parts, from the four files of MNIST or a set in its format."""
  return {
    part: {"x": readers.idx(files[f"{part}_x"])[..., None], "y": readers.idx(files[f"{part}_y"])}
    for part in ("train", "test")
  }


def four_files(base: str) -> dict[str, File]:
  """The four files under a URL."""
  names = {"train": "train", "test": "t10k"}, {"x": "images-idx3", "y": "labels-idx1"}
  return {
    f"{part}_{kind}": File(f"{base}{p}-{k}-ubyte.gz", f"{p}-{k}-ubyte.gz")
    for part, p in names[0].items()
    for kind, k in names[1].items()
  }


DATA_SETS = (
  DataSet(
    name="mnist",
    description="The MNIST database of handwritten digits.",
    homepage="http://yann.lecun.com/exdb/mnist/",
    license="CC BY-SA 3.0, (c) Yann LeCun and Corinna Cortes",
    citation="LeCun, Cortes and Burges: The MNIST database of handwritten digits, 1998.",
    files=four_files("https://storage.googleapis.com/cvdf-datasets/mnist/"),
    features={"x": ((28, 28, 1), "uint8"), "y": ((), "int32")},
    sizes={"train": 60_000, "test": 10_000},
    read=_read,
  ),
)


def load(
  data_dir: str | None = None, manual_dir: str | None = None, valid_size: int = 0, train_size: int | None = None
) -> Splits:
  """x uint8 [N, 28, 28, 1], y int32 [N].

  Args:
    data_dir, manual_dir: see prepare.prepared.
    valid_size: number of training examples held out, from the end (0: none).
    train_size: number of training examples to keep, from the start (None: all that are not held out).
  """
  parts = prepared(DATA_SETS[0], data_dir, manual_dir)
  train, valid = hold_out_last(parts["train"], valid_size)
  return Splits(first(train, train_size), valid, parts["test"])

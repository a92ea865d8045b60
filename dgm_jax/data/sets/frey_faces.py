"""frey_faces: 1,965 frames of a video of Brendan Frey's face, 28 x 20 grey levels.

No split is published.  The VampPrior (Tomczak & Welling, 2018) and its successors use a random split 1,565 / 200 / 200
with an unpublished permutation, so their results are for another draw of 200 test frames.  The frames are consecutive:
most test frames have near-duplicates in the training set, which flatters every model.
"""

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import size, take
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, permutation

_FILE = File("https://cs.nyu.edu/~roweis/data/frey_rawface.mat", "frey_rawface.mat")


def _read(files: dict) -> dict:
  (faces,) = readers.mat(files["mat"], "ff")
  with readers.reading(files["mat"], "the Frey faces, ff [560, N] of uint8"):
    if faces.dtype != np.uint8 or faces.ndim != 2 or len(faces) != 560:
      raise ValueError(f"ff is {list(faces.shape)} of {faces.dtype}")
    return {"faces": {"x": faces.T.reshape(-1, 28, 20, 1)}}


DATA_SETS = (
  DataSet(
    name="frey_faces",
    description="Frames of a video of a face.",
    homepage="https://cs.nyu.edu/~roweis/data.html",
    license="none stated; from Brendan Frey, published by Sam Roweis",
    citation="Roweis and Saul: Nonlinear dimensionality reduction by locally linear embedding, Science 290, 2000.",
    files={"mat": _FILE},
    features={"x": ((28, 20, 1), "uint8")},
    sizes={"faces": 1_965},
    read=_read,
  ),
)


def load(
  data_dir: str | None = None,
  manual_dir: str | None = None,
  valid_size: int = 200,
  test_size: int = 200,
  split_seed: int = 0,
) -> Splits:
  """x uint8 [N, 28, 20, 1], split by the permutation of numpy's RandomState(split_seed).

  Args:
    data_dir, manual_dir: see prepare.prepared.
    valid_size, test_size: number held out, from the end of the permutation, the test set last (valid_size 0: none).
    split_seed: chooses the permutation.
  """
  arrays = prepared(DATA_SETS[0], data_dir, manual_dir)["faces"]
  n = size(arrays)
  errors.require(
    valid_size >= 0 and test_size >= 1 and valid_size + test_size < n,
    f"data.valid_size = {valid_size} and data.test_size = {test_size}; they must be at least 0 and 1 and leave some "
    f"of the {n} examples to train on.",
  )
  order = permutation(n, split_seed)
  train, valid, test = np.split(order, [n - test_size - valid_size, n - test_size])
  return Splits(take(arrays, train), take(arrays, valid) if valid_size else None, take(arrays, test))

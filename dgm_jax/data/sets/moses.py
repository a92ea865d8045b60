"""moses: the benchmark set of molecules, 1,584,663 for training, 176,074 and 176,225 for testing (Polykovskiy, 2020).

SMILES without stereo marks, at most 57 characters.  There are two test sets: one at random, and one of molecules whose
scaffolds are in neither of the other parts.  The benchmark's metrics (validity, uniqueness, novelty, FCD and others)
are computed on 30,000 samples of a model; none is a likelihood, whose value per token depends on the tokenisation.  The
paper has no validation set.
"""

import gzip
import pathlib

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays, size, take
from dgm_jax.data.files import readers, tokenisation
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import TEXT, DataSet, File
from dgm_jax.data.sets.zinc250k import smiles
from dgm_jax.data.splits import Splits, permutation

_URL = "https://github.com/molecularsets/moses/raw/master/moses/dataset/data/"
_SIZES = {"train": 1_584_663, "test": 176_074, "test_scaffolds": 176_225}


def _lines(path: pathlib.Path) -> list[str]:
  with readers.reading(path, "a gzipped .csv file with one column, SMILES"):
    header, *lines = gzip.decompress(path.read_bytes()).decode("ascii").split()
    if header != "SMILES":
      raise ValueError(f"its first line is {header[:80]!r}")
  return smiles(lines, path)


def _read(files: dict[str, pathlib.Path]) -> dict:
  return {part: ({"text": line} for line in _lines(path)) for part, path in files.items()}


DATA_SETS = (
  DataSet(
    name="moses",
    description="SMILES of drug-like molecules from ZINC Clean Leads.",
    homepage="https://github.com/molecularsets/moses",
    license="MIT, (c) Insilico Medicine; the molecules are ZINC's",
    citation="Polykovskiy et al.: Molecular Sets (MOSES): a benchmarking platform for molecular generation models, "
    "Frontiers in Pharmacology, 2020.",
    files={part: File(f"{_URL}{part}.csv.gz", f"{part}.csv.gz") for part in _SIZES},
    features={"text": ((), TEXT)},
    sizes=_SIZES,
    read=_read,
  ),
)


def _some(arrays: Arrays, name: str, count: int) -> Arrays:
  """`count` examples in their order, always the same; all for 0."""
  n = size(arrays)
  errors.require(0 <= count <= n, f"data.{name} = {count}; it must be 1 to {n:,}, or 0 for all.")
  return take(arrays, np.sort(permutation(n, 0)[:count])) if count else arrays


def load(
  data_dir: str | None = None,
  manual_dir: str | None = None,
  tokens: str = "character",
  max_length: int = 0,
  scaffolds: bool = False,
  train_size: int = 0,
  test_size: int = 0,
) -> Splits:
  """x int32 [N, T] token ids, `length` int32 [N]; no validation split.

  Args:
    data_dir, manual_dir: see prepare.prepared.
    tokens, max_length: see tokenisation.encode.
    scaffolds: whether to use the test set with new scaffolds.
    train_size, test_size: numbers of molecules that are drawn once from each set; 0 for all.
  """
  parts = prepared(DATA_SETS[0], data_dir, manual_dir)
  train, test = parts["train"], parts["test_scaffolds" if scaffolds else "test"]
  splits = Splits(_some(train, "train_size", train_size), None, _some(test, "test_size", test_size))
  return tokenisation.encode(splits, tokens, 0, max_length, "smiles", data_dir)

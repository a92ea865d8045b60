"""maf: five benchmark sets of density estimation, as prepared for MAF (Papamakarios et al., 2017).

power (D = 6), gas (8), hepmass (21), miniboone (43) and bsds300 (63), with the order, preprocessing and split of the
authors' code, oddities included, so that log-likelihoods in nats are comparable with published ones:

- power, miniboone and hepmass are standardised with statistics of the training and validation rows, gas with those of
  all rows (hepmass and gas with N - 1 in the standard deviation); bsds300 is used as published.
- The noise that makes power continuous is drawn once, from RandomState(42), and is the same in every epoch.
- hepmass drops features whose smallest value (only that one is counted) occurs over five times in class 1 of training.
- gas is the authors' pickled quarter of the recordings.  Pickles are never loaded: convert it to csv by hand.
"""

import contextlib
import io
import pathlib
import tarfile
from collections.abc import Callable, Iterator

import numpy as np

from dgm_jax.core import errors
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits

_PARTS = ("train", "valid", "test")
_ARCHIVE = File("https://zenodo.org/record/1161203/files/data.tar.gz", "data.tar.gz")
_MADE_BY = (
  f"if you trust data/gas/ethylene_CO.pickle in {_ARCHIVE.url}, convert it with "
  "python -c \"import pandas; pandas.read_pickle('ethylene_CO.pickle').to_csv('ethylene_CO.csv', index=False)\""
)


@contextlib.contextmanager
def _opened(path: pathlib.Path, name: str) -> Iterator[io.BufferedReader]:
  """Opens a file in the archive; errors become a UserError with its name."""
  with readers.reading(path, f"the archive of Zenodo record 1161203 with valid {name}"), tarfile.open(path) as archive:
    for entry in archive:
      if entry.name == name:
        yield archive.extractfile(entry)
        return
    raise ValueError(f"{name} is missing")


def _checked(rows: np.ndarray, columns: int) -> np.ndarray:
  """Returns the rows; raises ValueError unless they are finite numbers [N, columns]."""
  if rows.dtype.kind not in "fiu" or rows.shape[1:] != (columns,) or not len(rows) or not np.isfinite(rows).all():
    raise ValueError(f"it holds {rows.dtype} {list(rows.shape)} instead of finite numbers [N, {columns}]")
  return rows


def _tenths(rows: np.ndarray) -> list[np.ndarray]:
  """Training, validation and test rows: the last tenth is for test, the last tenth of the rest for validation."""
  fitted = len(rows) - int(0.1 * len(rows))
  return np.split(rows, [fitted - int(0.1 * fitted), fitted])


def _standardised_tenths(rows: np.ndarray) -> list[np.ndarray]:
  fitted = rows[: len(rows) - int(0.1 * len(rows))]  # training and validation rows
  return _tenths((rows - fitted.mean(0)) / fitted.std(0))


def _array(path: pathlib.Path, name: str, columns: int) -> np.ndarray:
  with _opened(path, name) as f:
    return _checked(np.load(io.BytesIO(f.read()), allow_pickle=False), columns)


def _power(path: pathlib.Path) -> list[np.ndarray]:
  rows = _array(path, "data/power/data.npy", 8)
  rng, n = np.random.RandomState(42), len(rows)
  rng.shuffle(rows)
  voltage, active_power, meters = 0.01 * rng.rand(n, 1), 0.001 * rng.rand(n, 1), rng.rand(n, 3)  # drawn in this order
  noise = np.hstack([active_power, voltage, meters, np.zeros((n, 1))])
  return _standardised_tenths(np.delete(rows, [1, 3], axis=1) + noise)  # without the reactive power and the intensity


def _miniboone(path: pathlib.Path) -> list[np.ndarray]:
  return _standardised_tenths(_array(path, "data/miniboone/data.npy", 43))


def _signal(path: pathlib.Path, name: str) -> np.ndarray:
  """The 27 features of the events of class 1; an additional last column, as in the test file, is left out."""
  import pandas as pd

  with _opened(path, name) as f:
    rows = pd.read_csv(f, header=None, skiprows=1, usecols=range(28), dtype=np.float64).to_numpy()
    return _checked(_checked(rows, 28)[rows[:, 0] == 1, 1:], 27)


def _hepmass(path: pathlib.Path) -> list[np.ndarray]:
  train, test = (_signal(path, f"data/hepmass/1000_{part}.csv") for part in ("train", "test"))
  kept = (train == train.min(0)).sum(0) <= 5
  errors.require(kept.sum() == 21, f"{path}: 1000_train.csv has {kept.sum()} continuous features instead of 21.")
  mean, scale = train[:, kept].mean(0), train[:, kept].std(0, ddof=1)
  train, test = ((rows[:, kept] - mean) / scale for rows in (train, test))
  return [*np.split(train, [len(train) - int(0.1 * len(train))]), test]


def _gas(path: pathlib.Path) -> list[np.ndarray]:
  frame = readers.table(path, "a csv file")
  with readers.reading(path, "a csv file of numbers with the columns Meth, Eth, Time and one per sensor"):
    rows = frame.drop(columns=["Meth", "Eth", "Time"]).to_numpy(np.float64)
    _checked(rows, rows.shape[1])
    while len(twice := np.flatnonzero((np.corrcoef(rows, rowvar=False) > 0.98).sum(1) > 1)):
      rows = np.delete(rows, twice[0], axis=1)
    return _tenths((_checked(rows, 8) - rows.mean(0)) / rows.std(0, ddof=1))


def _bsds300(path: pathlib.Path) -> list[np.ndarray]:
  h5py = readers.extra("h5py", path)
  with _opened(path, "data/BSDS300/BSDS300.hdf5") as f, h5py.File(io.BytesIO(f.read())) as found:
    return [_checked(found[name].astype(np.float32)[:], 63) for name in ("train", "validation", "test")]


def _spec(member: str, columns: int, sizes: tuple[int, ...], read: Callable) -> DataSet:
  return DataSet(
    name=f"maf/{member}",
    description="A set of the MAF paper, preprocessed and split as there.",
    homepage="https://zenodo.org/record/1161203",
    license="see the Zenodo record; made of sets of the UCI repository and of BSDS300",
    citation="Papamakarios, Pavlakou and Murray: Masked autoregressive flow for density estimation, NIPS 2017.",
    files={"file": File("", "ethylene_CO.csv", made_by=_MADE_BY) if member == "gas" else _ARCHIVE},
    features={"x": ((columns,), "float32")},
    sizes=dict(zip(_PARTS, sizes, strict=True)),
    read=lambda files: {p: {"x": x} for p, x in zip(_PARTS, read(files["file"]), strict=True)},
  )


DATA_SETS = (
  _spec("power", 6, (1_659_917, 184_435, 204_928), _power),
  _spec("gas", 8, (852_174, 94_685, 105_206), _gas),
  _spec("hepmass", 21, (315_123, 35_013, 174_987), _hepmass),
  _spec("miniboone", 43, (29_556, 3_284, 3_648), _miniboone),
  _spec("bsds300", 63, (1_000_000, 50_000, 250_000), _bsds300),
)


def load(member: str, data_dir: str | None = None, manual_dir: str | None = None) -> Splits:
  """x float32 [N, D]; the validation split is the published one.

  Args:
    member: power, gas, hepmass, miniboone or bsds300.
    data_dir, manual_dir: see prepare.prepared; gas needs a manual_dir with ethylene_CO.csv.
  """
  return Splits(**prepared(next(s for s in DATA_SETS if s.name == f"maf/{member}"), data_dir, manual_dir))

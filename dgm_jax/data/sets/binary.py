"""binary: small sets of binary vectors on which density estimators are compared; log-likelihoods are in nats.

dna, mushrooms and nips have the splits of Larochelle & Murray (2011), which NADE's and MADE's tables use (Germain et
al., 2015: adult, connect-4, ocr_letters, rcv1 and web as well).

nltcs, plants, jester, baudio, bnetflix, accidents, pumsb_star, dna_debd, moviereview, bbc and voting are sets of the
benchmark of arithmetic circuits and sum-product networks (Lowd & Davis, 2010; Van Haaren & Davis, 2012).  Its mushrooms
and nips are those above; its dna has the same test rows but another division of the rest, 1,600 and 400 instead of
1,400 and 600, and is dna_debd: results of models chosen on its validation rows are not comparable with those on dna.
"""

import pathlib
import warnings

import numpy as np

from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits

_PARTS = ("train", "valid", "test")
_MADE = "https://raw.githubusercontent.com/mgermain/MADE/514849eb9451311c02049f9e2d9a17fac589996a/datasets/"
_DEBD = "https://raw.githubusercontent.com/arranger1044/DEBD/850908666388f1b1c766a304b37dae14613f1e51/datasets/"
_CITATIONS = (
  "Van Haaren and Davis: Markov network structure learning, a randomized feature generation approach, AAAI 2012.",
  "Larochelle and Murray: The neural autoregressive distribution estimator, AISTATS 2011.",
)
_LAROCHELLE = {  # number of variables, and of rows of each part
  "dna": (180, (1400, 600, 1186)),
  "mushrooms": (112, (2000, 500, 5624)),
  "nips": (500, (400, 100, 1240)),
}
_BENCHMARK = {
  "nltcs": (16, (16181, 2157, 3236)),
  "plants": (69, (17412, 2321, 3482)),
  "baudio": (100, (15000, 2000, 3000)),
  "bnetflix": (100, (15000, 2000, 3000)),
  "jester": (100, (9000, 1000, 4116)),
  "accidents": (111, (12758, 1700, 2551)),
  "pumsb_star": (163, (12262, 1635, 2452)),
  "dna_debd": (180, (1600, 400, 1186)),
  "moviereview": (1001, (1600, 150, 250)),
  "bbc": (1058, (1670, 225, 330)),
  "voting": (1359, (1214, 200, 350)),
}


def _checked(rows: np.ndarray, columns: int, part: str) -> np.ndarray:
  """The rows as bool; raises ValueError unless they are [N, columns] of 0 and 1."""
  if rows.ndim != 2 or rows.shape[1] != columns:
    raise ValueError(f"the {part} part has shape {list(rows.shape)}")
  if not np.isin(rows, (0, 1)).all():
    raise ValueError(f"the {part} part has values other than 0 and 1")
  return rows.astype(bool)


def _archive(files: dict[str, pathlib.Path], columns: int) -> dict[str, Arrays]:
  """Of an npz archive with train_data, valid_data and test_data."""
  what = f"train_data, valid_data and test_data of 0 and 1, [N, {columns}]"
  with readers.reading(files["archive"], what), warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # the archives were written by Python 2
    with np.load(files["archive"], allow_pickle=False) as found:
      return {part: {"x": _checked(found[f"{part}_data"], columns, part)} for part in _PARTS}


def _texts(files: dict[str, pathlib.Path], columns: int) -> dict[str, Arrays]:
  """Of a text file for each part, with a row in a line, and commas."""
  parts = {}
  for part in _PARTS:
    with readers.reading(files[part], f"lines of {columns} numbers 0 or 1, with commas between them"):
      rows = np.loadtxt(files[part], delimiter=",", dtype=np.float32, ndmin=2)
      parts[part] = {"x": _checked(rows, columns, part)}
  return parts


def _spec(member: str, columns: int, sizes: tuple[int, ...]) -> DataSet:
  stem = member.removesuffix("_debd")
  is_archive = member in _LAROCHELLE
  texts = {part: File(f"{_DEBD}{stem}/{stem}.{part}.data", f"{stem}.{part}.data") for part in _PARTS}
  read = _archive if is_archive else _texts
  return DataSet(
    name=f"binary/{member}",
    description=f"{columns} binary variables.",
    homepage="https://github.com/mgermain/MADE" if is_archive else "https://github.com/arranger1044/DEBD",
    license="none stated; see the repository",
    citation=_CITATIONS[is_archive],
    files={"archive": File(f"{_MADE}{stem}.npz", f"{stem}.npz")} if is_archive else texts,
    features={"x": ((columns,), "bool")},
    sizes=dict(zip(_PARTS, sizes, strict=True)),
    read=lambda files: read(files, columns),
  )


DATA_SETS = tuple(_spec(member, *of) for member, of in (_LAROCHELLE | _BENCHMARK).items())


def load(member: str, data_dir: str | None = None, manual_dir: str | None = None) -> Splits:
  """x bool [N, D]; training, validation and test rows as published.

  Args:
    member: see the module's docstring.
    data_dir, manual_dir: see prepare.prepared; the files may be gzipped.
  """
  return Splits(**prepared(next(s for s in DATA_SETS if s.name == f"binary/{member}"), data_dir, manual_dir))

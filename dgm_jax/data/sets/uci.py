"""uci: small tables of the UCI Machine Learning Repository; x float32 features, y a float32 response or an int32 class.

Imputation (Mattei & Frellsen, MIWAE, 2019): banknote, breast, concrete, red, white and yeast.  Models are fitted and
evaluated on all rows: `everything=True`.  Here x holds only the features; the authors' notebook counts the wines'
quality as a twelfth column and reads the first row of banknote as a header, so their D and N differ by one.

Regression (Hernandez-Lobato & Adams, 2015; Gal & Ghahramani, 2016): boston, concrete, energy, kin8nm, naval, power,
protein, wine (the file of red) and yacht.  The papers average over 20 random splits of 90 and 10 % (protein: 5): use
split_seed = 0..19.  These are other splits, not the published indices.  The response of energy is the heating load Y1,
without the cooling load Y2; that of naval is the compressor's decay kMc, without the turbine's kMt.  Two features of
naval, T1 and P1, are constant.

Density estimation (Uria et al., 2014): red and white, ten folds of cross-validation, folds = 10 and fold = 0 .. 9; the
published folds are others.

Values are not standardised: use the transforms standardize and standardize_targets.
"""

import io
import pathlib
import zipfile
from typing import NamedTuple

import numpy as np

from dgm_jax.core import errors
from dgm_jax.core.batches import Arrays
from dgm_jax.data.files import readers
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.published.spec import DataSet, File
from dgm_jax.data.splits import Splits, at_random, in_folds

_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/"
_BOSTON = "CRIM ZN INDUS CHAS NOX RM AGE DIS RAD TAX PTRATIO B LSTAT MEDV"
_NUCLEUS = "radius texture perimeter area smoothness compactness concavity concave_points symmetry fractal_dimension"
_BREAST = " ".join(f"{name}_{kind}" for kind in ("mean", "error", "worst") for name in _NUCLEUS.split())
_WINE = ("fixed_acidity volatile_acidity citric_acid residual_sugar chlorides free_sulfur_dioxide "
         "total_sulfur_dioxide density pH sulphates alcohol quality")  # fmt: skip


class _Table(NamedTuple):
  """A table in a file.

  Attributes:
    rows: the published number of rows.
    url: URL of the file, absolute or relative to the UCI archive.
    columns: the names of all columns of the file, in its order.
    target: the column that becomes y.
    separator: separator of the columns; None for white space.
    header: number of lines to skip, not counting an ARFF header.
    left_out: a column that is neither a feature nor the target.
    classes: the values of the target, if it is a class.
    member: name of the table in a zip file.
  """

  rows: int
  url: str
  columns: str
  target: str
  separator: str | None = None
  header: int = 0
  left_out: str = ""
  classes: str = ""
  member: str = ""

  @property
  def features(self) -> tuple[str, ...]:
    return tuple(c for c in self.columns.split() if c not in (self.target, self.left_out))


_TABLES = {
  "banknote": _Table(1372, "00267/data_banknote_authentication.txt", "variance skewness curtosis entropy class",
                     "class", ",", classes="0 1"),
  "breast": _Table(569, "breast-cancer-wisconsin/wdbc.data", f"id diagnosis {_BREAST}", "diagnosis", ",",
                   left_out="id", classes="B M"),
  "concrete": _Table(1030, "concrete/compressive/Concrete_Data.xls", "cement slag fly_ash water superplasticizer "
                     "coarse_aggregate fine_aggregate age strength", "strength", header=1),
  "red": _Table(1599, "wine-quality/winequality-red.csv", _WINE, "quality", ";", 1),
  "white": _Table(4898, "wine-quality/winequality-white.csv", _WINE, "quality", ";", 1),
  "yeast": _Table(1484, "yeast/yeast.data", "name mcg gvh alm mit erl pox vac nuc site", "site", left_out="name",
                  classes="CYT ERL EXC ME1 ME2 ME3 MIT NUC POX VAC"),
  "boston": _Table(506, "housing/housing.data", _BOSTON, "MEDV"),
  "energy": _Table(768, "00242/ENB2012_data.xlsx", "X1 X2 X3 X4 X5 X6 X7 X8 Y1 Y2", "Y1", header=1, left_out="Y2"),
  "kin8nm": _Table(8192, "https://www.openml.org/data/download/3626/dataset_2175_kin8nm.arff",
                   "theta1 theta2 theta3 theta4 theta5 theta6 theta7 theta8 y", "y", ","),
  "naval": _Table(11934, "00316/UCI%20CBM%20Dataset.zip", "lp v GTT GTn GGn Ts Tp T48 T1 T2 P48 P1 P2 Pexh TIC mf "
                  "kMc kMt", "kMc", left_out="kMt", member="UCI CBM Dataset/data.txt"),
  "power": _Table(9568, "00294/CCPP.zip", "AT V AP RH PE", "PE", header=1, member="CCPP/Folds5x2_pp.xlsx"),
  "protein": _Table(45730, "00265/CASP.csv", "RMSD F1 F2 F3 F4 F5 F6 F7 F8 F9", "RMSD", ",", 1),
  "wine": _Table(1599, "wine-quality/winequality-red.csv", _WINE, "quality", ";", 1),
  "yacht": _Table(308, "00243/yacht_hydrodynamics.data", "LC PC L/D B/Dr L/B Fr Rr", "Rr"),
}  # fmt: skip


def _rows(path: pathlib.Path, table: _Table) -> list[list]:
  """The rows of a file: strings, or the cell values of an Excel sheet."""
  raw = zipfile.ZipFile(path).read(table.member) if table.member else path.read_bytes()
  if package := {".xls": "xlrd", ".xlsx": "openpyxl"}.get(pathlib.Path(table.member or table.url).suffix):
    readers.extra(package, path)
    sheet = readers.extra("pandas", path).read_excel(io.BytesIO(raw), header=None)
    return sheet.dropna(how="all").dropna(axis=1, how="all").to_numpy().tolist()[table.header :]
  lines = [s for line in raw.decode().splitlines() if (s := line.strip()) and s[0] not in "%@"]  # ARFF's header
  return [line.split(table.separator) for line in lines[table.header :]]


def _read(files: dict[str, pathlib.Path], table: _Table) -> dict[str, Arrays]:
  names, classes = table.columns.split(), table.classes.split()
  with readers.reading(files["table"], f"a table of {len(names)} columns ({table.columns})"):
    rows = _rows(files["table"], table)
    if ragged := [i for i, row in enumerate(rows) if len(row) != len(names)]:
      raise ValueError(f"row {ragged[0] + 1} has {len(rows[ragged[0]])}")
    column = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    if classes:
      if unknown := set(column[table.target]) - set(classes):
        raise ValueError(f"{table.target} is {min(unknown)!r}, not one of {', '.join(classes)}")
      column[table.target] = [classes.index(value) for value in column[table.target]]
    numbers = np.array([column[name] for name in (*table.features, table.target)], np.float64).T
    if not np.isfinite(numbers).all():
      raise ValueError(f"a number is missing in row {np.argwhere(~np.isfinite(numbers))[0, 0] + 1}")
  return {"rows": {"x": numbers[:, :-1].astype(np.float32), "y": numbers[:, -1]}}


def _spec(member: str, table: _Table) -> DataSet:
  url = table.url if "://" in table.url else _UCI + table.url
  return DataSet(
    name=f"uci/{member}",
    description=f"{table.rows} rows of {len(table.features)} features, and {table.target}.",
    homepage="https://www.openml.org/d/189" if member == "kin8nm" else "https://archive.ics.uci.edu",
    license="none stated" if member in ("boston", "kin8nm") else "CC BY 4.0",
    citation="Dua and Graff: UCI machine learning repository, University of California, Irvine, 2017.",
    files={"table": File(url, url.rpartition("/")[2].replace("%20", " "))},
    features={"x": ((len(table.features),), "float32"), "y": ((), "int32" if table.classes else "float32")},
    sizes={"rows": table.rows},
    read=lambda files: _read(files, table),
  )


DATA_SETS = tuple(_spec(member, table) for member, table in _TABLES.items())


def load(
  member: str, data_dir: str | None = None, manual_dir: str | None = None, test_fraction: float = 0.1,
  valid_fraction: float = 0.0, split_seed: int = 0, everything: bool = False, folds: int = 0, fold: int = 0,
) -> Splits:  # fmt: skip
  """x float32 [N, D], y float32 or (with about["classes"]) int32 [N]; names in about["columns"] and about["target"].

  Args:
    data_dir, manual_dir: see prepare.prepared.
    test_fraction, valid_fraction, split_seed: see splits.at_random; the papers' 20 splits are split_seed = 0..19.
    everything: train, valid and test are each all rows, to impute missing values of the training set.
    folds, fold: the test set is part number `fold` of the rows, which `split_seed` divides into `folds` parts, whatever
      the test_fraction; see splits.fold_indices.  0 folds: a random split.
  """
  table = _TABLES[member]
  classes = {"classes": tuple(table.classes.split())} if table.classes else {}
  about = {"columns": table.features, "target": table.target} | classes
  rows = prepared(_spec(member, table), data_dir, manual_dir)["rows"]
  errors.require(not (folds and everything), "data.folds and data.everything exclude each other: choose one.")
  errors.require(folds or not fold, f"data.fold = {fold} needs data.folds, the number of folds.")
  if folds:
    return in_folds(rows, folds, fold, valid_fraction, split_seed, about)
  if everything:
    return Splits(rows, rows, rows, about)
  return at_random(rows, valid_fraction, test_fraction, split_seed, about)

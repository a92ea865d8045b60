"""The tables of uci and maf: the values in the files, and the preprocessing of the papers."""

import csv
import hashlib
import io
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
import sklearn.datasets
import xlrd

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.data import splits
from dgm_jax.data.published import raw_files
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.sets import maf
from helpers.made import made

_UCI = {s.name.partition("/")[2]: s for s in data.published().values() if s.name.startswith("uci/")}


def _rows(raw_data, tmp_path, member):
  loaded = data.load(f"uci/{member}", data_dir=str(tmp_path), manual_dir=str(raw_data), everything=True)
  assert loaded.train is loaded.valid is loaded.test
  assert loaded.train["x"].dtype == np.float32
  assert loaded.train["x"].shape[1] == len(loaded.about["columns"])
  return loaded.train["x"], loaded.train["y"], loaded.about


def test_breast_equals_that_of_scikit_learn(raw_data, tmp_path):
  x, y, about = _rows(raw_data, tmp_path, "breast")
  known = sklearn.datasets.load_breast_cancer()
  np.testing.assert_array_equal(x, known.data.astype(np.float32))
  np.testing.assert_array_equal(y, 1 - known.target)  # scikit-learn has 0 for malignant
  names = [sorted(name.replace(" ", "_").split("_")) for name in known.feature_names]
  assert [sorted(name.split("_")) for name in about["columns"]] == names
  assert np.bincount(y).tolist() == [357, 212]


def test_banknote(raw_data, tmp_path):
  x, y, _ = _rows(raw_data, tmp_path, "banknote")
  known = np.loadtxt(raw_data / "uci" / "data_banknote_authentication.txt", delimiter=",")
  np.testing.assert_array_equal(x, known[:, :4].astype(np.float32))
  np.testing.assert_array_equal(y, known[:, 4])
  assert np.bincount(y).tolist() == [762, 610]


@pytest.mark.parametrize("member,colour,counts", [
  ("red", "red", [10, 53, 681, 638, 199, 18]),
  ("wine", "red", [10, 53, 681, 638, 199, 18]),
  ("white", "white", [20, 163, 1457, 2198, 880, 175, 5]),
])  # fmt: skip
def test_wines(raw_data, tmp_path, member, colour, counts):
  x, y, about = _rows(raw_data, tmp_path, member)
  with open(raw_data / "uci" / f"winequality-{colour}.csv") as f:
    header, *known = csv.reader(f, delimiter=";")
  assert [*about["columns"], about["target"]] == [name.replace(" ", "_") for name in header]
  np.testing.assert_array_equal(np.column_stack([x, y]), np.array(known, np.float32))
  assert np.bincount(y.astype(int))[3:].tolist() == counts


def test_yeast(raw_data, tmp_path):
  x, y, about = _rows(raw_data, tmp_path, "yeast")
  path = raw_data / "uci" / "yeast.data"
  np.testing.assert_array_equal(x, np.loadtxt(path, usecols=range(1, 9)).astype(np.float32))
  np.testing.assert_array_equal(np.array(about["classes"])[y], np.loadtxt(path, usecols=9, dtype=str))
  assert about["classes"] == ("CYT", "ERL", "EXC", "ME1", "ME2", "ME3", "MIT", "NUC", "POX", "VAC")
  assert np.bincount(y).tolist() == [463, 5, 35, 44, 51, 163, 244, 429, 20, 30]


def test_concrete(raw_data, tmp_path):
  x, y, about = _rows(raw_data, tmp_path, "concrete")
  sheet = xlrd.open_workbook(raw_data / "uci" / "Concrete_Data.xls").sheet_by_index(0)
  known = np.array([sheet.row_values(i) for i in range(1, sheet.nrows)])
  np.testing.assert_array_equal(np.column_stack([x, y]), known.astype(np.float32))
  assert (len(y), y.dtype) == (1030, np.float32)
  np.testing.assert_allclose(y.mean(dtype=np.float64), 35.81784, atol=1e-5)
  for name, title in zip(about["columns"], sheet.row_values(0)[:8], strict=True):
    assert name.replace("_", " ") in title.lower()


def test_checksums_of_the_published_files_are_registered(raw_data):
  for member in ("banknote", "breast", "red", "white", "yeast"):
    file = _UCI[member].files["table"]
    content = (raw_data / "uci" / file.name).read_bytes()
    info = raw_files.registered()[file.url]
    assert (info.size, info.checksum) == (len(content), hashlib.sha256(content).hexdigest())


def test_uci_splits_are_permutations_by_the_seed(raw_data, tmp_path):
  x, y, _ = _rows(raw_data, tmp_path, "red")
  train, valid, test, _ = data.load("uci/red", data_dir=str(tmp_path), split_seed=3, valid_fraction=0.2)
  order = np.random.RandomState(3).permutation(1599)
  for arrays, part in ((test, order[:160]), (valid, order[160:480]), (train, order[480:])):
    np.testing.assert_array_equal(arrays["x"], x[part])
    np.testing.assert_array_equal(arrays["y"], y[part])


@pytest.mark.parametrize("n,folds,valid_fraction", [(1599, 10, 0.1), (25, 7, 0.0), (10, 10, 0.2)])
def test_folds_partition_the_rows_and_all_have_the_same_size(n, folds, valid_fraction):
  parts = [splits.fold_indices(n, folds, i, valid_fraction, seed=3) for i in range(folds)]
  np.testing.assert_array_equal(np.sort(np.concatenate([p["test"] for p in parts])), np.arange(n))
  sizes = {(len(p["train"]), len(p.get("valid", ()))) for p in parts}
  assert sizes == {(n - -(-n // folds) - round(valid_fraction * n), round(valid_fraction * n))}
  for part in parts:
    every = np.concatenate(list(part.values()))
    assert len(np.unique(every)) == len(every)
    assert n - len(every) == -(-n // folds) - len(part["test"])  # at most one row is left out


@pytest.mark.parametrize("options,named", [
  ({"folds": 1}, "data.folds = 1; it must be 2 to 1599"),
  ({"folds": 10, "fold": 10}, "data.fold = 10; it must be 0 to 9"),
  ({"fold": 2}, "data.fold = 2 needs data.folds"),
  ({"folds": 10, "everything": True}, "data.folds and data.everything exclude each other"),
  ({"folds": 10, "valid_fraction": 0.95}, "The train split is empty"),
])  # fmt: skip
def test_folds_that_do_not_exist_are_refused(raw_data, tmp_path_factory, options, named):
  folder = tmp_path_factory.getbasetemp() / "folds"
  with pytest.raises(errors.UserError, match=named):
    data.load("uci/red", data_dir=str(folder), manual_dir=str(raw_data), **options)


def test_a_fold_is_made_of_the_tables_rows(raw_data, tmp_path):
  x, _, _ = _rows(raw_data, tmp_path, "red")
  load = lambda fold: data.load("uci/red", data_dir=str(tmp_path), folds=10, fold=fold, valid_fraction=0.1)
  train, valid, test, _ = load(9)
  order = np.random.RandomState(0).permutation(1599)
  np.testing.assert_array_equal(test["x"], x[order[1440:]])  # nine parts of 160 rows, then one of 159
  np.testing.assert_array_equal(np.concatenate([valid["x"], train["x"]]), x[order[:1439]])
  assert len(load(0).train["x"]) == len(train["x"]) == 1279


def _text(rows, separator, before="", after=""):
  return f"{before}{''.join(separator.join(map(repr, row)) + chr(10) for row in rows.tolist())}{after}".encode()


def _sheets(*tables, names="", empty=False):
  """An Excel file; `empty` adds a blank row and column inside the table and formatted cells outside."""
  book, raw = openpyxl.Workbook(), io.BytesIO()
  for i, table in enumerate(tables):
    sheet = book.active if i == 0 else book.create_sheet()
    for row in [names.split(), *table.tolist()]:
      sheet.append(row)
    if empty:
      sheet.insert_rows(3)
      sheet.insert_cols(4)
      sheet.cell(len(table) + 5, table.shape[1] + 5).number_format = "0.00"
  book.save(raw)
  return raw.getvalue()


def _zipped(name, content):
  raw = io.BytesIO()
  with zipfile.ZipFile(raw, "w") as f:
    f.writestr("readme.txt", "about")
    f.writestr(name, content)
  return raw.getvalue()


_ARFF = "% about\n@relation kin8nm\n\n@attribute 'theta1' real\n@attribute 'y' real\n@DATA\n"
_YACHT = lambda t: _text(t, " ").replace(b" ", b"  ", 3) + b" \n\n"
# number of columns, target column, feature columns, and a writer of the published format
_PUBLISHED = {
  "boston": (14, 13, range(13), lambda t: b" " + _text(t, "   ")),
  "energy": (10, 8, range(8), lambda t: _sheets(t, names="X1 X2 X3 X4 X5 X6 X7 X8 Y1 Y2", empty=True)),
  "kin8nm": (9, 8, range(8), lambda t: _text(t, ",", _ARFF)),
  "naval": (18, 16, range(16), lambda t: _zipped("UCI CBM Dataset/data.txt", _text(t, "   ", "   "))),
  "power": (5, 4, range(4), lambda t: _zipped("CCPP/Folds5x2_pp.xlsx", _sheets(t, t[::-1], names="AT V AP RH PE"))),
  "protein": (10, 0, range(1, 10), lambda t: _text(t, ",", "RMSD,F1,F2,F3,F4,F5,F6,F7,F8,F9\n")),
  "yacht": (7, 6, range(6), _YACHT),
}


@pytest.mark.parametrize("member", _PUBLISHED)
def test_uci_tables_in_their_published_formats(tmp_path, member):
  columns, target, features, write = _PUBLISHED[member]
  table = np.random.default_rng(0).normal(0, 100, (7, columns))
  (tmp_path / _UCI[member].files["table"].name).write_bytes(write(table))
  rows = prepared(made(_UCI[member], rows=7), str(tmp_path / "data"), str(tmp_path))["rows"]
  np.testing.assert_array_equal(rows["x"], table[:, features].astype(np.float32))
  np.testing.assert_array_equal(rows["y"], table[:, target].astype(np.float32))


@pytest.mark.parametrize("member,content,named", [
  ("banknote", b"1,2,3,4,0\n1,2,3,4\n", "table of 5 columns .*: row 2 has 4"),
  ("banknote", b"1,2,3,4,0\n1,?,3,4,1\n", r"could not convert string to float: '\?'"),
  ("banknote", b"1,2,3,4,0\n1,2,nan,4,1\n", "a number is missing in row 2"),
  ("banknote", b"1,2,3,4,2\n1,2,3,4,1\n", "class is '2', not one of 0, 1"),
  ("banknote", b"\xff\xfe", "can't decode"),
  ("banknote", b"", "0 rows examples were read, 2 are published"),
  ("concrete", b"no Excel", "table of 9 columns"),
  ("power", b"no zip", "not a zip file"),
  ("naval", _zipped("data.txt", b""), "no item named 'UCI CBM Dataset/data.txt'"),
])  # fmt: skip
def test_damaged_uci_tables_are_named(tmp_path, member, content, named):
  name = _UCI[member].files["table"].name
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.UserError, match=named) as e:
    prepared(made(_UCI[member], rows=2), str(tmp_path / "data"), str(tmp_path))
  assert name in str(e.value) or not content


_SPECS = {s.name.partition("/")[2]: s for s in maf.DATA_SETS}
_NPY = "data/{}/data.npy"


def _npy(array, **options):
  raw = io.BytesIO()
  np.save(raw, array, **options)
  return raw.getvalue()


def _archive(folder, **contents):
  with tarfile.open(folder / "data.tar.gz", "w:gz") as archive:
    for name, content in {"data/mnist/mnist.pkl.gz": b"0", **contents}.items():
      entry = tarfile.TarInfo(name)
      entry.size = len(content)
      archive.addfile(entry, io.BytesIO(content))


def _made(folder, member, train, valid, test):
  parts = prepared(made(_SPECS[member], train=train, valid=valid, test=test), str(folder / "data"), str(folder))
  return [parts[part]["x"] for part in ("train", "valid", "test")]


@pytest.mark.parametrize("member", ["power", "gas", "miniboone"])
def test_the_rule_of_tenths_gives_the_published_sizes(member):
  sizes = _SPECS[member].sizes
  assert [len(part) for part in maf._tenths(np.empty(sum(sizes.values())))] == list(sizes.values())


def test_maf_power(tmp_path):
  raw = np.random.default_rng(0).normal(5, 2, (40, 8))
  _archive(tmp_path, **{_NPY.format("power"): _npy(raw)})
  x = np.concatenate(_made(tmp_path, "power", 33, 3, 4))
  rng = np.random.RandomState(42)  # one stream: the order, then the noise
  kept = raw[rng.permutation(40)][:, [0, 2, 4, 5, 6, 7]]  # active power, voltage, three meters, time
  noise = np.zeros((40, 6))
  noise[:, 1] = rng.uniform(0, 0.01, 40)
  noise[:, 0] = rng.uniform(0, 0.001, 40)
  noise[:, 2:5] = rng.uniform(size=(40, 3))
  np.testing.assert_allclose(x[:36].mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(x[:36].std(0), 1, atol=1e-6)
  scale, offset = (kept + noise)[:36].std(0), (kept + noise)[:36].mean(0)
  np.testing.assert_allclose(x * scale + offset - kept, noise, atol=1e-5)


def test_maf_miniboone(tmp_path):
  raw = np.random.default_rng(0).gamma(2, 3, (55, 43))
  _archive(tmp_path, **{_NPY.format("miniboone"): _npy(raw)})
  x = np.concatenate(_made(tmp_path, "miniboone", 45, 5, 5))
  np.testing.assert_allclose(x, (raw - raw[:50].mean(0)) / raw[:50].std(0), atol=1e-5)


def _hepmass(rng, rows, extra):
  table = rng.normal(3, 2, (rows, 28 + extra))
  table[:, 0] = np.arange(rows) % 2  # the label
  table[:, [6, 10, 14, 18, 22]] = rng.integers(0, 2, (rows, 5))
  return table


def test_maf_hepmass(tmp_path):
  rng = np.random.default_rng(0)
  train, test = _hepmass(rng, 60, 0), _hepmass(rng, 20, 1)
  train[1:13:2, 1] = -50.0  # smallest and six times in class 1: dropped
  train[1:11:2, 2] = -50.0  # five times: kept
  train[1:31:2, 3] = 3.0  # fifteen times, not the smallest: kept
  train[0:30:2, 4] = -50.0  # fifteen times, of class 0: kept
  header = ",".join(["# label", *(f"f{i}" for i in range(27))])
  texts = _text(train, ",", f"{header}\n"), _text(test, ",", f"{header},mass\n")
  _archive(tmp_path, **{f"data/hepmass/1000_{p}.csv": t for p, t in zip(("test", "train"), texts[::-1], strict=True)})
  found = np.concatenate(_made(tmp_path, "hepmass", 27, 3, 10))
  kept = [c for c in range(2, 28) if c not in (6, 10, 14, 18, 22)]
  signal = pd.DataFrame(train[1::2, kept])
  known = np.concatenate([signal, test[1::2, kept]])
  np.testing.assert_allclose(found, (known - signal.mean().array) / signal.std().array, atol=1e-5)


def _gas(rows=50):
  table = np.random.default_rng(0).normal(0, 3, (rows, 13))
  table[:, 3] = 2 * table[:, 8] + 1  # the earlier of the two is dropped
  table[:, 12] = 5 * table[:, 4]  # column 4 is dropped
  table[:, 6] = -table[:, 7]  # both are kept
  return pd.DataFrame(table, columns=["Time", "Meth", "Eth", *(f"R{i}" for i in range(10))])


def test_maf_gas(tmp_path):
  frame = _gas()
  frame.to_csv(tmp_path / "ethylene_CO.csv", index=False)
  known = frame[["R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9"]]
  known = (known - known.mean()) / known.std()
  np.testing.assert_allclose(np.concatenate(_made(tmp_path, "gas", 41, 4, 5)), known, atol=1e-5)


def test_maf_bsds300(tmp_path):
  known = np.random.default_rng(0).normal(0, 0.3, (9, 63)).astype(np.float32)
  with h5py.File(tmp_path / "BSDS300.hdf5", "w") as f:
    f.update(test=known[7:], train=known[:4], validation=known[4:7])
  _archive(tmp_path, **{"data/BSDS300/BSDS300.hdf5": (tmp_path / "BSDS300.hdf5").read_bytes()})
  np.testing.assert_array_equal(np.concatenate(_made(tmp_path, "bsds300", 4, 3, 2)), known)


class _Harm:
  def __reduce__(self):
    return exec, ("raise SystemExit('the pickle was loaded')",)


def test_the_pickle_of_gas_raises_with_the_command_to_convert_it(tmp_path):
  (tmp_path / "ethylene_CO.pickle").write_bytes(pickle.dumps(_Harm()))
  way = r"has ethylene_CO\.pickle, but pickles .*never loaded\. ethylene_CO\.csv: .*pandas\.read_pickle\('ethylene"
  with pytest.raises(errors.UserError, match=way):
    data.load("maf/gas", data_dir=str(tmp_path), manual_dir=str(tmp_path))
  (tmp_path / "ethylene_CO.pickle").rename(tmp_path / "ethylene_CO.csv")
  with pytest.raises(errors.UserError, match=r"ethylene_CO\.csv is not a csv file"):
    data.load("maf/gas", data_dir=str(tmp_path), manual_dir=str(tmp_path))
  with pytest.raises(errors.UserError, match=r"cannot be downloaded.*read_pickle"):
    data.load("maf/gas", data_dir=str(tmp_path))


@pytest.mark.parametrize("member,name,content,named", [
  ("power", _NPY.format("miniboone"), b"", "data/power/data.npy is missing"),
  ("power", _NPY.format("power"), b"0", "with valid data/power/data.npy"),
  ("power", _NPY.format("power"), _npy(np.zeros((4, 7))), r"float64 \[4, 7\] instead of finite numbers \[N, 8\]"),
  ("power", _NPY.format("power"), _npy(np.full((4, 8), "1.0")), r"<U3 \[4, 8\] instead of finite numbers"),
  ("power", _NPY.format("power"), _npy(np.array([_Harm()]), allow_pickle=True), "Python objects"),
  ("miniboone", _NPY.format("miniboone"), _npy(np.full((4, 43), np.nan)), "instead of finite numbers"),
  ("hepmass", "data/hepmass/1000_train.csv", b"label\n" + b",".join([b"0"] * 28), r"float64 \[0, 27\]"),
  ("hepmass", "data/hepmass/1000_train.csv", b"label\n" + b",".join([b"1"] * 28), "1000_test.csv is missing"),
  ("hepmass", "data/hepmass/1000_train.csv", b"label\n1,x\n", "with valid data/hepmass/1000_train.csv"),
  ("bsds300", "data/BSDS300/BSDS300.hdf5", b"0", "with valid data/BSDS300/BSDS300.hdf5"),
])  # fmt: skip
def test_damaged_archives_are_named(tmp_path, member, name, content, named):
  _archive(tmp_path, **{name: content})
  with pytest.raises(errors.UserError, match=rf"data\.tar\.gz is not .*{named}"):
    _made(tmp_path, member, 2, 1, 1)


def test_other_damaged_maf_files_are_named(tmp_path):
  (tmp_path / "data.tar.gz").write_bytes(b"no archive")
  with pytest.raises(errors.UserError, match=r"data\.tar\.gz is not the archive of Zenodo record 1161203"):
    _made(tmp_path, "power", 2, 1, 1)
  _gas().to_csv(tmp_path / "ethylene_CO.csv")  # with the index
  with pytest.raises(errors.UserError, match=r"ethylene_CO\.csv is not .*\[50, 9\] instead of finite numbers \[N, 8\]"):
    _made(tmp_path, "gas", 41, 4, 5)
  _gas().drop(columns="Meth").to_csv(tmp_path / "ethylene_CO.csv", index=False)
  with pytest.raises(errors.UserError, match="with the columns Meth, Eth, Time"):
    _made(tmp_path, "gas", 41, 4, 5)
  rng = np.random.default_rng(0)
  train, test = (_text(_hepmass(rng, 60, 0), ",", "label\n") for _ in range(2))
  _archive(tmp_path, **{"data/hepmass/1000_train.csv": train, "data/hepmass/1000_test.csv": test})
  with pytest.raises(errors.UserError, match=r"1000_train\.csv has 22 continuous features instead of 21"):
    _made(tmp_path, "hepmass", 27, 3, 30)

"""The user's own data: every format gives the right values, and bad files a one-sentence error."""

import gzip
import pathlib
import pickle
import shutil

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from PIL import Image

from dgm_jax import data
from dgm_jax.core import batches, errors
from dgm_jax.data import splits
from dgm_jax.data.files import tables
from dgm_jax.data.files.table_options import Options

RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 3)).astype(np.float32)


@pytest.fixture
def load(tmp_path):
  return lambda path, **options: data.load("array", path=str(path), data_dir=str(tmp_path / "data"), **options)


def whole(loaded: splits.Splits) -> dict:
  """All examples, put back in the order of the file."""
  order = np.random.RandomState(0).permutation(sum(batches.size(a) for a in loaded.parts().values()))
  joined = {k: np.concatenate([loaded.test[k], loaded.valid[k], loaded.train[k]]) for k in loaded.train}
  return {k: v[np.argsort(order)] for k, v in joined.items()}


def test_npy(load, tmp_path):
  np.save(tmp_path / "x.npy", X.astype(np.float64))
  loaded = load(tmp_path / "x.npy")
  assert [batches.size(a) for a in loaded.parts().values()] == [80, 10, 10]
  np.testing.assert_array_equal(whole(loaded)["x"], X)


def test_npz_with_labels_and_more(load, tmp_path):
  y, group = RNG.integers(0, 5, 100), np.array(["b", "a"])[RNG.integers(0, 2, 100)]
  np.savez(tmp_path / "d.npz", x=X, y=y, group=group, names=[f"c{i}" for i in range(3)], score=X[:, 0])
  loaded = load(tmp_path / "d.npz")
  found = whole(loaded)
  np.testing.assert_array_equal(found["y"], y)
  np.testing.assert_array_equal(found["group"], (group == "b").astype(np.int32))
  np.testing.assert_array_equal(found["score"], X[:, 0])
  assert loaded.about == {"group": ["a", "b"], "names": ["c0", "c1", "c2"]}
  np.testing.assert_array_equal(whole(load(tmp_path / "d.npz", target="group"))["y"], group == "b")


def test_npz_with_its_own_splits(load, tmp_path):
  y = np.arange(100)
  np.savez(tmp_path / "d.npz", x_train=X[:70], y_train=y[:70], x_test=X[70:], y_test=y[70:])
  loaded = load(tmp_path / "d.npz", valid_fraction=0.2)
  np.testing.assert_array_equal(loaded.test["x"], X[70:])
  assert sorted([*loaded.train["y"], *loaded.valid["y"]]) == list(range(70))
  assert batches.size(loaded.valid) == 14
  assert load(tmp_path / "d.npz", valid_fraction=0.0).valid is None


def test_parts_share_classes_and_dtypes(load, tmp_path):
  rng = np.random.default_rng(1)
  x = rng.integers(0, 256, (30, 4, 4)).astype(np.uint8)
  y = np.array(["a", "b", "c"])[np.arange(30) % 3]
  dark, late = x[20:] > 127, np.array(["b", "c"] * 5)
  np.savez(
    tmp_path / "d.npz",
    x_train=x[:20],
    y_train=y[:20],
    x_val=x[20:],
    y_val=late,
    x_test=dark.astype(np.uint8),
    y_test=late,
  )
  loaded = load(tmp_path / "d.npz")
  assert loaded.test["x"].dtype == np.uint8
  np.testing.assert_array_equal(loaded.valid["y"], [1, 2] * 5)
  np.testing.assert_array_equal(loaded.test["y"], [1, 2] * 5)
  assert loaded.about["classes"] == ["a", "b", "c"]


def test_a_mask_of_the_user(load, tmp_path):
  mask = RNG.integers(0, 2, X.shape)
  np.savez(tmp_path / "d.npz", x=X, mask=mask)
  found = whole(load(tmp_path / "d.npz"))
  np.testing.assert_array_equal(found["mask"], mask)
  np.testing.assert_array_equal(found["x"], X * mask)


def test_sparse_matrix(load, tmp_path):
  counts = RNG.poisson(0.3, (100, 7))
  scipy.sparse.save_npz(tmp_path / "csr.npz", scipy.sparse.csr_matrix(counts))
  scipy.sparse.save_npz(tmp_path / "csc.npz", scipy.sparse.csc_matrix(counts))
  for name in ("csr.npz", "csc.npz"):
    found = whole(load(tmp_path / name))["x"]
    np.testing.assert_array_equal(found, counts)
    assert found.dtype == np.int32


@pytest.mark.parametrize("x,dtype,shape", [
  (RNG.integers(0, 2, (100, 4, 4)).astype(np.uint8), bool, (4, 4, 1)),
  (RNG.integers(0, 256, (100, 4, 4)).astype(np.uint8), np.uint8, (4, 4, 1)),
  (RNG.integers(0, 256, (100, 4, 4, 3)).astype(np.uint8), np.uint8, (4, 4, 3)),
  (RNG.integers(-5, 999, (100, 2)), np.int32, (2,)), (X[:, 0].astype(np.float16), np.float32, (1,)),
])  # fmt: skip
def test_dtypes(x, dtype, shape, load, tmp_path):
  np.save(tmp_path / "x.npy", x)
  found = whole(load(tmp_path / "x.npy"))["x"]
  assert (found.dtype, found.shape[1:]) == (dtype, shape)
  np.testing.assert_array_equal(found.ravel(), x.ravel())


def table() -> pd.DataFrame:
  frame = pd.DataFrame(X.astype(np.float64), columns=["a", "b", "c"])
  frame.loc[3, "b"], frame.loc[50, "c"] = np.nan, np.nan
  frame["kind"] = np.array(["cat", "dog"])[np.arange(100) % 2]
  return frame


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet"])
def test_tables(name, load, tmp_path):
  frame = table()
  if name == "t.parquet":
    frame.to_parquet(tmp_path / name)
  else:
    frame.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
  loaded = load(tmp_path / name, target="kind")
  found = whole(loaded)
  values = table()[["a", "b", "c"]].to_numpy()
  np.testing.assert_array_equal(found["mask"], ~np.isnan(values))
  np.testing.assert_allclose(found["x"], np.nan_to_num(values), rtol=1e-6)
  np.testing.assert_array_equal(found["y"], np.arange(100) % 2)
  assert loaded.about == {"columns": ["a", "b", "c"], "classes": ["cat", "dog"], "target": "kind"}


def test_a_table_without_names_keeps_its_first_line(load, tmp_path):
  np.savetxt(tmp_path / "t.csv", X, delimiter=",")
  np.testing.assert_allclose(whole(load(tmp_path / "t.csv"))["x"], X, rtol=1e-6)


def test_a_first_line_of_numbers_is_data_even_with_repeats_and_gaps(load, tmp_path):
  (tmp_path / "t.csv").write_text("5.1,5.1,\n" + "1,2,3\n" * 9)
  found = whole(load(tmp_path / "t.csv"))
  assert found["x"].shape == (10, 3)
  np.testing.assert_array_equal(found["mask"][0], [1, 1, 0])
  (tmp_path / "t.csv").write_text("a,b\n" + "1,2,3\n" * 9)
  with pytest.raises(errors.UserError, match=r"t\.csv: line 2 has 3 cells"):
    load(tmp_path / "t.csv")


def test_cells(load, tmp_path):
  counts = RNG.poisson(1.0, (100, 5)).astype(np.float32)
  obs = pd.DataFrame({"type": pd.Categorical(np.array(["T", "B"])[np.arange(100) % 2]), "run": np.arange(100) % 3})
  obs.index = obs.index.astype(str)
  found = anndata.AnnData(scipy.sparse.csr_matrix(counts), obs, layers={"twice": 2 * counts})
  found.var_names = [f"g{i}" for i in range(5)]
  found.write_h5ad(tmp_path / "c.h5ad")
  loaded = load(tmp_path / "c.h5ad", target="type", batch="run")
  cells = whole(loaded)
  np.testing.assert_array_equal(cells["x"], counts)
  assert cells["x"].dtype == np.int32
  np.testing.assert_array_equal(cells["y"], (np.arange(100) + 1) % 2)
  np.testing.assert_array_equal(cells["batch"], np.arange(100) % 3)
  assert loaded.about["genes"] == [f"g{i}" for i in range(5)] and loaded.about["classes"] == ["B", "T"]
  assert (loaded.about["cells"]["num_batches"], loaded.about["cells"]["num_labels"]) == (3, 2)
  np.testing.assert_array_equal(whole(load(tmp_path / "c.h5ad", layer="twice"))["x"], 2 * counts)
  for option, named in (({"target": "typ"}, "Did you mean 'type'"), ({"layer": "thrice"}, "Choices: twice")):
    with pytest.raises(errors.UserError, match=named):
      load(tmp_path / "c.h5ad", **option)


def draw_images(folder: pathlib.Path, names: list[str], shape=(6, 8, 3)) -> np.ndarray:
  images = RNG.integers(0, 256, (len(names), *shape)).astype(np.uint8)
  for name, image in zip(names, images, strict=True):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / name)
  return images


def test_a_folder_of_images_with_a_class_in_each_sub_folder(load, tmp_path):
  names = sorted(f"{'ab'[i % 2]}/{i:02}.png" for i in range(20))
  images = draw_images(tmp_path / "pictures", names)
  loaded = load(tmp_path / "pictures")
  found = whole(loaded)
  np.testing.assert_array_equal(found["x"], images)
  np.testing.assert_array_equal(found["y"], [0] * 10 + [1] * 10)
  assert loaded.about == {"classes": ["a", "b"]}
  small = whole(load(tmp_path / "pictures", image_size=3, grey=True))["x"]
  assert small.shape == (20, 3, 3, 1)
  square = np.stack([np.asarray(Image.fromarray(i).convert("L"), np.float64) for i in images])[:, :, 1:7]
  np.testing.assert_allclose(small[..., 0], square.reshape(20, 3, 2, 3, 2).mean((2, 4)), atol=1)


def test_a_folder_of_images_with_its_own_splits(load, tmp_path):
  names = [f"{part}/{'uv'[i % 2]}/{i}.png" for part, n in (("test", 3), ("train", 6), ("val", 2)) for i in range(n)]
  images = draw_images(tmp_path / "pictures", names)
  loaded = load(tmp_path / "pictures")
  for part, folder in (("train", "train"), ("valid", "val"), ("test", "test")):
    rows = [i for i, name in enumerate(sorted(names)) if name.startswith(folder)]
    by_name = images[[names.index(sorted(names)[i]) for i in rows]]
    np.testing.assert_array_equal(getattr(loaded, part)["x"], by_name)
    np.testing.assert_array_equal(getattr(loaded, part)["y"], ["/v/" in sorted(names)[i] for i in rows])


def test_a_folder_with_train_and_val_takes_its_test_set_from_train(load, tmp_path):
  names = [f"{part}/{i}.png" for part, n in (("Train", 10), ("val", 2)) for i in range(n)]
  images = draw_images(tmp_path / "pictures", names)
  loaded = load(tmp_path / "pictures", test_fraction=0.3)
  np.testing.assert_array_equal(loaded.valid["x"], images[10:])
  assert [batches.size(a) for a in loaded.parts().values()] == [7, 2, 3]
  draw_images(tmp_path / "pictures", ["extra/0.png"])
  with pytest.raises(errors.UserError, match="has a folder train and, next to it, 'extra'"):
    load(tmp_path / "pictures")


def test_transparent_pixels_are_black(load, tmp_path):
  image = np.full((4, 5, 5, 4), 200, np.uint8)
  image[:, 0, :, 3], image[:, 1:, :, 3] = 0, 255
  for i in range(4):
    (tmp_path / "pictures").mkdir(exist_ok=True)
    Image.fromarray(image[i]).save(tmp_path / "pictures" / f"{i}.png")
  x = load(tmp_path / "pictures", test_fraction=0.25, valid_fraction=0.25).train["x"]
  assert (x[:, 0] == 0).all()
  assert (x[:, 1:] == 200).all()


def test_the_cache_is_replaced_when_the_file_or_an_option_changes(load, tmp_path):
  np.save(tmp_path / "x.npy", X)
  first = load(tmp_path / "x.npy")
  np.testing.assert_array_equal(load(tmp_path / "x.npy").train["x"], first.train["x"])
  assert (load(tmp_path / "x.npy", split_seed=1).test["x"] != first.test["x"]).any()
  np.save(tmp_path / "x.npy", X + 1)
  np.testing.assert_array_equal(load(tmp_path / "x.npy").train["x"], first.train["x"] + np.float32(1))


def bad_files(folder: pathlib.Path) -> dict[str, tuple]:
  """Writes bad files to the folder; returns {name: (options, expected message)}."""
  write = lambda name, content: (folder / name).write_bytes(content)
  np.save(folder / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
  np.save(folder / "strings.npy", np.array(["a", "b"]))
  np.save(folder / "none.npy", np.zeros((0, 3)))
  np.save(folder / "inf.npy", np.array([[1.0, np.inf]]))
  np.save(folder / "nan.npy", np.full((4, 2), np.nan))
  np.save(folder / "short.npy", X)
  write("short.npy", (folder / "short.npy").read_bytes()[:-100])
  np.savez(folder / "nox.npz", z=X)
  np.savez(folder / "ragged.npz", x=X, y=np.arange(7))
  np.savez(folder / "notest.npz", x_train=X)
  np.savez(folder / "shapes.npz", x_train=X, x_test=X[:, :2])
  np.savez(folder / "evil.npz", **{"x": X, "../../evil": X})
  np.savez(folder / "reserved.npz", x=X, index=np.arange(100))
  np.savez(folder / "onehot.npz", x=X, y=np.eye(100)[:, :3])
  np.savez(folder / "scalar.npz", x=X, y=np.array(3))
  np.savez(folder / "big.npz", x=X, y=np.full(100, 2**40))
  np.savez(folder / "huge.npz", x=np.full((9, 2), 1e300))
  np.savez(folder / "mask.npz", x=X, mask=np.full(X.shape, 3.0))
  np.savez(folder / "alone.npz", x_train=X, x_test=X, y_train=X[:, 0])
  np.savez(folder / "incomplete.npz", x=X, more=np.full(X.shape, np.nan))
  wrong = {"data": np.ones(200), "indices": np.full(200, 10**8), "indptr": np.arange(51) * 4, "shape": (50, 4)}
  np.savez(folder / "sparse.npz", format=b"csr", **wrong)
  scipy.sparse.save_npz(folder / "coo.npz", scipy.sparse.coo_matrix(np.eye(4)))
  write("renamed.npy", (folder / "nox.npz").read_bytes())
  pd.DataFrame({"when": pd.date_range("2020-01-01", periods=9)}).to_parquet(folder / "time.parquet")
  Image.fromarray(np.zeros((4, 4), np.uint16)).save(folder / "deep.png")
  (folder / "deep").mkdir()
  for name in "ab":
    shutil.copy(folder / "deep.png", folder / "deep" / f"{name}.png")
  write("cut.npz", (folder / "nox.npz").read_bytes()[:200])
  write("words.csv", b"a,b\n1,2\n3,high\n")
  write("empty.csv", b"")
  write("head.csv", b"a,b\n")
  write("uneven.csv", b"a,b\n1,2\n1,2,3,4\n")
  write("t.csv", b"age,label\n1,2\n")
  write("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100)[:-12])
  write("x.parquet", b"PAR1 nonsense")
  write("x.h5ad", b"nonsense")
  write("x.docx", b"")
  write("x.pkl", pickle.dumps(X))
  (folder / "nothing").mkdir()
  draw_images(folder / "sizes", ["a.png"])
  draw_images(folder / "sizes", ["b.png"], (5, 5, 3))
  draw_images(folder / "broken", ["a.png", "b.png"])
  write("broken/b.png", (folder / "broken" / "b.png").read_bytes()[:60])
  return {
    "absent.npy": ({}, "does not exist"),
    "objects.npy": ({}, "object arrays are pickles and never loaded"),
    "strings.npy": ({}, "'x' holds <U1, where numbers are expected"),
    "none.npy": ({}, r"'x' is empty \(shape \[0, 3\]\)"),
    "inf.npy": ({}, "'x' holds Inf"),
    "nan.npy": ({}, "'x' has no observed entry"),
    "short.npy": ({}, "is not a .npy file of numbers"),
    "nox.npz": ({}, r"lacks the array 'x' \(or x_train and x_test\); it has z"),
    "ragged.npz": ({}, "'y' has shape \\[7\\] for 100 examples"),
    "notest.npz": ({}, "has x_train but no x_test"),
    "shapes.npz": ({}, "the parts differ in shape"),
    "cut.npz": ({}, "is not a .npz file"),
    "evil.npz": ({}, "'../../evil' cannot be the name of an array"),
    "reserved.npz": ({}, "'index' cannot be the name of an array"),
    "onehot.npz": ({}, r"target 'y' has shape \[100, 3\]; one class or number"),
    "scalar.npz": ({}, r"'y' has shape \[\] for 100 examples"),
    "big.npz": ({}, "'y' has integers too large for int32"),
    "huge.npz": ({}, "'x' holds Inf, or numbers too large for float32"),
    "mask.npz": ({}, "mask must have x's shape"),
    "alone.npz": ({}, "has x_train, y_train, but x_test"),
    "incomplete.npz": ({}, "'more' has missing values; only x may have them"),
    "sparse.npz": ({}, "is not a sparse matrix as scipy.sparse.save_npz writes it"),
    "coo.npz": ({}, "is a sparse matrix in format 'coo'; save it as csr"),
    "renamed.npy": ({}, "it is a .npz file"),
    "time.parquet": ({}, "column 'when' holds '2020-01-01 00:00:00' in row 1"),
    "deep": ({}, "more than 8 bits; save it with 8 bits"),
    "words.csv": ({}, "column 'b' holds 'high' in row 2, where numbers are expected"),
    "empty.csv": ({}, "is empty: it has no rows"),
    "head.csv": ({}, "is empty: it has no rows"),
    "uneven.csv": ({}, "line 3 has 4 cells, but the first line has 2"),
    "t.csv": ({"target": "labl"}, "Unknown target of .*t.csv 'labl'. Did you mean 'label'"),
    "cut.csv.gz": ({}, "is not a .csv table"),
    "x.parquet": ({}, "is not a .parquet table"),
    "x.h5ad": ({}, "is not an .h5ad file"),
    "x.docx": ({}, "has an unknown format; supported: .npz, .npy, .csv"),
    "x.pkl": ({}, "is a pickle; pickles are never loaded.*numpy.savez"),
    "nothing": ({}, r"holds no images \(.png"),
    "sizes": ({}, "b.png is 5 x 5 pixels, but .*a.png is 6 x 8; set data.image_size"),
    "broken": ({}, "b.png is not an image of 8 bits that Pillow can decode"),
  }


def test_bad_files_raise_one_sentence_that_names_them_and_leave_nothing(load, tmp_path):
  for name, (options, sentence) in bad_files(tmp_path).items():
    with pytest.raises(errors.UserError, match=sentence) as caught:
      load(tmp_path / name, test_fraction=0.5, valid_fraction=0.0, **options)
    assert str(tmp_path / name) in str(caught.value), name
    assert "\n" not in str(caught.value), name
  assert not [f for f in (tmp_path / "data" / "dgm_arrays").glob("*") if f.suffix != ".lock"]


def test_pickles_are_never_loaded(load, tmp_path):
  class Trap:
    def __reduce__(self):
      return (pathlib.Path.touch, (tmp_path / "sprung",))

  np.save(tmp_path / "x.npy", np.array([Trap()], object), allow_pickle=True)
  np.savez(tmp_path / "x.npz", x=np.array([Trap()], object))
  (tmp_path / "x.pkl").write_bytes(pickle.dumps(Trap()))
  for name in ("x.npy", "x.npz", "x.pkl"):
    with pytest.raises(errors.UserError, match="never loaded"):
      load(tmp_path / name)
  assert not (tmp_path / "sprung").exists()


def test_a_table_is_read_by_the_same_options_as_in_the_imputation_command(load, tmp_path):
  lines = [f"{i};{i},5;{'a' if i % 3 else 'b'};{-999 if i % 4 == 0 else i}" for i in range(20)]
  (tmp_path / "t.csv").write_text("\n".join(["key;x;kind;z", *lines]))
  options = {"decimal": ",", "missing": "-999", "columns": "x,3", "target": "kind"}
  loaded = load(tmp_path / "t.csv", **options)
  found = whole(loaded)
  z = np.arange(20) * (np.arange(20) % 4 > 0)
  np.testing.assert_array_equal(found["x"], np.stack([np.arange(20) + 0.5, z], 1))
  np.testing.assert_array_equal(found["mask"], np.stack([np.ones(20), np.arange(20) % 4 > 0], 1))
  np.testing.assert_array_equal(found["y"], np.arange(20) % 3 == 0)
  assert loaded.about == {"columns": ["x", "z"], "classes": ["a", "b"], "target": "kind"}
  table = tables.read(tmp_path / "t.csv", Options(**options))
  np.testing.assert_array_equal(table.missing[3], found["mask"][:, 1] == 0)
  np.testing.assert_array_equal(whole(load(tmp_path / "t.csv", **options | {"decimal": "."}))["x"], found["x"])
  with pytest.raises(errors.UserError, match=r"column 'kind' holds 'b' in row 1.*data.columns.*data.target"):
    load(tmp_path / "t.csv", decimal=",")


@pytest.mark.parametrize(
  ("cell", "sentence"),
  [
    ('"0,5"', "holds '0,5' in row 1.*the option decimal=, reads decimal commas"),
    ('"1,234.5"', "leave out the separators of thousands"),
    ("12 %", "leave out the percent signs"),
    ("€5", "leave out the currency"),
  ],
)
def test_numbers_in_other_notations_are_refused_with_a_hint(load, tmp_path, cell, sentence):
  (tmp_path / "t.csv").write_text("a,b\n" + f"{cell},1\n" * 9)
  with pytest.raises(errors.UserError, match=sentence):
    load(tmp_path / "t.csv")


def test_an_index_column_is_left_out_unless_it_is_asked_for(load, tmp_path):
  pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}, index=np.arange(100) * 3).to_csv(tmp_path / "t.csv")
  loaded = load(tmp_path / "t.csv")
  assert loaded.about["columns"] == ["a", "b"]
  assert loaded.about["reading"] == ["the index column 'column_1' is left out"]
  assert load(tmp_path / "t.csv", columns="0,a").about["columns"] == ["column_1", "a"]


def test_spellings_of_a_class_are_one_class(load, tmp_path):
  y = np.array(["true", "True", "no", "1", "1.0"])[np.arange(100) % 5]
  np.savez(tmp_path / "d.npz", x=X, y=y)
  loaded = load(tmp_path / "d.npz")
  assert loaded.about["classes"] == ["1", "True", "no"]
  np.testing.assert_array_equal(whole(loaded)["y"], np.array([1, 1, 2, 0, 0])[np.arange(100) % 5])


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_stand_as_a_viewer_shows_them(load, tmp_path, turn):
  """EXIF orientation 1..8; 6 is a phone held upright."""
  exif = Image.Exif()
  exif[0x0112] = turn
  (tmp_path / "pictures").mkdir()
  raw = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
  for i in range(3):
    Image.fromarray(raw).save(tmp_path / "pictures" / f"{i}.png", exif=exif)
  turned = np.rot90(raw, {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}[turn])
  shown = turned[:, ::-1] if turn in (2, 4, 5, 7) else turned
  found = load(tmp_path / "pictures", valid_fraction=0.0, test_fraction=0.34).train["x"][0]
  np.testing.assert_array_equal(found, shown)


def test_images_too_large_for_memory_or_for_the_disk_are_refused(load, tmp_path, monkeypatch):
  draw_images(tmp_path / "pictures", ["a.png", "b.png", "c.png"])
  with pytest.raises(errors.UserError, match="image_size = 100000; it must be 0 to 4096"):
    load(tmp_path / "pictures", image_size=100_000)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(500, 400, 100))
  with pytest.raises(errors.UserError, match=r"3 images of 6 x 8 pixels .* GiB left; set a smaller data\.image_size"):
    load(tmp_path / "pictures", test_fraction=0.34, valid_fraction=0.0)


def test_columns_and_missing_entries_of_arrays(load, tmp_path):
  x = np.where(X > 2, -9, X)
  np.savez(tmp_path / "a.npz", x=x, t=np.arange(100))
  found = whole(load(tmp_path / "a.npz", columns="2,0", missing="-9", target="t"))
  np.testing.assert_array_equal(found["mask"], (x != -9)[:, [2, 0]])
  np.testing.assert_array_equal(found["x"], np.where(x == -9, 0, x)[:, [2, 0]])
  np.testing.assert_array_equal(found["y"], np.arange(100))
  with pytest.raises(errors.UserError, match=r"data\.separator is for a text file .*a\.npz is none"):
    load(tmp_path / "a.npz", separator=";")
  with pytest.raises(errors.UserError, match=r"Unknown column of .*'x3'\. Choices: x0, x1, x2"):
    load(tmp_path / "a.npz", columns="x3")


def test_text_may_be_a_folder(tmp_path):
  (tmp_path / "sub").mkdir()
  for name, text in (
    ("b.txt", "cat dog\ndog bird\n"),
    ("sub/c.txt", "bird\n" * 9),
    ("a.txt", "cat cat\n"),
    ("n.md", "no"),
  ):
    (tmp_path / name).write_text(text)
  options = {"path": str(tmp_path), "test_fraction": 0.3, "valid_fraction": 0.0}
  loaded = data.load("text", **options)
  assert sum(map(batches.size, loaded.parts().values())) == 12
  counted = data.load("bag_of_words", min_documents=1, max_share=1.0, **options)
  assert sum(map(batches.size, counted.parts().values())) == 3
  assert max(a["x"].max() for a in counted.parts().values()) == 9
  (empty := tmp_path / "empty").mkdir()
  with pytest.raises(errors.UserError, match="holds no text files"):
    data.load("text", path=str(empty))


def test_path_is_required():
  with pytest.raises(errors.UserError, match=r"Data set 'array' needs data\.path"):
    data.load("array")

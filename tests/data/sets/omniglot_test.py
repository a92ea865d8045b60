"""OMNIGLOT and its resized images: what is loaded is what the published files contain, with the right orientation."""

import functools
import io
import zipfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data.sets import (
  omniglot,
  omniglot_resized,
)
from helpers.image_files import check_raises, corner, png, prepare_set, zip_of


def _chardata(path, n=6, m=4, **other):
  images = {"": corner(n) * np.linspace(0.1, 1, n)[:, None, None], "test": corner(m) / 4}
  variables = {}
  for prefix, x in images.items():
    variables[f"{prefix}data"] = np.stack([image.ravel(order="F") for image in x], 1)
    variables[f"{prefix}target"] = np.eye(50)[:, 7 + np.arange(len(x))]
    variables[f"{prefix}targetchar"] = np.ones((1, len(x)))
  scipy.io.savemat(path / "chardata.mat", variables | other)
  return images


def test_omniglot_has_the_right_orientation(tmp_path):
  images = _chardata(tmp_path)
  parts = prepare_set(omniglot.DATA_SETS[0], tmp_path, train=6, test=4)
  assert parts["train"]["x"].dtype == np.float32
  np.testing.assert_array_equal(parts["train"]["x"][..., 0], images[""].astype(np.float32))
  np.testing.assert_array_equal(parts["test"]["x"][..., 0], images["test"].astype(np.float32))
  np.testing.assert_array_equal(parts["train"]["y"], 7 + np.arange(6))


def test_omniglot_holds_out_what_the_iwae_code_does():
  arrays = {"x": np.arange(24_345)}
  train, valid = omniglot.hold_out_permuted(arrays, 1345)
  shuffled = np.arange(24_345)[np.random.RandomState(seed=123).permutation(24_345)]
  np.testing.assert_array_equal(valid["x"], shuffled[-1345:])
  np.testing.assert_array_equal(np.sort(np.concatenate([train["x"], valid["x"]])), np.arange(24_345))
  assert omniglot.hold_out_permuted(arrays, 0) == (arrays, None)
  with pytest.raises(errors.UserError, match="valid_size = 24345"):
    omniglot.hold_out_permuted(arrays, 24_345)


@pytest.mark.parametrize("other,named", [
  ({"data": np.full((784, 6), 255.0)}, r"in \[0, 1\].*lies in \[255"),
  ({"data": np.full((784, 6), np.nan)}, "lies in"),
  ({"testdata": np.zeros((4, 784))}, r"their shapes are \[4, 784\]"),
  ({"target": np.array(["a", "b"])}, r"target \[50, N\]"),
])  # fmt: skip
def test_omniglot_in_another_format_raises(tmp_path, other, named):
  _chardata(tmp_path, **other)
  check_raises(omniglot.DATA_SETS[0], tmp_path, r"chardata\.mat", named)


def test_omniglot_with_another_git_blob_id_raises(tmp_path):
  _chardata(tmp_path)
  with pytest.raises(errors.UserError, match=r"chardata\.mat.* expected git blob id 016a3536.*, found [0-9a-f]{40}"):
    data.load("omniglot", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


def _area_mean(ink):
  """105 x 105 averaged over 28 x 28 equal squares, each 3.75 pixels wide."""
  fine = np.repeat(np.repeat(ink, 4, 0), 4, 1)
  return fine.reshape(28, 15, 28, 15).mean((1, 3))


@pytest.mark.slow
def test_omniglot_small_has_the_published_images(raw_data, tmp_path):
  folders = {"data_dir": str(tmp_path), "manual_dir": str(raw_data / "omniglot_small")}
  loaded = data.load("omniglot_resized/small", unseen_only=False, **folders)
  assert {k: size(v) for k, v in loaded.parts().items()} == {"train": 2720, "test": 3120}
  for arrays, number, characters in ((loaded.train, 1, 136), (loaded.test, 2, 156)):
    np.testing.assert_array_equal(np.bincount(arrays["y"]), [20] * characters)
    with zipfile.ZipFile(raw_data / "omniglot_small" / f"images_background_small{number}.zip") as archive:
      names = [n for n in archive.namelist() if n.endswith("png")]
      assert [loaded.about["alphabets"][i] for i in arrays["alphabet"]] == [n.split("/")[1] for n in names]
      ink = [~np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names[::40]]
    x = arrays["x"][::40, ..., 0] / 255
    assert abs(x.mean() - np.mean(ink)) < 1e-3
    for small, large in zip(x, ink, strict=True):
      assert np.corrcoef(small.ravel(), _area_mean(large).ravel())[0, 1] > 0.97
  counts = dict(zip(*np.unique(loaded.test["alphabet"], return_counts=True), strict=True))
  named = {loaded.about["alphabets"][k]: v // 20 for k, v in counts.items()}
  assert named == {"Greek": 24, "Japanese_(katakana)": 47, "Latin": 26, "Sanskrit": 42, "Tagalog": 17}


@pytest.mark.slow
def test_the_test_set_of_omniglot_small_leaves_out_training_images_by_default(raw_data, tmp_path):
  load = functools.partial(
    data.load, "omniglot_resized/small", data_dir=str(tmp_path), manual_dir=str(raw_data / "omniglot_small")
  )
  loaded, unseen = load(unseen_only=False), load(valid_size=400)
  train = {x.tobytes() for x in loaded.train["x"]}
  assert sum(x.tobytes() in train for x in loaded.test["x"]) >= 1000
  assert size(unseen.test) == 2120
  assert not any(x.tobytes() in train for x in unseen.test["x"])
  assert [size(p) for p in (unseen.train, unseen.valid)] == [2320, 400]
  assert len(np.unique(unseen.valid["y"])) > 100  # of 136: at random, not the last alphabet


def test_omniglot_full_is_sorted_and_numbered(tmp_path):
  blank, ink = np.full((105, 105), 255, np.uint8), np.zeros((105, 105), np.uint8)
  one = {
    "Tibetan/character02/1_01.png": blank,
    "Tibetan/character01/2_01.png": ink,
    "Greek/character09/3_01.png": blank,
  }
  for name in ("images_background.zip", "images_evaluation.zip"):
    zip_of(tmp_path / name, {f"set/{k}": png(v, "1") for k, v in one.items()})
  parts = prepare_set(omniglot_resized.DATA_SETS[0], tmp_path, train=3, test=3)
  np.testing.assert_array_equal(parts["train"]["y"], [0, 1, 2])
  assert [omniglot_resized.ALPHABETS[i] for i in parts["test"]["alphabet"]] == ["Greek", "Tibetan", "Tibetan"]
  np.testing.assert_array_equal(parts["train"]["x"].mean((1, 2, 3)), [0, 255, 0])
  assert len(set(omniglot_resized.ALPHABETS)) == 50
  assert list(omniglot_resized.ALPHABETS) == sorted(omniglot_resized.ALPHABETS)


@pytest.mark.parametrize("files,named", [
  ({"set/Greek/character01/1_01.png": b"no picture"}, r"1_01\.png is not an image"),
  ({"set/Klingon/character01/1_01.png": b""}, "it holds 'set/Klingon"),
  ({"1_01.png": b""}, "it holds '1_01.png'"),
  (None, "images_background.zip is not a zip"),
])  # fmt: skip
def test_omniglot_zips_in_another_format_raise(tmp_path, files, named):
  for name in ("images_background.zip", "images_evaluation.zip"):
    if files is None:
      (tmp_path / name).write_bytes(b"PK cut short")
    else:
      zip_of(tmp_path / name, files)
  check_raises(omniglot_resized.DATA_SETS[0], tmp_path, named)

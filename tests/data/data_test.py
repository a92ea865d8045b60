"""Data sets: the right examples in the right splits, also after errors on the disk."""

import errno
import gzip
import hashlib
import shutil
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

from dgm_jax import data
from dgm_jax.core import batches, errors, files
from dgm_jax.data import splits
from dgm_jax.data.files import readers
from dgm_jax.data.published import cache
from dgm_jax.data.published.prepare import prepared
from dgm_jax.data.sets import mnist5k
from helpers.made import made


def test_train_size_keeps_the_first_examples():
  whole, part = data.load("mnist5k"), data.load("mnist5k", train_size=1000)
  np.testing.assert_array_equal(part.train["x"], whole.train["x"][:1000])
  assert np.bincount(part.train["y"]).tolist() == [100] * 10
  np.testing.assert_array_equal(part.test["x"], whole.test["x"])
  for size in (0, 4001):
    with pytest.raises(errors.UserError, match=f"train_size = {size}; it must be 1 to 4000"):
      data.load("mnist5k", train_size=size)


def test_mnist5k_is_fixed_stratified_and_disjoint():
  loaded = data.load("mnist5k")
  for arrays, count in zip(loaded.parts().values(), (400, 50, 50), strict=True):
    assert arrays["x"].shape == (10 * count, 28, 28, 1)
    assert arrays["x"].dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(arrays["y"]), [count] * 10)
  labels = np.repeat(np.arange(10), 500)  # the digits are sorted by class
  indices = mnist5k.split_indices(labels)
  np.testing.assert_array_equal(np.sort(np.concatenate(list(indices.values()))), np.arange(5000))
  digest = hashlib.sha256(loaded.test["x"].tobytes()).hexdigest()
  # The split is part of every number published on mnist5k: this may only change with a new name of the data set.
  assert digest == "f464c3871388e967d3aaccee8c46e83bbb1fd6d16c989b478c61a739985df434"


def test_second_load_takes_under_a_second():
  data.load("mnist5k")
  code = (
    "import time; from dgm_jax import data; t = time.time(); data.load('mnist5k'); print(time.time() - t); "
    "import sys; assert not {'tensorflow', 'tensorflow_datasets', 'pandas', 'sklearn'} & set(sys.modules)"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert float(done.stdout) < 1.0


def flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)


def test_damaged_cache_is_made_again(tmp_path):
  folder, made, parts = tmp_path / "set", [], ("train", "test")

  def write(target):
    made.append(1)
    cache.save(target, {"train": {"x": np.arange(6)}, "test": {"x": np.arange(3)}})
    cache.save_about(target, {"classes": ["a"]})

  for _ in range(2):
    found = cache.cached(folder, parts, write)
    np.testing.assert_array_equal(found["train"]["x"], np.arange(6))
    assert found.about == {"classes": ["a"]}
  assert len(made) == 1
  for damage in (
    lambda: (folder / "train" / "x.npy").write_bytes(b"cut short"),
    lambda: flip_a_bit(folder / "train" / "x.npy"),
    lambda: (folder / "digests.json").write_bytes(b""),
    lambda: (folder / "train" / "x.npy").write_bytes((folder / "train" / "x.npy").read_bytes()[:-8]),
    lambda: (folder / "about.json").write_text("{"),
    lambda: (folder / "test" / "x.npy").unlink(),
    lambda: shutil.rmtree(folder / "test"),
  ):
    before = len(made)
    damage()
    found = cache.cached(folder, parts, write)
    assert len(made) == before + 1
    np.testing.assert_array_equal(found["train"]["x"], np.arange(6))
    np.testing.assert_array_equal(found["test"]["x"], np.arange(3))


def test_a_cache_of_an_earlier_version_is_used_and_its_digests_are_kept_from_then_on(tmp_path):
  folder, write = tmp_path / "set", lambda target: cache.save(target, {"train": {"x": np.arange(6)}})
  cache.save(folder, {"train": {"x": np.arange(7)}})
  assert len(cache.cached(folder, ("train",), write)["train"]["x"]) == 7
  flip_a_bit(folder / "train" / "x.npy")
  assert len(cache.cached(folder, ("train",), write)["train"]["x"]) == 6


def test_of_a_data_set_that_is_too_large_to_read_the_sizes_are_compared(tmp_path, monkeypatch):
  monkeypatch.setattr(cache, "_HASHED_BYTES", 10)
  folder, write = tmp_path / "set", lambda target: cache.save(target, {"train": {"x": np.arange(6)}})
  cache.cached(folder, ("train",), write)
  assert files.read_json(folder / "digests.json") == {"train/x.npy": [176, None]}
  with open(folder / "train" / "x.npy", "ab") as file:
    file.write(b"more")
  cache.cached(folder, ("train",), write)
  assert (folder / "train" / "x.npy").stat().st_size == 176


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_folder(tmp_path):
  (tmp_path / "file").write_text("")
  write = lambda target: cache.save(target, {"train": {"x": np.arange(6)}})
  np.testing.assert_array_equal(cache.cached(tmp_path / "file" / "set", ("train",), write)["train"]["x"], np.arange(6))


def test_an_incomplete_preparation_is_never_loaded(tmp_path):
  def full(target):
    cache.save(target, {"train": {"x": np.arange(6)}})
    raise OSError(errno.ENOSPC, "No space left on device")

  with pytest.raises(errors.UserError, match=r"The disk of .* is full .* data set digits .*nothing was kept"):
    cache.cached(tmp_path / "set", ("train",), full, what="digits")
  assert not [f for f in tmp_path.rglob("*") if f.suffix != ".lock"]
  stale = tmp_path / "set.tmp" / "train"  # left by a killed process
  stale.mkdir(parents=True)
  np.save(stale / "x.npy", np.arange(99))
  write = lambda target: cache.save(target, {"train": {"x": np.arange(6)}})
  np.testing.assert_array_equal(cache.cached(tmp_path / "set", ("train",), write)["train"]["x"], np.arange(6))


def test_a_full_disk_raises_one_sentence_and_keeps_nothing(tmp_path):
  """A limit on the size of files simulates a full disk."""
  np.save(tmp_path / "x.npy", np.full((400, 28, 28, 1), 7, np.uint8))
  code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from dgm_jax import data
data.load("array", path={str(tmp_path / "x.npy")!r}, data_dir={str(tmp_path / "data")!r})
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert "DiskFullError: The disk of " in done.stderr
  assert not list((tmp_path / "data").rglob("*.npy"))
  loaded = data.load("array", path=str(tmp_path / "x.npy"), data_dir=str(tmp_path / "data"))
  assert [batches.size(a) for a in loaded.parts().values()] == [320, 40, 40]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100_000, 40_000_000])
def test_a_full_disk_while_preparing_raises_one_sentence_and_keeps_nothing(limit, raw_data, tmp_path):
  """While the records of TFDS are written, or the arrays after them."""
  code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from dgm_jax import data
data.load("mnist", manual_dir={str(raw_data / "mnist")!r}, data_dir={str(tmp_path)!r})
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert "UserError: " in done.stderr
  assert "nothing was kept" in done.stderr.splitlines()[-1]
  assert "File too large" in done.stderr.splitlines()[-1]
  assert not list(tmp_path.rglob("*.npy"))
  assert batches.size(data.load("mnist", manual_dir=str(raw_data / "mnist"), data_dir=str(tmp_path)).train) == 60_000


def test_of_several_processes_one_prepares_and_the_others_wait(tmp_path):
  code = f"""
import pathlib, sys, time
import numpy as np
from dgm_jax.data.published import cache

def write(target):
  print("preparing", flush=True)
  time.sleep(1.5)
  cache.save(target, {{"train": {{"x": np.arange(6)}}}})

print(cache.cached(pathlib.Path({str(tmp_path / "set")!r}), ("train",), write, what="digits")["train"]["x"].sum())
"""
  start = lambda: subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
  outputs = [process.communicate()[0] for process in [start(), start(), start()]]
  assert all(output.endswith("15\n") for output in outputs)
  assert sum("preparing" in output.splitlines() for output in outputs) == 1
  assert sum("Another process is preparing digits" in output for output in outputs) == 2


def test_hold_out_last_takes_the_last():
  train, valid = splits.hold_out_last({"x": np.arange(10)}, 3)
  np.testing.assert_array_equal(train["x"], np.arange(7))
  np.testing.assert_array_equal(valid["x"], [7, 8, 9])
  assert splits.hold_out_last({"x": np.arange(10)}, 0)[1] is None
  for size in (-1, 10):
    with pytest.raises(errors.UserError, match=f"valid_size = {size}"):
      splits.hold_out_last({"x": np.arange(10)}, size)


@pytest.mark.parametrize("valid", [0.0, 0.2])
def test_random_splits_are_disjoint_complete_and_fixed(valid):
  arrays = {"x": np.arange(50), "y": np.arange(50) * 2}
  loaded = splits.at_random(arrays, valid, 0.3, seed=1)
  parts = loaded.parts()
  assert [batches.size(a) for a in parts.values()] == ([25, 10, 15] if valid else [35, 15])
  np.testing.assert_array_equal(np.sort(np.concatenate([a["x"] for a in parts.values()])), np.arange(50))
  assert all((a["y"] == 2 * a["x"]).all() for a in parts.values())
  # The split is part of every number measured on it.
  np.testing.assert_array_equal(loaded.test["x"][:5], [27, 35, 40, 38, 2])
  assert (splits.at_random(arrays, valid, 0.3, seed=2).test["x"] != loaded.test["x"]).any()


@pytest.mark.parametrize("valid,test,named", [
  (0.0, 0.0, "test split is empty"), (0.5, 0.5, "train split is empty"), (0.001, 0.1, "valid split is empty"),
  (-0.1, 0.1, "valid_fraction = -0.1"), (0.1, 1.0, "test_fraction = 1.0"),
])  # fmt: skip
def test_invalid_fractions_raise(valid, test, named):
  with pytest.raises(errors.UserError, match=named):
    splits.at_random({"x": np.arange(50)}, valid, test, seed=0)


@pytest.mark.parametrize("name,options,named", [
  ("minst", {}, "Did you mean 'mnist'"),
  ("mnist5k", {"manual_dirr": "x"}, "option of data set 'mnist5k'"),
])  # fmt: skip
def test_unknown_names_raise_with_the_choices(name, options, named):
  with pytest.raises(errors.UserError, match=named):
    data.load(name, **options)


def _write_idx(path, array):
  header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
  path.write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_files_are_read(tmp_path):
  array = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
  _write_idx(tmp_path / "x.gz", array)
  np.testing.assert_array_equal(readers.idx(tmp_path / "x.gz"), array)


@pytest.mark.slow
def test_mnist_from_a_folder_equals_the_published_files(raw_data, tmp_path):
  loaded = data.load("mnist", data_dir=str(tmp_path), manual_dir=str(raw_data / "mnist"), valid_size=400)
  assert [batches.size(s) for s in loaded.parts().values()] == [59_600, 400, 10_000]
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
  per_class = {c: published[y == c][:500] for c in range(10)}  # from which mnist5k is taken
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
  assert not [f for f in tmp_path.glob("data/dgm_arrays/*") if f.suffix != ".lock"]


def test_without_a_network_the_alternatives_are_named(tmp_path, monkeypatch):
  def no_network(*args, **kwargs):
    raise requests.exceptions.ConnectionError("no network")

  monkeypatch.setattr(requests.Session, "request", no_network)
  with pytest.raises(errors.UserError, match=r"manual_dir=FOLDER.*data_dir=FOLDER.*mnist5k"):
    data.load("mnist", data_dir=str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion_mnist", "binarized_mnist"])
def test_arrays_equal_the_raw_files(name, raw_data, tmp_path):
  loaded = data.load(name, data_dir=str(tmp_path), manual_dir=str(raw_data / name))
  for part, arrays in loaded.parts().items():
    if name == "fashion_mnist":
      stem = raw_data / name / ("train" if part == "train" else "t10k")
      read = lambda kind, skip, stem=stem: np.frombuffer(
        gzip.decompress(stem.with_name(f"{stem.name}-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=skip
      )
      np.testing.assert_array_equal(arrays["x"].ravel(), read("images-idx3", 16))
      np.testing.assert_array_equal(arrays["y"], read("labels-idx1", 8))
    else:
      rows = gzip.decompress((raw_data / name / f"binarized_mnist_{part}.amat.gz").read_bytes())
      raw = np.fromstring(rows.decode(), np.uint8, sep=" ")
      np.testing.assert_array_equal(arrays["x"].ravel(), raw)
  if name == "binarized_mnist":  # published means
    assert [round(float(a["x"].mean()), 5) for a in loaded.parts().values()] == [0.13056, 0.13113, 0.13251]


@pytest.mark.slow
def test_a_prepared_set_is_mapped_and_takes_no_memory(raw_data, tmp_path):
  data.load("mnist", data_dir=str(tmp_path), manual_dir=str(raw_data / "mnist"))
  code = f"""
import resource, time
import dgm_jax.data, numpy
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
loaded = dgm_jax.data.load("mnist", data_dir={str(tmp_path)!r})
total = int(numpy.asarray(loaded.train["x"]).sum(dtype=numpy.int64))
print(total, time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
  total, seconds, kilobytes = subprocess.check_output([sys.executable, "-c", code], text=True).split()
  assert int(total) == 1_567_298_545  # of all training pixels: mean 33.318
  assert float(seconds) < 1.0
  assert int(kilobytes) < 200_000


@pytest.mark.parametrize("content,named", [
  (b"not gzipped", "is not a gzipped idx file of uint8: Not a gzipped file"),
  (gzip.compress(b"\0\0\x0d\1" + b"\0" * 8, mtime=0), "begins with 00000d instead of 000008"),
  (gzip.compress(b"\0\0\x08\1\0\0\0\7abc", mtime=0), "cannot reshape array of size 3"),
  (gzip.compress(b"\0\0\x08\1\0\0\0\3abc", mtime=0)[:-6], "is not a gzipped idx file of uint8"),
])  # fmt: skip
def test_a_damaged_idx_file_is_named(content, named, tmp_path):
  path = tmp_path / "x-ubyte.gz"
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match=rf"x-ubyte\.gz.*{named}"):
    readers.idx(path)


def test_a_read_error_in_a_published_set_raises_one_sentence_and_keeps_nothing(tmp_path):
  spec = made(data.published()["mnist"], train=3, test=2)
  for part, n in (("train", 3), ("t10k", 2)):
    _write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.arange(n * 784).reshape(n, 28, 28).astype(np.uint8))
    _write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(n).astype(np.uint8))
  labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
  whole = labels.read_bytes()
  labels.write_bytes(b"?")
  with pytest.raises(errors.UserError, match=r"t10k-labels-idx1-ubyte\.gz is not a gzipped idx file"):
    prepared(spec, str(tmp_path / "data"), str(tmp_path))
  labels.write_bytes(whole)
  with pytest.raises(errors.UserError, match="mnist: 2 test examples were read, 9 are published"):
    prepared(spec._replace(sizes={"train": 3, "test": 9}), str(tmp_path / "data"), str(tmp_path))
  parts = prepared(spec, str(tmp_path / "data"), str(tmp_path))
  np.testing.assert_array_equal(parts["train"]["y"], [0, 1, 2])
  shutil.rmtree(tmp_path / "data" / "dgm_arrays")  # the records of TFDS are enough to make them again
  again = prepared(spec, str(tmp_path / "data"))
  np.testing.assert_array_equal(again["test"]["x"].ravel(), np.arange(1568).astype(np.uint8))

"""Image data sets: the arrays are those of the published files, in the right orientation."""

import functools
import io
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.core.batches import size
from dgm_jax.data.sets import (
  caltech101_silhouettes,
  celeba,
  cifar10,
  frey_faces,
  svhn,
)
from helpers.image_files import check_raises, corner, jpeg, png, prepare_set, random_bytes, zip_of


def test_frey_faces_are_the_published_frames(raw_data, tmp_path):
  load = functools.partial(data.load, "frey_faces", data_dir=str(tmp_path), manual_dir=str(raw_data / "freyfaces"))
  loaded = load()
  assert {k: size(v) for k, v in loaded.parts().items()} == {"train": 1565, "valid": 200, "test": 200}
  published = np.load(raw_data / "freyfaces" / "freyfaces_1965x28x20_uint8.npy")
  frames = np.concatenate([p["x"] for p in loaded.parts().values()])
  assert frames.shape == (1965, 28, 20, 1)
  key = lambda x: sorted(frame.tobytes() for frame in x)
  assert key(frames) == key(published)
  order = np.random.RandomState(0).permutation(1965)
  np.testing.assert_array_equal(frames[..., 0], published[order])
  assert not np.array_equal(load(split_seed=1).test["x"], loaded.test["x"])
  assert load(valid_size=0, test_size=100).valid is None
  for sizes in ({"valid_size": 1765}, {"test_size": 0}, {"valid_size": -1}):
    with pytest.raises(errors.UserError, match=r"valid_size = .*test_size = .*1965 examples"):
      load(**sizes)


def test_a_pickle_of_frey_faces_raises_and_the_alternative_is_named(tmp_path):
  (tmp_path / "freyfaces.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
  with pytest.raises(
    errors.UserError, match=r"has freyfaces\.pkl, but .*never loaded\. frey_rawface\.mat is published at https://"
  ):
    data.load("frey_faces", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path))


@pytest.mark.parametrize("variables,named", [
  ({"ff": np.zeros((560, 1))}, r"ff is \[560, 1\] of float64"),
  ({"ff": np.zeros((1, 560), np.uint8)}, r"ff is \[1, 560\]"),
  ({"ff": np.array([["a"]])}, "ff is"),
  ({"faces": np.zeros((560, 1), np.uint8)}, "'ff' is missing; it has faces"),
])  # fmt: skip
def test_frey_faces_in_another_format_raise(tmp_path, variables, named):
  scipy.io.savemat(tmp_path / "frey_rawface.mat", variables)
  check_raises(frey_faces.DATA_SETS[0], tmp_path, r"frey_rawface\.mat is not ", named)


@pytest.fixture(scope="module")
def cifar10_small(raw_data, tmp_path_factory):
  folder = str(tmp_path_factory.mktemp("cifar10"))
  return data.load("cifar10/small", data_dir=folder, manual_dir=str(raw_data / "cifar10_subset"), valid_size=500)


@pytest.mark.slow
def test_cifar10_small_has_the_published_images(cifar10_small, raw_data):
  loaded = cifar10_small
  assert {k: size(v) for k, v in loaded.parts().items()} == {"train": 3500, "valid": 500, "test": 1000}
  np.testing.assert_array_equal(loaded.train["y"][:10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3])
  np.testing.assert_array_equal(loaded.test["y"][:10], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1])
  assert loaded.about["classes"][loaded.test["y"][0]] == "cat"
  np.testing.assert_array_equal(loaded.train["x"][0, 0, :3], [[59, 62, 63], [43, 46, 45], [50, 48, 43]])
  np.testing.assert_array_equal(loaded.test["x"][0, 0, 0], [158, 112, 49])
  x = np.concatenate([loaded.train["x"], loaded.valid["x"], loaded.test["x"]])
  sheets = [raw_data / "cifar10_subset" / f"cifar10_batch_{i}.png" for i in (0, 1, 2, 3, 50)]
  np.testing.assert_array_equal(x.reshape(5000, 1024, 3), np.concatenate([np.asarray(Image.open(s)) for s in sheets]))
  labels = cifar10._labels(raw_data / "cifar10_subset" / "cifar10_labels.js")
  np.testing.assert_array_equal(np.bincount(labels[:50_000]), [5000] * 10)


def _cifar10_tar(path, batches):
  with tarfile.open(path / "cifar-10-binary.tar.gz", "w:gz") as archive:
    for name, content in batches.items():
      info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))


def _records(x, y):
  """A label, then all of red, all of green, all of blue."""
  return b"".join(
    bytes([label]) + b"".join(image[..., c].tobytes() for c in range(3)) for image, label in zip(x, y, strict=True)
  )


def _check_binary_records(x, y, folder):
  batches = {f"data_batch_{i + 1}": _records(x[10 * i :][:10], y[10 * i :][:10]) for i in (3, 0, 2, 1, 4)}
  _cifar10_tar(folder, batches | {"test_batch": _records(x[50:], y[50:])})
  parts = prepare_set(cifar10.DATA_SETS[0], folder, train=50, test=10)
  np.testing.assert_array_equal(np.concatenate([parts["train"]["x"], parts["test"]["x"]]), x)
  np.testing.assert_array_equal(np.concatenate([parts["train"]["y"], parts["test"]["y"]]), y)


def test_cifar10_full_reads_binary_records(tmp_path):
  _check_binary_records(random_bytes(60, 32, 32, 3), np.arange(60) % 10, tmp_path)


def test_cifar10_full_reads_the_images_of_small_from_binary_records(cifar10_small, tmp_path):
  _check_binary_records(cifar10_small.train["x"][:60], cifar10_small.train["y"][:60], tmp_path)


@pytest.mark.parametrize("batches,named", [
  ({"data_batch_1": bytes(3072)}, "3,073-byte records: .*3072"),
  ({"data_batch_1": b"\x0a" + bytes(3072)}, "a label is 10"),
  ({"test_batch": bytes(3073)}, "data_batch_1.bin.* not found"),
])  # fmt: skip
def test_cifar10_archives_in_another_format_raise(tmp_path, batches, named):
  _cifar10_tar(tmp_path, batches)
  check_raises(cifar10.DATA_SETS[0], tmp_path, r"cifar-10-binary\.tar\.gz is not ", named)


def test_a_truncated_cifar10_archive_raises(tmp_path):
  _cifar10_tar(tmp_path, {"data_batch_1": random_bytes(30_730).tobytes()})
  path = tmp_path / "cifar-10-binary.tar.gz"
  path.write_bytes(path.read_bytes()[:20_000])
  check_raises(cifar10.DATA_SETS[0], tmp_path, r"cifar-10-binary\.tar\.gz is not ")


@pytest.mark.parametrize("labels,sheet,named", [
  ("var labels=[1, 2];", (1000, 1024, 3), r"labels\.js is not .*it lists 2"),
  ("no labels", (1000, 1024, 3), r"labels\.js is not .*it lists 0"),
  ("var labels=[1,, 2];", (1000, 1024, 3), r"labels\.js is not "),
  (f"var labels=[{'1, ' * 50_999}1]", (10, 1024, 3), r"batch_0\.png is not .*10 rows of 1024"),
])  # fmt: skip
def test_cifar10_sheets_in_another_format_raise(tmp_path, labels, sheet, named):
  (tmp_path / "cifar10_labels.js").write_text(labels)
  for i in (0, 1, 2, 3, 50):
    (tmp_path / f"cifar10_batch_{i}.png").write_bytes(png(np.zeros(sheet, np.uint8)))
  check_raises(cifar10.DATA_SETS[1], tmp_path, named)


def _svhn_mat(path, part, x, y):
  scipy.io.savemat(path / f"{part}_32x32.mat", {"X": np.stack(list(x), -1), "y": np.asarray(y)[:, None]})


def test_svhn_has_its_digits_followed_by_its_extra_images(tmp_path):
  x = {part: random_bytes(n, 32, 32, 3) for part, n in (("train", 3), ("extra", 2), ("test", 4))}
  y = {"train": [10, 1, 9], "extra": [10, 5], "test": [2, 10, 3, 4]}
  for part in x:
    _svhn_mat(tmp_path, part, x[part], np.array(y[part], np.uint8))
  parts = prepare_set(svhn.DATA_SETS[0], tmp_path, train=3, test=4)
  np.testing.assert_array_equal(parts["train"]["x"], x["train"])
  np.testing.assert_array_equal(parts["train"]["y"], [0, 1, 9])
  np.testing.assert_array_equal(parts["test"]["x"], x["test"])
  parts = prepare_set(svhn.DATA_SETS[1], tmp_path, train=5, test=4)
  np.testing.assert_array_equal(parts["train"]["x"], np.concatenate([x["train"], x["extra"]]))
  np.testing.assert_array_equal(parts["train"]["y"], [0, 1, 9, 0, 5])
  np.testing.assert_array_equal(parts["test"]["y"], [2, 0, 3, 4])
  assert [s.sizes for s in svhn.DATA_SETS] == [{"train": 73_257, "test": 26_032}, {"train": 604_388, "test": 26_032}]


@pytest.mark.parametrize("x,y,named", [
  (random_bytes(2, 32, 32, 3), [1, 11], "y holds other values"),
  (random_bytes(2, 32, 32, 3), ["a", "b"], "y holds other values"),
  (random_bytes(2, 32, 32, 3), [1], r"y is \[1, 1\]"),
  (random_bytes(2, 28, 28, 3), [1, 2], r"X is \[28, 28, 3, 2\]"),
  (random_bytes(2, 32, 32, 3) / 255, [1, 2], "of float64"),
])  # fmt: skip
def test_svhn_in_another_format_raises(tmp_path, x, y, named):
  for part in ("train", "test"):
    _svhn_mat(tmp_path, part, x, y)
  check_raises(svhn.DATA_SETS[0], tmp_path, r"train_32x32\.mat is not ", named)


def _celeba(path, pictures=(), attributes=None, partition=None):
  """Six pictures: grey borders that the crop removes, and a different colour in each quarter of the rest."""
  quarters = random_bytes(6, 2, 2, 3) // 4 * 2 + 60
  files = {}
  for i, colours in enumerate(quarters):
    pixels = np.full((218, 178, 3), 128, np.uint8)
    pixels[35:183, 15:163] = np.repeat(np.repeat(colours, 74, 0), 74, 1)
    files[f"img_align_celeba/{i + 1:06}.jpg"] = jpeg(pixels)
  zip_of(path / "img_align_celeba.zip", files | dict(pictures))
  signs = np.where(random_bytes(6, 40) < 128, -1, 1)
  rows = [f"{i + 1:06}.jpg  {' '.join(f'{s:2}' for s in row)}" for i, row in enumerate(signs)]
  table = ["6", " ".join(celeba.ATTRIBUTES) + " ", *rows]
  (path / "list_attr_celeba.txt").write_text(attributes or "\n".join(table) + "\n")
  parts = [0, 2, 0, 1, 0, 2]
  listed = "".join(f"{i + 1:06}.jpg {p}\n" for i, p in enumerate(parts))
  (path / "list_eval_partition.txt").write_text(partition or listed)
  return quarters, signs == 1, np.array(parts)


def test_celeba_is_cropped_resized_and_split(tmp_path):
  quarters, signs, number = _celeba(tmp_path)
  for spec, side in zip(celeba.DATA_SETS, (32, 64, 128), strict=True):
    parts = prepare_set(spec, tmp_path, train=3, valid=1, test=2)
    for i, arrays in enumerate(parts.values()):
      assert arrays["x"].shape[1:] == (side, side, 3)
      np.testing.assert_array_equal(arrays["attributes"], signs[number == i])
      middle = arrays["x"].reshape(-1, 2, side // 2, 2, side // 2, 3)[:, :, 2 : side // 2 - 2, :, 2 : side // 2 - 2]
      found = middle.astype(int) - quarters[number == i][:, :, None, :, None]
      assert abs(found).max() <= 5  # JPEG libraries decode a little differently
      edge = np.concatenate([arrays["x"][:, 0, :5], arrays["x"][:, :5, 0]], 1).astype(int)
      assert abs(edge - quarters[number == i][:, 0, :1]).max() <= 40  # not the grey border
  assert celeba.DATA_SETS[0].sizes == {"train": 162_770, "valid": 19_867, "test": 19_962}
  assert len(celeba.ATTRIBUTES) == 40


@pytest.mark.parametrize("given,named", [
  ({"pictures": {"img_align_celeba/000003.jpg": b"\xff\xd8 cut"}}, r"zip: 000003\.jpg is not a JPEG"),
  ({"pictures": {"img_align_celeba/000001.jpg": jpeg(random_bytes(64, 64, 3))}}, r"1\.jpg is not .*it has 64 x 64"),
  ({"partition": "000001.jpg 3\n"}, r"list_eval_partition\.txt is not .*line 1 is '000001\.jpg 3'"),
  ({"partition": "000007.jpg 0\n"}, r"list_attr_celeba\.txt .*'000007\.jpg' is missing"),
  ({"attributes": "6\nBald\n"}, "second line has other names"),
  ({"attributes": f"6\n{' '.join(celeba.ATTRIBUTES)}\n000001.jpg 1 0\n"}, r"line 3 is '000001\.jpg 1 0'"),
])  # fmt: skip
def test_celeba_in_another_format_raises(tmp_path, given, named):
  _celeba(tmp_path, **given)
  check_raises(celeba.DATA_SETS[0], tmp_path, named, train=3, valid=1, test=2)


def test_a_truncated_celeba_picture_is_named(tmp_path):
  whole = jpeg(random_bytes(218, 178, 3))
  _celeba(tmp_path, pictures={"img_align_celeba/000005.jpg": whole[: len(whole) // 2]})
  check_raises(celeba.DATA_SETS[0], tmp_path, r"000005\.jpg is not an image", train=3, valid=1, test=2)


def test_a_celeba_picture_that_is_not_in_the_archive_is_named(tmp_path):
  _celeba(tmp_path)
  zip_of(tmp_path / "img_align_celeba.zip", {"img_align_celeba/000001.jpg": jpeg(random_bytes(218, 178, 3))})
  check_raises(celeba.DATA_SETS[0], tmp_path, r"celeba\.zip is not .*000003\.jpg", train=3, valid=1, test=2)


def _silhouettes(path, **other):
  sizes = {"train": 3, "val": 2, "test": 4}
  variables = {}
  for prefix, n in sizes.items():
    drawn = 1 - corner(n)  # the object is black, 0, on white
    variables[f"{prefix}_data"] = np.stack([image.ravel(order="F") for image in drawn]).astype(np.uint8)
    variables[f"{prefix}_labels"] = 101 - np.arange(n, dtype=np.uint8)[:, None]
  scipy.io.savemat(path / "caltech101_silhouettes_28_split1.mat", variables | other)


def test_silhouettes_have_the_right_orientation_and_are_one_on_the_object(tmp_path):
  _silhouettes(tmp_path)
  parts = prepare_set(caltech101_silhouettes.DATA_SETS[0], tmp_path, train=3, valid=2, test=4)
  for arrays, n in zip(parts.values(), (3, 2, 4), strict=True):
    assert arrays["x"].dtype == bool
    np.testing.assert_array_equal(arrays["x"][..., 0], corner(n))
    np.testing.assert_array_equal(arrays["y"], 100 - np.arange(n))


@pytest.mark.parametrize("other,named", [
  ({"val_data": np.full((2, 784), 255)}, "val_data.*other values"),
  ({"test_labels": np.zeros((4, 1))}, "test_labels.*other values"),
  ({"train_data": np.zeros((3, 256))}, r"their shapes are \[3, 256\]"),
  ({"train_labels": np.ones((2, 1))}, r"and \[2, 1\]"),
])  # fmt: skip
def test_silhouettes_in_another_format_raise(tmp_path, other, named):
  _silhouettes(tmp_path, **other)
  check_raises(caltech101_silhouettes.DATA_SETS[0], tmp_path, r"split1\.mat is not ", named)

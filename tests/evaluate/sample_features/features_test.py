"""Features: Inception against PyTorch's, files of arrays, the nets that come with the package, and wrong files."""

import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import errors
from dgm_jax.evaluate.sample_features import choose, features, inception, small_nets, torch_file
from dgm_jax.networks import inception as network
from dgm_jax.networks import mlp
from helpers import inception_rule

FOLDER = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def reference():
  with np.load(FOLDER / "inception.npz") as stored:
    return dict(stored)


@pytest.fixture(scope="module")
def arrays(reference):
  """The weights by the rule, for the names and shapes of PyTorch's network."""
  rows = (line.split() for line in reference["shapes"].tolist())
  return {name: inception_rule.weight(name, tuple(map(int, shape))) for name, *shape in rows}


@pytest.mark.slow
def test_inception_equals_that_of_pytorch(reference, arrays):
  """Features and logits of two images with weights by the rule, resized as TensorFlow 1 did."""
  of = inception.make(clean=False, variables=inception.converted(arrays))
  found = jax.jit(of.embed)(inception_rule.images() / np.float32(255))
  np.testing.assert_allclose(found["features"], reference["features"], rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(found["probs"], jax.nn.softmax(reference["logits"]), rtol=2e-3, atol=1e-5)
  assert of.fid


def test_weights_of_another_network_raise_one_sentence(arrays):
  with pytest.raises(errors.UserError, match="torchvision is another network"):
    inception.converted({k: a for k, a in arrays.items() if k != "Mixed_7c.branch_pool.conv.weight"})
  with pytest.raises(errors.UserError, match=r"fc of shape \[2048, 1000\], not \[2048, 1008\]"):
    inception.converted(arrays | {"fc.weight": arrays["fc.weight"][:1000]})


@pytest.mark.parametrize("name", ["zip.pth", "stream.pth"])
def test_files_of_pytorch_are_read_without_it(name):
  found = torch_file.read(FOLDER / name)
  np.testing.assert_array_equal(found["a.weight"], np.arange(12.0, dtype="f").reshape(3, 4).T)
  np.testing.assert_array_equal(found["a.bias"], np.arange(3.0, 7.0, dtype="f"))
  np.testing.assert_array_equal(found["n"], [7, 8])
  assert found["n"].dtype == np.int64


def test_a_file_that_names_a_function_calls_nothing(tmp_path):
  path = tmp_path / "evil.pth"
  path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "called").encode() + b"'\ntR.")
  with pytest.raises(errors.UserError, match=r"names os\.system"):
    torch_file.read(path)
  assert not (tmp_path / "called").exists()


def test_a_wrong_or_missing_file_of_inception_is_refused_by_digest(tmp_path, monkeypatch):
  monkeypatch.delenv("DGM_INCEPTION", raising=False)
  with pytest.raises(errors.UserError, match="need the file that DGM_INCEPTION names"):
    inception.load()
  monkeypatch.setenv("DGM_INCEPTION", str(tmp_path / "none"))
  with pytest.raises(errors.UserError, match="is no file"):
    inception.load()
  monkeypatch.setenv("DGM_INCEPTION", str(FOLDER / "zip.pth"))
  with pytest.raises(errors.UserError, match="is not the Inception of FID: its sha256 is"):
    inception.load()
  digest = hashlib.sha256((FOLDER / "zip.pth").read_bytes()).hexdigest()
  with pytest.raises(errors.UserError, match="lack"):  # it is read, and has other arrays
    inception.load((digest,))


def test_resizing_as_tensorflow_1_by_hand():
  x = np.array([0, 51, 102, 255], np.float32).reshape(1, 4, 1, 1).repeat(4, 2).repeat(3, 3) / 255
  found = np.asarray(network.resized(jnp.asarray(x), clean=False, side=6))[0, :, 0, 0] * 128 + 128
  place = np.arange(6) * 4 / 6
  exact = np.interp(np.minimum(place, 3), np.arange(4), [0, 51, 102, 255])
  np.testing.assert_allclose(found, exact, atol=1e-3)
  clean = np.asarray(network.resized(jnp.asarray(x), clean=True, side=2))[0, :, 0, 0] * 128 + 128
  weights = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7  # triangles of twice the width, cut off at the edge
  np.testing.assert_allclose(clean, weights @ [0, 51, 102, 255], atol=1e-3)


def by_numpy(x):
  """The random net in NumPy: convolutions of 5 x 5 with strides 1, 2, 2 and zeros around, rectifiers, means."""
  rng, found = np.random.RandomState(20141208), []
  for channels, stride in ((32, 1), (64, 2), (128, 2)):
    kernel = (rng.standard_normal((5, 5, x.shape[-1], channels)) * np.sqrt(2 / (25 * x.shape[-1]))).astype("f")
    outputs = [-(-n // stride) for n in x.shape[1:3]]
    totals = [(m - 1) * stride + 5 - n for m, n in zip(outputs, x.shape[1:3], strict=True)]
    padded = np.pad(x, ((0, 0), *((t // 2, t - t // 2) for t in totals), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), (1, 2))[:, ::stride, ::stride]
    x = np.maximum(np.einsum("bijcuv,uvco->bijo", windows, kernel), 0)
    found.append(x.mean((1, 2)))
  return np.concatenate(found, -1)


def test_the_random_net_is_the_same_for_everybody():
  """Its weights are numbers that NumPy guarantees."""
  x = np.random.RandomState(0).uniform(size=(3, 9, 8, 2)).astype("f")
  found = np.asarray(jax.jit(small_nets.random((9, 8, 2)).embed)(x)["features"])
  assert found.shape == (3, 224)
  np.testing.assert_allclose(found, by_numpy(x), rtol=1e-4, atol=1e-5)
  with pytest.raises(errors.UserError, match=r"takes images \[H, W, C\]"):
    small_nets.random((7,))


def test_the_units_before_the_decision_are_those_that_give_the_logits():
  net = mlp.MLP((7, 5, 3))
  x = np.random.default_rng(0).normal(size=(4, 6)).astype("f")
  variables = net.init(jax.random.key(0), x)
  logits, last = features.with_last_input(lambda: net.apply(variables, x))
  dense = variables["params"]["Dense_2"]
  assert last.shape == (4, 5)
  np.testing.assert_allclose(last @ dense["kernel"] + dense["bias"], logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", small_nets.NAMES)
def test_nets_that_come_with_the_package_are_small_and_as_recorded(name):
  about = small_nets._NETS[name]
  assert (small_nets.FOLDER / f"{name}.npz").stat().st_size < 2**20 / 3
  of = small_nets.shipped(name)
  assert of.shape == tuple(about["image_shape"])
  assert of.num_classes == about["num_classes"] == 10
  assert choose.make(name, of.shape).name == name
  with pytest.raises(
    errors.UserError, match=rf"features = '{name}' takes x of shape .*; here x is of shape \[9, 9, 1\]"
  ):
    choose.make(name, (9, 9, 1))
  found = jax.jit(of.embed)(np.full((2, *of.shape), 0.3, "f"))
  assert found["features"].shape == (2, 64)
  np.testing.assert_allclose(found["probs"].sum(-1), 1, rtol=1e-5)


def test_the_nets_are_small_and_right_for_most_images():
  least = {"mnist": 0.99, "fashion_mnist": 0.89, "cifar10_small": 0.55}
  assert set(small_nets.NAMES) == set(least)
  assert sum((small_nets.FOLDER / f"{name}.npz").stat().st_size for name in least) < 1e6
  for name in least:
    assert small_nets._NETS[name]["test_accuracy"] > least[name]


def test_the_nets_have_the_accuracy_that_is_recorded(raw_data):
  """On a part of the published test sets."""
  for name, folder in (("fashion_mnist", "fashion_mnist"), ("cifar10_small", "cifar10_subset")):
    about = small_nets._NETS[name]
    test = data.load(about["data"], manual_dir=str(raw_data / folder)).test
    x, y = test["x"][:1000] / np.float32(255), test["y"][:1000]
    found = np.asarray(jax.jit(small_nets.shipped(name).embed)(x)["probs"]).argmax(-1)
    share, recorded = (found == y).mean(), about["test_accuracy"]
    assert abs(share - recorded) < 3 * (recorded * (1 - recorded) / 1000) ** 0.5


def test_a_damaged_net_is_refused(tmp_path, monkeypatch):
  (tmp_path / "mnist.npz").write_bytes((small_nets.FOLDER / "mnist.npz").read_bytes()[:-1])
  monkeypatch.setattr(small_nets, "FOLDER", tmp_path)
  with pytest.raises(errors.UserError, match=r"mnist\.npz is damaged"):
    small_nets.shipped("mnist")


def test_the_digits_that_come_with_the_package_are_classified():
  digits = data.load("mnist5k").test
  found = jax.jit(small_nets.shipped("mnist").embed)(digits["x"] / np.float32(255))
  assert (found["probs"].argmax(-1) == digits["y"]).mean() > 0.97

"""Evaluations of games of two players: truncation, walks, numbers by class; draws of a class; figures of a run."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from PIL import Image

import dgm_jax
from dgm_jax.configs import dcgan_mnist
from dgm_jax.core import errors
from dgm_jax.evaluate import truncation, walks
from dgm_jax.evaluate.sample_metrics import named
from dgm_jax.evaluate.sample_metrics.embedded import Embedded, Sets
from dgm_jax.models.adversarial import colouriser, gan
from dgm_jax.principles import adversarial
from dgm_jax.training import build, final_figures, labels, train
from helpers import processes

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The folder of a class-conditional DCGAN of 8 x 8 pixels, trained for 20 steps; three classes of unequal sizes."""
  folder = tmp_path_factory.mktemp("game")
  y = np.repeat([0, 1, 2], [150, 90, 60]).astype(np.int32)
  x = (60 * y[:, None, None, None] + RNG.integers(0, 60, (300, 8, 8, 1))).astype(np.uint8)
  np.savez(folder / "data.npz", x=x, y=y)
  config = dcgan_mnist.get_config("test,classes,data=array")
  with config.unlocked():
    config.data.update(path=str(folder / "data.npz"), data_dir=str(folder / "cache"))
    config.num_steps = config.eval_every = config.checkpoint_every = 20
    config.figures_every = config.log_every = 10
    config.evaluate.walks = {"rows": 3, "steps": 4, "thresholds": (1.0, 0.1)}
    config.evaluate.truncation = {
      "thresholds": (0.5, 0.05), "num_samples": 60, "metrics": ("frechet", "manifold"), "batch_size": 30,
    }  # fmt: skip
    config.evaluate.samples.update(num_samples=60, batch_size=30)
  train.train_and_evaluate(config, folder / "run")
  return folder / "run"


@pytest.mark.slow
def test_results_have_numbers_by_class_and_by_truncation(run):
  found = json.loads((run / "results.json").read_text())
  for label in range(3):
    assert 0 <= found[f"test/samples_nearest_class_{label}"] <= 1
    assert found[f"test/samples_frechet_class_{label}"] > 0
    assert found[f"test/samples_frechet_class_{label}_floor"] > 0
  for threshold in ("none", "0.5", "0.05"):
    assert found[f"test/truncation_{threshold}_frechet"] > 0
    assert 0 <= found[f"test/truncation_{threshold}_recall"] <= 1
  assert len({found[f"test/truncation_{t}_frechet"] for t in ("none", "0.5", "0.05")}) == 3
  assert found["test/truncation_features"] == "pixels"
  assert found["test/truncation_num"] == 60


@pytest.mark.slow
def test_a_run_ends_with_its_figures(run):
  names = {p.name for p in (run / "figures").glob("*.png")}
  expected = {"walks_z.png", "walks_classes.png", "walks_truncation.png", "truncation.png", "classes_film.png"}
  assert expected <= names
  assert {"classes_00000010.png", "classes_00000020.png", "samples_00000020.png"} <= names


@pytest.mark.slow
def test_draws_of_a_class_and_of_a_truncation(run):
  model = dgm_jax.load(run)
  shape = model.sample(6).shape
  assert shape == (6, 8, 8, 1)
  assert model.sample(6, y=1, truncation=0.5).shape == shape
  a, b = model.sample(6, y=1), model.sample(6, y=2)
  assert abs(a - b).max() > 1e-4
  far, near = (model.sample(64, y=1, truncation=t) for t in (2.0, 0.01))
  assert near.std(0).mean() < 0.2 * far.std(0).mean()
  done = processes.dgm_jax("sample", f"--workdir={run}", "--num_samples=4", "--y=1", "--truncation=0.5")
  assert done.returncode == 0, done.stderr
  np.testing.assert_allclose(np.load(run / "samples.npz")["x"], model.sample(4, y=1, truncation=0.5), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options,sentence", [
  ({"y": 3}, r"y = 3; the classes of model 'dcgan' are 0 .. 2"),
  ({"y": -1}, "y = -1; the classes"),
  ({"truncation": 0.0}, "truncation = 0.0; it must be positive"),
  ({"temperature": 0.5}, "no temperature"),
])  # fmt: skip
def test_mistakes_in_draws_get_one_sentence(run, options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    dgm_jax.load(run).sample(2, **options)


def test_great_circles_keep_their_length_and_their_ends():
  a, b = (jax.random.normal(jax.random.key(i), (3, 50)) for i in range(2))
  unit = lambda v: v / jnp.linalg.norm(v, axis=-1, keepdims=True)
  found = walks.slerp(unit(a), unit(b), 7)
  np.testing.assert_allclose(jnp.linalg.norm(found, axis=-1), 1, atol=1e-5)
  np.testing.assert_allclose(found[:, [0, -1]], jnp.stack([unit(a), unit(b)], 1), atol=1e-5)
  steps = jnp.sum(found[:, 1:] * found[:, :-1], -1)
  np.testing.assert_allclose(steps, steps[:, :1].repeat(6, 1), atol=1e-5)  # equal angles
  np.testing.assert_allclose(walks.slerp(a, a, 3), jnp.repeat(a[:, None], 3, 1), atol=1e-5)


def test_a_classifier_agrees_with_the_classes_that_samples_were_drawn_for():
  y = np.array([0, 1, 2, 0, 1, 2])
  x = np.eye(3, dtype="f")[y] + 0.01 * RNG.normal(size=(6, 3)).astype("f")
  probs = np.eye(3)[[0, 1, 2, 0, 2, 2]]
  sets = Sets(Embedded(x, probs=probs, labels=y), Embedded(x[::-1] + 0.01, labels=y[::-1]))
  found = named.of_samples(("agreement", "by_class"), sets, named.Options())
  assert found["agreement"] == pytest.approx(5 / 6)
  assert [found[f"nearest_class_{c}"] for c in range(3)] == [1, 1, 1]
  assert found["frechet_class_0"] == pytest.approx(3 * 0.01**2, abs=1e-3)
  alone = named.of_samples(("by_class",), sets._replace(real=Embedded(x[:4], labels=y[:4])), named.Options())
  assert "takes two of each" in alone["frechet_class_1_why"]


@pytest.mark.parametrize("options,sentence", [
  ({"thresholds": (0.5, 0.0)}, "has 0.0; a truncation must be positive"),
  ({"thresholds": ()}, "is empty"),
  ({"metrics": ("modes",)}, "metric evaluate.truncation.metrics 'modes'"),
  ({"num_samples": 1}, "num_samples = 1"),
])  # fmt: skip
def test_mistakes_in_options_of_truncation_get_one_sentence(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    truncation.check(**options)


class _OfOtherNoise(gan.Model):
  """Its z cannot be truncated."""

  @nn.nowrap
  def latent(self, key, n):
    return jax.random.normal(key, (n, self.latent_dim))


def _experiment(model, conditions_on="y"):
  system = adversarial.make(model, optax.sgd(0.1), conditions_on=conditions_on)
  return types.SimpleNamespace(model=model, system=system)


_COLOURISER = lambda: _experiment(
  colouriser.Model(data_shape=(4, 4, 2), channels=(4,), discriminator_channels=(4,)), "context"
)


@pytest.mark.parametrize("module,make,sentence", [
  (walks, lambda: _experiment(gan.Model(data_shape=(2,))), r"draws images .*; x of this model is of shape \[2\]"),
  (walks, _COLOURISER, "needs a model that samples x alone"),
  (truncation, _COLOURISER, "needs a model that samples x alone"),
  (truncation, lambda: _experiment(_OfOtherNoise(data_shape=(4, 4, 1))), "has an argument truncation"),
  (truncation, lambda: _experiment(gan.Model(data_shape=(4, 4, 1), noise="uniform")), "has noise = 'uniform'"),
])  # fmt: skip
def test_games_that_do_not_fit_are_refused_before_training(module, make, sentence):
  """By `prepare`, which a run calls before its first step, and by the evaluation itself."""
  experiment = make()
  for call in (module.prepare, lambda experiment: module.evaluate(experiment, None, jax.random.key(0), {})):
    with pytest.raises(errors.UserError, match=sentence) as raised:
      call(experiment)
    assert "\n" not in str(raised.value)


def test_walks_of_z_that_cannot_be_truncated_have_no_picture_of_truncation():
  model = _OfOtherNoise(data_shape=(4, 4, 1), latent_dim=3, generator_args={"hidden": (4,)})
  experiment = _experiment(model)
  state = jax.jit(experiment.system.init)(jax.random.key(0), {"x": jnp.zeros((2, 4, 4, 1))}, {})
  found = walks.evaluate(experiment, state, jax.random.key(0), {}, rows=2, steps=2)
  assert set(found["figures"]) == {"walks_z"}


@pytest.mark.slow
def test_classes_are_counted_and_one_without_examples_is_refused(run, tmp_path):
  model = dgm_jax.load(run)
  parts = model.experiment.splits
  said = labels.described(model.experiment.model, parts)
  counts = np.bincount(parts.train["y"])
  assert said == [f"3 classes, with training examples: 0 {counts[0]}, 1 {counts[1]}, 2 {counts[2]}."]
  for y, sentence in (((0, 2), "'1' of the data has no training example"), ((0, 0), "one class only")):
    folder = tmp_path / str(sum(y))
    folder.mkdir()
    np.savez(folder / "data.npz", x=np.zeros((60, 8, 8, 1), np.uint8), y=np.resize(y, 60))
    config = dcgan_mnist.get_config("test,classes,data=array")
    with config.unlocked():
      config.data.update(path=str(folder / "data.npz"), data_dir=str(folder / "cache"))
      config.batch_size = 10
    with pytest.raises(errors.UserError, match=sentence) as raised:
      build.build(config)
    assert "\n" not in str(raised.value)


def test_a_film_and_the_norms_of_layers_are_drawn_where_there_are_any(tmp_path, readable_figures):
  folder = tmp_path / "figures"
  folder.mkdir()
  final_figures.write(tmp_path, [{"step": 1, "train/loss": 1.0}], ("png",))
  assert not list(folder.iterdir())
  for step in range(3):
    Image.new("RGB", (8, 6), (90 * step, 0, 0)).save(folder / f"samples_{step:08d}.png")
  names = ("generator.block0.conv1", "discriminator.last", "discriminator.block1.conv2")
  rows = [{"step": t, **{f"train/sigma_of_{name}": 1.0 + t for name in names}} for t in (1, 2, 3)]
  final_figures.write(tmp_path, rows, ("png",))
  with Image.open(folder / "samples_film.png") as film:
    assert film.n_frames == 3
    film.seek(2)
    assert film.convert("RGB").getpixel((3, 3)) == (180, 0, 0)
  assert (folder / "sigmas.png").exists()

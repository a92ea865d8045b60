"""The course's models and runs: closed forms, counts by hand, and a run of every lab."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import data
from dgm_jax.core import errors, evaluation
from dgm_jax.data import pipeline as transforms
from dgm_jax.models.mixtures import bernoulli_product
from dgm_jax.models.vae import autoencoder
from dgm_jax.principles import maximum_likelihood, own_bound
from dgm_jax.training import programs, train
from helpers import tables

KEY = jax.random.key(0)


def numpy_log_px(p, x):
  """sum_d log p(x_d), [N], in float64."""
  x, p = np.asarray(x, np.float64).reshape(len(x), -1), np.asarray(p, np.float64)
  return (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(1)


def variables_of(model, batch, seed=0):
  return jax.jit(model.init)(jax.random.key(seed), batch)


def bound(model, variables, batch):
  return model.bind(variables).bound(KEY, batch)[0]


@pytest.fixture(scope="module")
def digits():
  """Thresholded mnist5k: {part: {"x"}}."""
  parts = data.load("mnist5k").parts()
  return {name: {"x": (a["x"] > 127).astype(np.float32)} for name, a in parts.items()}


def test_the_product_starts_at_the_maximum_likelihood(digits):
  """On real digits: p is the training set's clipped mean, and the test NLL that of NumPy."""
  mean = digits["train"]["x"].mean(0).ravel()
  model = bernoulli_product.Model((28, 28, 1), data_mean=tuple(mean.tolist()))
  variables = variables_of(model, digits["test"])
  p = np.clip(mean.astype(np.float64), 1e-3, 1 - 1e-3)
  expected = numpy_log_px(p, digits["test"]["x"])
  np.testing.assert_allclose(bound(model, variables, digits["test"]), expected, rtol=1e-5)
  assert 190 < -expected.mean() < 220  # nats: the range given in the course


def test_no_product_is_likelier_than_the_mean():
  """The gradient vanishes at the mean of the data, and training from 1/2 ends there."""
  mean = tables.TRAIN["x"].mean(0).ravel()
  at_mean = bernoulli_product.Model(tables.SHAPE, data_mean=tuple(mean.tolist()))
  gradient = jax.grad(lambda v: jnp.mean(bound(at_mean, v, tables.TRAIN)))(variables_of(at_mean, tables.TRAIN))
  assert abs(gradient["params"]["logits"]).max() < 1e-6

  model = bernoulli_product.Model(tables.SHAPE, data_mean=tuple(mean.tolist()), start="half")
  system = maximum_likelihood.make(model, optax.sgd(optax.cosine_decay_schedule(4.0, 400)))
  chunk = jax.jit(programs.make_train_chunk(system, tables.identity, 256, 400))
  state, _ = chunk(tables.init(system), KEY, tables.TRAIN)
  p = jax.nn.sigmoid(state.params["logits"])
  np.testing.assert_allclose(p, mean, atol=0.02)
  best = numpy_log_px(mean, tables.TRAIN["x"]).mean()
  value = evaluation.make_evaluate(system, tables.identity, 100)(state, KEY, tables.TRAIN)
  assert best - 0.02 < value["log_px"] < best


def test_the_product_sums_to_one_and_its_samples_have_its_means():
  x = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4), -1).reshape(-1, 4).astype("f")
  model = bernoulli_product.Model((4,), data_mean=(0.1, 0.3, 0.5, 0.9))
  variables = variables_of(model, {"x": x})
  assert np.exp(bound(model, variables, {"x": x})).sum() == pytest.approx(1.0, abs=1e-6)
  draws = np.asarray(model.bind(variables).generate(KEY, 20_000))
  p = np.array([0.1, 0.3, 0.5, 0.9])
  assert (abs(draws.mean(0) - p) < 5 * np.sqrt(p * (1 - p) / 20_000)).all()
  assert abs(np.corrcoef(draws.T) - np.eye(4)).max() < 5 / np.sqrt(20_000)
  np.testing.assert_allclose(model.bind(variables).generate(KEY, 3, mean=True), np.tile(p, (3, 1)), rtol=1e-5)


@pytest.mark.parametrize("make", [bernoulli_product.Model, autoencoder.Model])
def test_masked_entries_change_nothing(make):
  """Hidden values have no effect, a mask of ones equals no mask, and hiding entries raises the bound."""
  model, x = make(tables.SHAPE), tables.TEST["x"][:9]
  mask = np.random.default_rng(0).integers(0, 2, x.shape).astype("f")
  variables = variables_of(model, {"x": x})
  seen = lambda x, mask: np.asarray(bound(model, variables, {"x": x, "mask": mask}))
  np.testing.assert_allclose(seen(x, mask), seen(np.where(mask > 0, x, np.nan), mask), rtol=1e-6)
  np.testing.assert_allclose(seen(x, np.ones_like(mask)), bound(model, variables, {"x": x}), rtol=1e-6)
  assert (seen(x, mask) > np.asarray(bound(model, variables, {"x": x}))).all()


def test_the_autoencoder_by_numpy():
  """Two ReLU layers each way, a linear code between, and Bernoulli pixels."""
  model, batch = autoencoder.Model(tables.SHAPE, latent_dim=2, hidden=(7,)), {"x": tables.TEST["x"][:6]}
  variables = variables_of(model, batch)
  params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])

  def mlp(layers, h):
    dense = lambda h, layer: h @ layer["kernel"] + layer["bias"]
    return dense(np.maximum(dense(h, layers["Dense_0"]), 0), layers["Dense_1"])

  x = batch["x"].reshape(6, -1)
  z = mlp(params["encoder"], x)
  p = 1 / (1 + np.exp(-mlp(params["decoder"], z)))
  bound_model = model.bind(variables)
  np.testing.assert_allclose(bound_model.encode(batch), z, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(bound_model.evaluate(KEY, batch)["distortion"], -numpy_log_px(p, x), rtol=1e-5)
  np.testing.assert_allclose(bound_model.reconstruct_batch(KEY, batch).reshape(6, -1), p, rtol=1e-4)
  assert set(bound_model.evaluate(KEY, batch)) == {"distortion"}  # it has no bound on log p(x)


def test_a_linear_gaussian_autoencoder_finds_the_principal_plane():
  """Baldi & Hornik (1989): with linear units and squared errors its residual is that of PCA."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(200, 5)) * [3.0, 2.0, 0.5, 0.3, 0.2] @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
  x = (x - x.mean(0)).astype("f")
  args = {"likelihood": "gaussian_fixed", "likelihood_args": {"scale": 1.0}}
  model = autoencoder.Model((5,), latent_dim=2, hidden=(), **args)
  system = own_bound.make(model, optax.adam(optax.cosine_decay_schedule(3e-2, 800)))
  chunk = jax.jit(programs.make_train_chunk(system, tables.identity, 200, 800))
  state, _ = chunk(jax.jit(system.init)(KEY, {"x": x}, {}), KEY, {"x": x})
  got = evaluation.make_evaluate(system, tables.identity, 200)(state, KEY, {"x": x})["distortion"]
  left = (np.linalg.svd(x, compute_uv=False)[2:] ** 2).sum() / 200
  assert got == pytest.approx(0.5 * left + 2.5 * np.log(2 * np.pi), rel=1e-4)


@pytest.mark.parametrize(
  "make,options,named",
  [
    (bernoulli_product.Model, {"start": "zero"}, "start = 'zero'; it must be one of mean, half"),
    (autoencoder.Model, {"latent_dim": 0}, "latent_dim = 0"),
    (autoencoder.Model, {"hidden": (0,)}, "hidden = \\(0,\\)"),
  ],
)
def test_invalid_options_are_named(make, options, named):
  with pytest.raises(errors.UserError, match=named):
    make(tables.SHAPE, **options).init(KEY, tables.TEST)


def test_thresholding_maps_values_above_the_middle_to_one():
  grey = np.array([0, 127, 128, 255], np.uint8).reshape(4, 1, 1, 1)
  pipeline = transforms.make(("binarize:threshold",), {"x": grey})
  assert pipeline.evaluate(KEY, {"x": jnp.asarray(grey), "index": jnp.arange(4)})["x"].ravel().tolist() == [0, 0, 1, 1]


def course():
  path = tables.ROOT / "configs" / "course_mnist.py"
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_arguments_choose_the_lab():
  get = course().get_config
  assert get("lab=iwae,k=7").objective.num_samples == 7
  assert get("lab=vae").objective.bound == "elbo"
  assert (get("lab=vae").model.args.latent_dim, get("lab=autoencoder").model.args.latent_dim) == (50, 2)
  assert get("lab=vae,d=2").model.args.latent_dim == 2
  assert (get("lab=vae,data=mnist").num_epochs, get("lab=autoencoder,data=mnist").num_epochs) == (20, 15)
  assert get("lab=vae,data=mnist").batch_size == 32
  with pytest.raises(errors.UserError, match="Did you mean 'autoencoder'"):
    get("lab=autoencode")


@pytest.mark.parametrize(
  "lab",
  [
    "bernoulli",
    "classifier",  # the others are trained by other configs, too, and their figures have tests of their own
    *(pytest.param(lab, marks=pytest.mark.slow) for lab in ("vae,d=2", "autoencoder", "iwae,k=3")),
  ],
)
def test_every_lab_runs(lab, tmp_path):
  results = train.train_and_evaluate(course().get_config(f"test,lab={lab}"), tmp_path)
  assert results["transforms"] == ["binarize:threshold"]
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()][1:]
  figures = {p.stem for p in (tmp_path / "figures").glob("latent_*.png")}
  if lab == "bernoulli":
    assert rows[-1]["valid/log_px"] == pytest.approx(-208, abs=5)
  elif lab == "classifier":
    assert results["test/accuracy"] > 0.5
    assert results["test/nll"] < rows[0]["valid/entropy"] < np.log(10) + 0.01
  else:
    assert rows[-1]["valid/distortion"] < rows[0]["valid/distortion"] - 10
    assert {"latent_codes", "latent_interpolations"} <= figures
    assert ("latent_manifold" in figures) == (lab != "iwae,k=3")
    assert ("latent_posteriors" in figures) == (lab == "vae,d=2")
  if lab.startswith(("vae", "iwae")):
    assert results["test/elbo"] < results["test/log_px"]
  assert ("test/exact_nll" in results) == (lab == "vae,d=2")

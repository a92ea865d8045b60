"""The notebook interface of trained runs and of external models, compared with closed forms and NumPy."""

import itertools
import math
import re
import sys
import types

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import dgm_jax
from dgm_jax import api
from dgm_jax.api.trained_model import LatentModel
from dgm_jax.core import errors, files
from dgm_jax.data import pipeline
from dgm_jax.distributions.likelihoods import families
from dgm_jax.training.results import evaluate_finally
from helpers import linear_gaussian as lg
from helpers import tables

MODEL = lg.model(2, shift=0.1, stretch=1.2)
X = lg.draws(MODEL, 40).astype("f")


def foreign(model=MODEL, as_distributions=False, **options):
  """The linear-Gaussian model as two functions."""
  w, b = np.float32(model.w), np.float32(model.b)
  if as_distributions:
    return api.from_functions(
      encode=lambda x: model.infer({"x": x}), decode=model.decode, latent_dim=2, data_shape=(3,), **options
    )

  def encode(x):
    q = model.infer({"x": x}).distribution
    return q.loc, jnp.log(q.scale)

  gaussian = {"likelihood": "gaussian_fixed", "likelihood_args": {"scale": model.s}}
  return api.from_functions(
    encode=encode, decode=lambda z: z @ w.T + b, latent_dim=2, data_shape=(3,), **gaussian | options
  )


@pytest.mark.parametrize("as_distributions", [False, True])
def test_log_px_of_a_linear_gaussian_model_is_exact_within_the_reported_error(as_distributions):
  model, exact = foreign(as_distributions=as_distributions), MODEL.exact(X)
  got = model.importance(X, 2000, batch_size=40)
  errors_made = (got["log_px"] - exact.log_px) / got["log_px_error"]
  assert np.abs(errors_made).max() < 5
  assert 0.5 < errors_made.std() < 1.5
  np.testing.assert_array_equal(model.log_px(X, 2000, batch_size=40), got["log_px"])
  elbo = model.elbo(X, 2000, batch_size=40) - (exact.log_px - MODEL.kl())
  assert np.abs(elbo).max() < 0.2
  assert abs(elbo.mean()) < 0.02
  np.testing.assert_allclose(model.encode(X), exact.mean + 0.1, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(model.decode(np.eye(2, dtype="f")), np.float32(MODEL.w).T + MODEL.b, rtol=1e-6)


@pytest.mark.slow
def test_every_evaluation_accepts_a_model_made_from_functions():
  model, exact = foreign(), MODEL.exact(X)
  assert model.evaluate("quadrature", X, num_points=100)["exact_log_px"] == pytest.approx(exact.log_px.mean(), abs=1e-3)
  ais = model.evaluate(
    "ais", X, num_temperatures=16, num_chains=8, num_leapfrog=3, bdmc_examples=5, batch_size=40, chunk=8
  )
  assert ais["ais_log_px"] == pytest.approx(exact.log_px.mean(), abs=0.15)
  assert ais["bdmc_examples"] == 5
  page = model.evaluate("collapse", X)
  np.testing.assert_allclose(page["values"]["units/activity_1"], exact.mean.var(0), rtol=1e-4)
  assert model.evaluate("active_units", X)["active_units"] == page["active_units"] == 2
  gaps = model.evaluate("gaps", X, log_px="quadrature", num_steps=2, elbo_samples=500, num_examples=20, batch_size=20)
  assert gaps["gaps_inference"] == pytest.approx(MODEL.kl(), abs=0.05)
  assert gaps["values"]["gaps_inference"].shape == (20,)


def test_draws_have_the_moments_of_the_model():
  x = foreign().sample(20000, seed=3)
  w = np.asarray(MODEL.w)
  np.testing.assert_allclose(x.mean(0), MODEL.b, atol=0.05)
  np.testing.assert_allclose(np.cov(x.T), w @ w.T + MODEL.s**2 * np.eye(3), atol=0.08)


def test_a_user_defined_prior_changes_log_px():
  """With prior N(0, 4 I) instead of N(0, I), log p(x) equals the density of the model with 2 W in place of W."""
  prior = distrax.Independent(distrax.Normal(jnp.zeros(2), 2 * jnp.ones(2)), 1)
  cov = 4 * np.asarray(MODEL.w) @ np.asarray(MODEL.w).T + MODEL.s**2 * np.eye(3)
  got = foreign(prior=prior, as_distributions=True).importance(X, 4000, batch_size=40)
  exact = scipy.stats.multivariate_normal(MODEL.b, cov).logpdf(X)
  assert abs(np.mean(got["log_px"] - exact)) < 0.05


def test_imputation_is_the_conditional_mean():
  """Matches E[x_2 | x_0, x_1] of a joint normal; the value stored at the missing x_2 does not matter."""
  w, b = np.asarray(MODEL.w), np.asarray(MODEL.b)
  cov = w @ w.T + MODEL.s**2 * np.eye(3)
  expected = b[2] + (X[:, :2] - b[:2]) @ np.linalg.solve(cov[:2, :2], cov[:2, 2])
  mask, incomplete = np.ones_like(X), X.copy()
  mask[:, 2], incomplete[:, 2] = 0, np.nan
  wide = lambda x: (0.0 * x[:, :2], jnp.zeros((len(x), 2)))  # q = N(0, I) ignores x: only the weights depend on it
  decode = lambda z: z @ w.T.astype("f") + b.astype("f")
  model = api.from_functions(
    encode=wide,
    decode=decode,
    latent_dim=2,
    data_shape=(3,),
    likelihood="gaussian_fixed",
    likelihood_args={"scale": MODEL.s},
  )
  filled = model.impute(incomplete, mask, k=5000, batch_size=40)
  np.testing.assert_array_equal(filled[:, :2], X[:, :2])
  assert np.abs(filled[:, 2] - expected).mean() < 0.03
  few = model.impute(incomplete, mask, k=5, batch_size=40)  # a row's noise depends on neither its position nor others
  np.testing.assert_allclose(model.impute(incomplete[::-1], mask[::-1], k=5, batch_size=40)[::-1], few, rtol=1e-5)
  index = np.arange(len(X))
  alike = model.impute(np.repeat(incomplete[:1], 2, 0), mask[:2], k=5, index=index[:2])
  assert alike[0, 2] != alike[1, 2]  # two rows with equal content, distinguished by their index
  with pytest.raises(errors.UserError, match="does not support missing entries: it takes no mask"):
    foreign(as_distributions=True).impute(incomplete, mask)


def test_programs_are_compiled_once_per_shape():
  model, traced = foreign(), []
  infer = model.experiment.model.infer
  model.experiment.model.infer = lambda batch: traced.append(1) or infer(batch)
  for seed in range(3):
    model.log_px(X, 10, seed=seed)
  assert len(traced) == 1
  for n in (1, 3, 40):  # rows are padded to whole batches
    model.encode(X[:n])
  assert len(traced) == 2
  np.testing.assert_array_equal(model.encode(X[:3]), model.encode(X)[:3])
  many = np.tile(X, (6, 1))
  np.testing.assert_allclose(model.encode(many), np.tile(model.encode(X), (6, 1)), rtol=1e-6)
  assert model.decode(model.encode(many)).shape == (240, 3)
  np.testing.assert_array_equal(model.sample(5, seed=2), model.sample(8, seed=2)[:5])


def torch_weights(path, sizes, heads=()):
  """The arrays numpy.savez writes for a state_dict: weights [out, in]; activations occupy every other layer number."""
  rng, arrays = np.random.default_rng(0), {}
  for name, widths in sizes.items():
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
      layer = name if name in heads else f"{name}.{2 * i}"
      arrays[f"{layer}.weight"] = rng.normal(size=(b, a)).astype("f") / np.sqrt(a)
      arrays[f"{layer}.bias"] = 0.1 * rng.normal(size=b).astype("f")
  np.savez(path, **arrays)
  return arrays


NUMPY_ACTIVATIONS = {
  "tanh": np.tanh,
  "relu": lambda x: np.maximum(x, 0),
  "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
  "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
  "silu": lambda x: x * scipy.special.expit(x),
  "gelu": lambda x: x * scipy.stats.norm.cdf(x),
  "softplus": lambda x: np.log1p(np.exp(x)),
  "sigmoid": scipy.special.expit,
}


@pytest.mark.parametrize("activation", api.mlp_from_npz.__globals__["ACTIVATIONS"])
def test_networks_from_npz_weights_agree_with_numpy(tmp_path, activation):
  a = torch_weights(tmp_path / "w.npz", {"encoder": (12, 7, 6, 4), "decoder": (2, 5, 12)})
  f, x = NUMPY_ACTIVATIONS[activation], np.random.default_rng(1).normal(size=(3, 12)).astype("f")
  mlps = api.mlp_from_npz(tmp_path / "w.npz", activation=activation, log_variance=True)
  assert (mlps.latent_dim, mlps.data_shape) == (2, (12,))
  layer = lambda name, h: h @ a[f"{name}.weight"].T + a[f"{name}.bias"]
  h = layer("encoder.4", f(layer("encoder.2", f(layer("encoder.0", x)))))
  loc, log_scale = mlps.encode(x)
  np.testing.assert_allclose(loc, h[:, :2], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(log_scale, h[:, 2:] / 2, rtol=1e-4, atol=1e-5)
  logits = layer("decoder.2", f(layer("decoder.0", h[:, :2])))
  np.testing.assert_allclose(mlps.decode(h[:, :2]), logits, rtol=1e-4, atol=1e-5)
  assert "torch" not in sys.modules


def test_heads_follow_one_more_activation(tmp_path):
  a = torch_weights(
    tmp_path / "w.npz", {"fc1": (12, 7), "mu": (7, 2), "sd": (7, 2), "decoder": (2, 12)}, ("fc1", "mu", "sd")
  )
  x = np.random.default_rng(1).normal(size=(3, 12)).astype("f")
  loc, log_scale = api.mlp_from_npz(tmp_path / "w.npz", activation="relu", encoder="fc1", heads=("mu", "sd")).encode(x)
  h = np.maximum(x @ a["fc1.weight"].T + a["fc1.bias"], 0)
  np.testing.assert_allclose(loc, h @ a["mu.weight"].T + a["mu.bias"], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(log_scale, h @ a["sd.weight"].T + a["sd.bias"], rtol=1e-4, atol=1e-5)


def test_user_mistakes_are_reported_in_one_sentence(tmp_path):
  torch_weights(tmp_path / "w.npz", {"enc": (12, 4), "decoder": (2, 12)})
  with pytest.raises(errors.UserError, match=r"no encoder.0.weight or encoder.weight; layers: enc.0, decoder.0"):
    api.mlp_from_npz(tmp_path / "w.npz")
  with pytest.raises(errors.UserError, match="Did you mean 'relu'"):
    api.mlp_from_npz(tmp_path / "w.npz", encoder="enc", activation="relo")
  with pytest.raises(errors.UserError, match=r"none.npz does not exist"):
    api.mlp_from_npz(tmp_path / "none.npz")
  mlps = api.mlp_from_npz(tmp_path / "w.npz", encoder="enc")._asdict()
  with pytest.raises(errors.UserError, match="decode returns 12 outputs; this likelihood needs 24"):
    api.from_functions(**mlps, likelihood="gaussian")
  with pytest.raises(errors.UserError, match=r"likelihood = 'bernouli'; it must be one of"):
    api.from_functions(**mlps, likelihood="bernouli")
  with pytest.raises(errors.UserError, match="choose 'gaussian_fixed'"):
    api.from_functions(**mlps, likelihood="gaussian_shared")
  with pytest.raises(errors.UserError, match="Choices: standard_normal"):
    api.from_functions(**mlps, prior="normal")
  with pytest.raises(errors.UserError, match=r"encode returns z of shape \[2\]; \[3\] is expected"):
    api.from_functions(**mlps | {"latent_dim": 3, "decode": lambda z: jnp.zeros((len(z), 12))})
  with pytest.raises(
    errors.UserError, match=r"event has shape \[\]; \[2\] is expected: wrap it in distrax.Independent"
  ):
    api.from_functions(**mlps | {"encode": lambda x: distrax.Normal(jnp.zeros((len(x), 2)), 1.0)})
  model = api.from_functions(**mlps)
  with pytest.raises(errors.UserError, match=r"x is of shape \[2, 5\]; \[N, 12\] is expected"):
    model.log_px(np.zeros((2, 5)))
  with pytest.raises(
    errors.UserError, match=r"x has values in \[255, 255\], but the model expects \[0, 1\]: transform=True"
  ):
    model.log_px(np.full((2, 12), 255))
  with pytest.raises(errors.UserError, match="become equal in float32"):
    foreign().log_px(1.7e9 + X.astype(np.float64))
  with pytest.raises(errors.UserError, match="num_samples = 0"):
    model.log_px(np.zeros((2, 12)), 0)
  with pytest.raises(errors.UserError, match="holds no run"):
    dgm_jax.load(tmp_path)
  assert families.make("bernoulli").support == model.experiment.model.support


@pytest.mark.parametrize("call,said", [
  (lambda m: m.decode(np.zeros((4, 7), "f")), r"z of shape \[4, 7\] is not as `encode` returns it"),
  (lambda m: m.decode(np.zeros((0, 2), "f")), r"z is of shape \[0, 2\]: it has no rows"),
  (lambda m: m.decode(np.float32(1.0)), "it has no rows"),
  (lambda m: m.sample(-1), "n = -1; the number of samples must be an integer from 1"),
  (lambda m: m.sample(0), "n = 0"),
  (lambda m: m.sample(2.5), "n = 2.5"),
  (lambda m: m.sample(10**12), "n = 1000000000000"),
  (lambda m: m.encode(X[:0]), "x has no examples"),
  (lambda m: m.log_px(X[:0], k=5), "x has no examples"),
  (lambda m: m.log_px(X[:, :2], k=5), r"x is of shape .*\[N, 3\] is expected"),
])  # fmt: skip
def test_calls_without_rows_or_of_another_width_are_refused(call, said):
  with pytest.raises(errors.UserError, match=said):
    call(foreign())


def test_per_example_values_of_a_run_average_to_its_results(finished):
  folder, results = finished
  values = files.load_arrays(folder / "runs" / "first" / "values.npz")
  for name in ("log_px", "elbo", "collapse_rate", "collapse_mutual_information"):
    assert values[f"test/{name}"].shape == (500,)
    assert values[f"test/{name}"].mean(dtype=np.float64) == pytest.approx(results[f"test/{name}"], rel=1e-5)
  error = values["test/log_px"].std(ddof=1, dtype=np.float64) / math.sqrt(500)
  assert results["test/log_px_stderr"] == pytest.approx(error, rel=1e-4)
  assert values["test/ess"].mean() == pytest.approx(results["test/likelihood_ess"], rel=1e-5)
  assert values["test/units/activity_1"].shape == values["test/units/kl"].shape == (8,)
  assert (values["test/units/activity_1"] > 0.01).sum() == results["test/active_units"]
  assert not any(k.endswith("values") for k in results)
  assert (folder / "runs" / "first" / "figures" / "activities.png").exists()


def test_a_loaded_run_reproduces_its_reported_results(finished):
  """It uses the same transforms, key and samples as the run's final evaluation."""
  folder, results = finished
  run = dgm_jax.load(folder / "runs" / "first")
  test = run.experiment.splits.test
  got = run.importance(test, 20, transform=True, batch_size=100, chunk=20)
  assert got["log_px"].mean(dtype=np.float64) == pytest.approx(results["test/log_px"], rel=1e-5)
  assert (run.step, run.config.model.name) == (40, "vae")
  assert run.params.keys() == run.state.params.keys()
  key = jax.random.key(1)
  binary = (test["x"][:3] > 127).astype("f")
  assert np.abs(run.encode(binary, key) - run.encode(binary)).max() > 0.01


def test_the_same_pictures_in_other_types_give_the_same_value_or_a_refusal(finished):
  run = dgm_jax.load(finished[0] / "runs" / "first")
  x = run.experiment.splits.test["x"][:4]
  log_px = lambda a: run.log_px(a, 5, transform=True, batch_size=4, chunk=5)
  expected, hole = log_px(x), np.arange(x.size).reshape(x.shape) == 99
  for same in (x.astype(int), x.astype(np.uint16), (x / 255).reshape(4, -1), {"x": x, "y": np.zeros(4)}):
    np.testing.assert_array_equal(log_px(same), expected)
  np.testing.assert_array_equal(log_px(x > 127), log_px(np.where(x > 127, 255, 0)))
  for wrong, sentence in (
    (x.astype("f"), r"takes grey levels .*x is float32 in \[0, 255\]"),
    (x / 127.5 - 1, r"takes grey levels .*x is float32 in \[-1, 1\]"),
    (x.astype(int) + 1, r"x is int64 in \[1, 256\], but the model was trained on grey levels"),
    ((x > 127).astype(int), "give grey levels 0 to 255 as uint8, or black and white as bool"),
    (np.where(hole, np.nan, x / 255), "x has 1 entries that are NaN; give .*mask = 0 there"),
    (np.where(hole, np.inf, x / 255), "x holds Inf"),
    (x.astype(str), "x holds <U3, where numbers are expected"),
  ):
    for call in (log_px, lambda a: run.encode(a, transform=True)):
      with pytest.raises(errors.UserError, match=sentence):
        call(wrong)


def test_all_seeds_are_evaluated_on_the_same_test_images(finished, monkeypatch):
  """The evaluation does not depend on config.seed: for fixed parameters, another seed gives the same values."""
  folder, results = finished
  run = dgm_jax.load(folder / "runs" / "first")
  config = run.config.copy_and_resolve_references()
  config.seed = 5
  again = evaluate_finally(config, run.experiment, run.state, folder)
  assert again["test/log_px"] == pytest.approx(results["test/log_px"], rel=1e-6)
  before = files.load_arrays(folder / "values.npz")
  config.evaluate = {"active_units": {}}
  evaluate_finally(config, run.experiment, run.state, folder, merge=True)
  np.testing.assert_array_equal(files.load_arrays(folder / "values.npz")["test/log_px"], before["test/log_px"])


def test_the_examples_of_the_readme_run(finished, monkeypatch, capsys):
  folder, _ = finished
  torch_weights(folder / "weights.npz", {"encoder": (784, 16, 8), "decoder": (4, 16, 784)})
  monkeypatch.chdir(folder)
  page = (tables.ROOT / "dgm_jax" / "evaluate" / "README.md").read_text()
  own, *blocks = re.findall(r"```python\n(.*?)```", page, re.S)
  (folder / "score.py").write_text(own)
  names = {}
  assert len(blocks) == 3
  for block in blocks:
    exec(block, names)
  assert names["z"].shape == (20, 8)
  np.testing.assert_array_equal(names["filled"][:, :14], names["seen"][:, :14])
  assert "ais_log_px" in capsys.readouterr().out
  spread = names["run"].evaluate("score.py", names["binary"], num_examples=5)["mean_stddev"]
  assert spread == pytest.approx(names["run"].evaluate("score.py", names["binary"][:5])["mean_stddev"])


def test_examples_have_the_shape_that_they_have_before_a_transform_that_changes_it():
  """Images of 6 x 5 pixels for a model that sees them padded to 8 x 8."""
  x = np.random.default_rng(0).random((4, 6, 5, 1)).astype("f")
  padded = types.SimpleNamespace(data_shape=(8, 8, 1), support=(0.0, 1.0))
  made = types.SimpleNamespace(
    model=padded, system=None, splits=None, transforms=pipeline.make(("pad:size=8",), {"x": x})
  )
  run = LatentModel(made, None)
  assert run._arrays(x, transform=True)["x"].shape == (4, 6, 5, 1)
  assert run._arrays(x.reshape(4, -1), transform=True)["x"].shape == (4, 6, 5, 1)
  with pytest.raises(errors.UserError, match=r"x is of shape \[4, 8, 8, 1\]; \[N, 6, 5, 1\] is expected"):
    run._arrays(np.zeros((4, 8, 8, 1), "f"), transform=True)
  assert run._arrays(np.zeros((4, 8, 8, 1), "f"), transform=False)["x"].shape == (4, 8, 8, 1)

"""Imputation by importance sampling against exact conditionals, and properties of the streaming sums."""

import functools
import types

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.applications.imputation import intervals
from dgm_jax.core import errors, rng
from dgm_jax.core.system import TrainState
from dgm_jax.data import splits
from dgm_jax.data.pipeline import make
from dgm_jax.evaluate import imputation as evaluation
from dgm_jax.inference import imputation, streaming_weights
from dgm_jax.models.linear import exact_inference as fa
from dgm_jax.models.linear import factor_analysis
from dgm_jax.models.vae import vae

KEY = jax.random.key(0)
W = np.array([[1.0, 0.3], [0.8, -0.6], [-0.5, 0.9], [0.2, 0.7]], "f")
PARAMS = {"loadings": W, "loc": np.array([0.3, -0.2, 0.1, 5.0], "f"), "log_variance": np.float32(np.log(0.3))}
D = len(W)


class Wide(factor_analysis.Model):
  """The proposal is N(0.3, 1.2^2) for every x instead of the posterior."""

  def infer(self, batch):
    loc = jnp.full((batch["x"].shape[0], self.latent_dim), 0.3)
    return distrax.Independent(distrax.Normal(loc, 1.2 * jnp.ones_like(loc)), 1)


def bound(cls=factor_analysis.Model):
  return cls((D,), latent_dim=2, isotropic=True).bind({"params": PARAMS})


def draws(n, seed=0):
  gen = np.random.default_rng(seed)
  x = gen.normal(size=(n, 2)) @ W.T + PARAMS["loc"] + np.sqrt(0.3) * gen.normal(size=(n, D))
  mask = gen.random((n, D)) < 0.6
  return x.astype("f"), mask.astype("f")


def batch_of(n, seed=0):
  x, mask = draws(n, seed)
  return {"x": jnp.asarray(np.where(mask, x, np.nan), "f"), "mask": jnp.asarray(mask)}, x


def repeated(row, n):
  return jax.tree.map(lambda a: jnp.broadcast_to(a[row], (n, *a.shape[1:])), batch_of(10)[0])


def in_errors(values, expected):
  values = np.asarray(values, np.float64)
  return (values.mean(0) - expected) / (values.std(0) / np.sqrt(len(values)) + 1e-7)


@functools.partial(jax.jit, static_argnames=("cls", "num_samples", "chunk"))
def single(batch, keys, cls, num_samples, chunk=500):
  return imputation.single(bound(cls), keys, batch, num_samples, chunk)


@functools.partial(jax.jit, static_argnames=("cls", "num_draws", "num_samples", "chunk"))
def multiple(batch, keys, cls, num_draws, num_samples, chunk=500):
  return imputation.multiple(bound(cls), keys, batch, num_draws, num_samples, chunk)


def exact(batch):
  mean, covariance = fa.conditional(PARAMS, batch["x"], batch["mask"])
  return np.asarray(mean), np.diagonal(covariance, axis1=1, axis2=2)


def keys(n, seed=0):
  return rng.row_keys(jax.random.key(seed), jnp.arange(n))


def test_streaming_sums_equal_the_sums_over_all_samples():
  gen = np.random.default_rng(0)
  log_w = np.concatenate([gen.normal(size=30) * 30, [-np.inf] * 3, gen.normal(size=3) + 200]).astype("f")
  f = gen.normal(1e3, 1, (36, 2)).astype("f")  # with this mean, a difference of squares would lose all digits
  p = scipy.special.softmax(log_w.astype(np.float64))
  mean = p @ f
  for chunk in (1, 4, 36):
    sums = streaming_weights.no_weights()
    moments = streaming_weights.Moments(jnp.zeros(2), jnp.zeros(2))
    for first in range(0, 36, chunk):
      part = slice(first, first + chunk)
      sums, q, share = streaming_weights.add_weights(sums, log_w[part])
      moments = streaming_weights.add_moments(moments, q, share, f[part])
    np.testing.assert_allclose(sums.log_sum, scipy.special.logsumexp(log_w), rtol=1e-6)
    np.testing.assert_allclose(sums.effective, 1 / np.sum(p**2), rtol=1e-5)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(moments.variance, p @ (f - mean) ** 2, rtol=1e-2)


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_a_reservoir_keeps_samples_in_proportion_to_their_weights(chunk):
  """For every chunk, the frequencies of 100,000 kept samples are w / sum w; samples of weight 0 are never kept."""
  log_w = np.array([0.0, 2, -np.inf, 1, -3, 0.5, -np.inf, -1, 3, 0, 1.5, -np.inf], "f") - 500

  @jax.jit
  def run(key):
    sums, kept = streaming_weights.no_weights(), jnp.full(100_000, -1)
    for first in range(0, 12, chunk):
      part = jnp.arange(first, min(first + chunk, 12))
      sums, p, share = streaming_weights.add_weights(sums, jnp.asarray(log_w)[part])
      kept = streaming_weights.resample(jax.random.fold_in(key, first), kept, p, share, part)
    return kept

  found = np.bincount(run(KEY), minlength=12) / 100_000
  p = scipy.special.softmax(log_w)
  np.testing.assert_array_less(abs(found - p), 5 * np.sqrt(p * (1 - p) / 100_000) + 1e-12)


def test_with_the_posterior_as_proposal_imputation_is_the_conditional_normal():
  """The weights are equal: log p and ess are exact, and mean and variance agree within the errors of K draws."""
  n, k = 400, 50
  batch = repeated(3, n)
  found = single(batch, keys(n), factor_analysis.Model, k, 20)
  mean, variance = (a[0] for a in exact(batch))
  log_px = fa.posterior(PARAMS, batch["x"], batch["mask"]).log_px
  np.testing.assert_allclose(found.log_px, log_px, atol=1e-4)
  np.testing.assert_allclose(found.ess, k, rtol=1e-4)
  hidden = np.asarray(batch["mask"][0]) == 0
  assert abs(in_errors(found.x, mean)[hidden]).max() < 5
  within = 0.3
  unbiased = within + (np.asarray(found.variance) - within) * k / (k - 1)  # of k draws
  assert abs(in_errors(unbiased, variance)[hidden]).max() < 5
  np.testing.assert_array_equal(found.x[:, ~hidden], batch["x"][:, ~hidden])
  np.testing.assert_array_equal(found.variance[:, ~hidden], 0)


@pytest.mark.slow
def test_with_another_proposal_the_bias_decreases_like_one_over_k():
  n = 20_000
  batch = repeated(3, n)
  mean, _ = (a[0] for a in exact(batch))
  hidden = int(np.argmin(batch["mask"][0]))
  bias = []
  for k in (4, 16, 64):
    x = np.asarray(single(batch, keys(n, k), Wide, k).x[:, hidden], np.float64)
    bias.append((x.mean() - mean[hidden], x.std() / np.sqrt(n)))
  (b4, e4), (b16, e16), (b64, e64) = bias
  assert abs(b4) > 10 * e4
  assert abs(b4) > 2.5 * abs(b16) > 2.5 * 2.5 * abs(b64)
  assert abs(b16 - 4 * b64) < 5 * np.hypot(e16, 4 * e64) + 0.3 * abs(b16)  # 1/k up to the next order


@pytest.mark.slow
def test_draws_resampled_from_another_proposal_follow_the_conditional_normal():
  """Sampling importance resampling with K = 10,000: the draws have the conditional's distribution function."""
  batch = jax.tree.map(lambda a: a[3:4], batch_of(10)[0])
  found = multiple(batch, keys(1), Wide, 400, 10_000, 500)
  mean, variance = (a[0] for a in exact(batch))
  for d in range(D):
    if batch["mask"][0, d]:
      np.testing.assert_array_equal(found.x[:, 0, d], batch["x"][0, d])
    else:
      law = scipy.stats.norm(mean[d], np.sqrt(variance[d]))
      assert scipy.stats.kstest(found.x[:, 0, d], law.cdf).pvalue > 1e-3
  log_px = fa.posterior(PARAMS, batch["x"], batch["mask"]).log_px
  np.testing.assert_allclose(found.log_px, log_px, atol=5 / np.sqrt(found.ess[0]))


def test_intervals_have_their_nominal_coverage():
  """With the true parameters, truth and draws have the same law; with 99 draws a level of 0.9 is exact."""
  batch, truth = batch_of(600, seed=4)
  found = multiple(batch, keys(600), Wide, 99, 400)
  hidden = batch["mask"] == 0
  inside = np.asarray(jnp.stack(intervals.interval(found.x, 0.9)))
  rows = np.array(
    [((lo <= t) & (t <= hi))[h].mean() for lo, hi, t, h in zip(*inside, truth, hidden, strict=True) if h.any()]
  )
  share = float(intervals.coverage(found.x, truth, hidden, 0.9))
  assert abs(share - 0.9) < 5 * rows.std() / np.sqrt(len(rows))
  assert float(intervals.coverage(found.x, truth, hidden, 0.5)) < 0.6


def test_intervals_raise_user_errors_for_too_few_draws_and_invalid_levels():
  with pytest.raises(errors.UserError, match="more than 10 draws"):
    intervals.interval(jnp.zeros((10, 2)), 0.9)
  with pytest.raises(errors.UserError, match="level = 1"):
    intervals.interval(jnp.zeros((10, 2)), 1)


def test_held_out_entries_have_their_conditional_density():
  """log N(x_held_out; conditional mean and covariance): exact with the exact proposal, else within errors."""
  x, mask = (a[2:5].repeat(60, 0) for a in draws(6, seed=2))
  mask[:, 0], held = 0, np.zeros_like(mask)
  held[:, 0] = 1
  batch = {"x": jnp.asarray(x), "mask": jnp.asarray(mask)}
  mean, variance = exact(batch)
  expected = scipy.stats.norm(mean[:, 0], np.sqrt(variance[:, 0])).logpdf(x[:, 0])
  ask = jax.jit(
    lambda keys, cls, k: imputation.conditional_log_prob(bound(cls), keys, batch, held, k, 500), static_argnums=(1, 2)
  )
  np.testing.assert_allclose(ask(keys(180), factor_analysis.Model, 2), expected, atol=2e-4)
  found = np.reshape(ask(keys(180), Wide, 2000), (3, 60)).T
  assert abs(in_errors(found, expected[::60])).max() < 5
  assert found.std(0).min() > 1e-3  # the two terms have different draws


def test_the_missing_process_of_held_out_entries_is_that_of_the_data():
  """In both terms m, `indicator`, is the mask of the data, so that a part that depends on it alone cancels."""

  class Process:
    def infer(self, batch):
      return types.SimpleNamespace(sample_and_log_prob=lambda seed: (jnp.zeros((1, 1)), jnp.zeros(1)))

    def log_joint(self, batch, z):
      of_mask = 100 * jnp.sum(batch.get("indicator", batch["mask"]), 1)
      return jnp.sum(jnp.where(batch["mask"] > 0, batch["x"], 0), 1), of_mask

  batch = {"x": jnp.array([[1.0, 2.0, 4.0]]), "mask": jnp.array([[1.0, 0.0, 0.0]])}
  found = imputation.conditional_log_prob(Process(), keys(1), batch, jnp.array([[0.0, 1.0, 0.0]]), 2, 2)
  np.testing.assert_allclose(found, [2.0], atol=1e-4)


def test_draws_for_a_row_depend_neither_on_its_place_nor_on_the_chunk():
  batch, _ = batch_of(8)
  index = jnp.arange(100, 108)
  ask = lambda batch, index, chunk: multiple(batch, rng.row_keys(KEY, index), Wide, 5, 40, chunk)
  order = np.array([5, 0, 7, 2, 1, 6, 3, 4])
  whole = ask(batch, index, 10)
  moved = ask(jax.tree.map(lambda a: a[order], batch), index[order], 10)
  np.testing.assert_allclose(moved.x, whole.x[:, order], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(moved.log_px, whole.log_px[order], rtol=1e-5)
  at_once = single(batch, rng.row_keys(KEY, index), Wide, 40, 1000)
  np.testing.assert_allclose(at_once.log_px, whole.log_px, rtol=1e-5)
  alone = single(jax.tree.map(lambda a: a[2:3], batch), rng.row_keys(KEY, index[2:3]), Wide, 40, 7)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b[2], rtol=1e-4, atol=1e-5), alone, at_once)


def test_the_evaluation_reports_the_error_on_hidden_entries():
  """With the exact proposal and many samples it is the error of the conditional means, on the requested split."""
  x = {name: draws(n, seed=n)[0] for name, n in (("train", 23), ("test", 9))}
  numbered = {name: {"x": a, "index": np.arange(len(a), dtype="i") + 40} for name, a in x.items()}
  pipeline = make(("mcar:rate=0.4",), numbered["train"])
  parts = splits.Splits(numbered["train"], None, numbered["test"], {})
  model = factor_analysis.Model((D,), latent_dim=2, isotropic=True)
  experiment = types.SimpleNamespace(model=model, transforms=pipeline, splits=parts)
  state = TrainState(jnp.zeros((), jnp.int32), PARAMS, (), {}, {})
  for part, given in (("train", "test"), ("", "train")):
    found = evaluation.evaluate(experiment, state, KEY, numbered[given], num_samples=2000, batch_size=23, part=part)
    batch = pipeline.evaluate(KEY, jax.tree.map(jnp.asarray, numbered["train"]))
    hidden = np.asarray(batch["hidden"])
    error = np.square(exact(batch)[0] - x["train"]) * hidden
    np.testing.assert_allclose(found["values"]["imputation_hidden"], hidden.sum(1))
    np.testing.assert_allclose(found["imputation_rmse"], np.sqrt(error.sum() / hidden.sum()), rtol=0.01)
    np.testing.assert_allclose(found["imputation_mse"], found["imputation_rmse"] ** 2, rtol=1e-6)
    np.testing.assert_allclose(found["imputation_ess"], 2000, rtol=1e-3)


def test_content_index_depends_only_on_the_observed_entries():
  (batch, x), gen = batch_of(200), np.random.default_rng(0)
  mask = batch["mask"]
  index = np.asarray(rng.content_index(x, mask))
  np.testing.assert_array_equal(index, rng.content_index(jnp.where(mask > 0, x, jnp.nan), mask))
  order = gen.permutation(200)
  np.testing.assert_array_equal(index[order], rng.content_index(x[order], mask[order]))
  patterns = {(tuple(np.where(m > 0, row, 9).tolist())) for row, m in zip(x, mask, strict=True)}
  assert len(set(index.tolist())) == len(patterns)
  same = np.array([[1.0, 2, 3], [2, 1, 3], [1, 2, 0], [1, 2, 3], [0, 0, 0]], "f")
  seen = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]], "f")
  assert len(set(np.asarray(rng.content_index(same, seen)).tolist())) == 5


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples():
  batch, _ = batch_of(4)

  def size(k):
    return multiple.lower(batch, keys(4), Wide, 20, k, 100).compile().memory_analysis().temp_size_in_bytes

  assert size(10_000) < size(500) + 4 * 8 * 100  # plus the indices of the chunks


@pytest.mark.slow
def test_a_missing_class_is_imputed_by_the_most_probable_one():
  """P(c | x) by a grid over the single latent unit; a class is a number in its column."""
  columns = ("gaussian_fixed(0.5)", "categorical(3)", "bernoulli")
  model = vae.Model((3,), latent_dim=1, hidden=(8,), likelihood="mixed", likelihood_args={"columns": columns})
  variables = model.init(jax.random.key(3), {"x": jnp.zeros((1, 3))})
  scale = lambda by, name: jax.tree.map(lambda a: by * a, variables["params"][name])
  variables = {"params": {"decoder": scale(2.5, "decoder"), "encoder": scale(0, "encoder")}}  # q = N(0, 1)
  x = np.linspace(-4, 4, 9, dtype="f")[:, None] * [1, 0, 0] + [0, 2, 1]
  mask = np.tile([1.0, 0, 0], (9, 1))
  batch = {"x": jnp.asarray(x, "f"), "mask": jnp.asarray(mask, "f")}
  found = jax.jit(lambda batch: imputation.single(model.bind(variables), keys(9), batch, 5000))(batch)
  z = jnp.linspace(-6, 6, 2001)[:, None]
  p = model.bind(variables).decode(z)
  likelihood = scipy.stats.norm(np.asarray(p.mean())[:, 0], 0.5).logpdf(x[:, :1]) + scipy.stats.norm.logpdf(z[:, 0])
  weights = scipy.special.softmax(likelihood, 1)
  features = weights @ np.asarray(p.expected_features())  # x_0, then P(c) of the three classes, then P(x_2 = 1)
  sure = np.diff(np.sort(features[:, 1:4], 1), axis=1)[:, -1] > 0.1
  assert sure.sum() >= 6
  np.testing.assert_array_equal(np.asarray(found.x[:, 1])[sure], features[:, 1:4].argmax(1)[sure])
  assert len(set(np.asarray(found.x[:, 1])[sure].tolist())) >= 2
  np.testing.assert_allclose(found.x[:, 2], features[:, 4], atol=0.05)

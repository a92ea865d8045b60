"""Estimators against closed forms: p(z) = N(0, 1), p(x|z) = N(x; z, s^2), so log p(x) and p(z|x) are known."""

import os
import subprocess
import sys

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax.inference import estimators, samples
from helpers import tables

pytestmark = pytest.mark.smoke

X, S = jnp.array([-1.0, 0.3, 2.0]), 0.7
LOG_PX = scipy.stats.norm.logpdf(np.asarray(X), 0, np.sqrt(1 + S**2))


def log_p(z):
  return distrax.Normal(0.0, 1.0).log_prob(z) + distrax.Normal(z, S).log_prob(X)


def posterior(shift, stretch):
  """p(z|x) for (0, 1), otherwise shifted and stretched."""
  return distrax.Normal(shift + X / (1 + S**2), stretch * S / jnp.sqrt(1 + S**2))


def log_weights(q, num_samples, key=0, chunk=None):
  draw = lambda k: q.sample_and_log_prob(seed=k)
  return estimators.log_weights(jax.random.key(key), draw, log_p, num_samples, chunk)[0]


def test_exact_posterior_makes_every_log_weight_log_px():
  np.testing.assert_allclose(log_weights(posterior(0.0, 1.0), 6), np.broadcast_to(LOG_PX, (6, 3)), atol=1e-5)


def test_elbo_is_log_px_minus_kl():
  q = posterior(0.4, 1.3)
  kl = q.kl_divergence(posterior(0.0, 1.0))
  log_w = log_weights(q, 200_000)
  error = log_w.std(0) / np.sqrt(len(log_w))
  np.testing.assert_array_less(abs(estimators.elbo(log_w) - (LOG_PX - kl)), 4 * error)


def test_bounds_increase_with_k_to_log_px():
  log_w = log_weights(posterior(0.4, 1.3), 500_000)
  bound = lambda k: jax.vmap(estimators.iwae)(log_w.reshape(-1, k, 3)).mean(0)
  values = [estimators.elbo(log_w), bound(5), bound(50)]
  assert (values[0] < values[1]).all()
  assert (values[1] < values[2]).all()
  assert (values[2] < LOG_PX + 1e-3).all()
  np.testing.assert_allclose(estimators.iwae(log_w), LOG_PX, atol=5e-3)


def test_weights_are_unbiased_for_px():
  w = np.exp(np.asarray(log_weights(posterior(0.4, 1.3), 200_000), np.float64))
  np.testing.assert_array_less(abs(w.mean(0) - np.exp(LOG_PX)), 4 * w.std(0) / np.sqrt(len(w)))


def test_iwae_of_one_sample_is_the_elbo():
  log_w = log_weights(posterior(0.4, 1.3), 1)
  np.testing.assert_allclose(estimators.iwae(log_w), estimators.elbo(log_w), rtol=1e-6)


def test_miwae_averages_bounds_of_consecutive_samples():
  log_w = np.random.default_rng(0).normal(size=(6, 3)).astype("f")
  groups = [scipy.special.logsumexp(log_w[i : i + 2], 0) - np.log(2) for i in (0, 2, 4)]
  np.testing.assert_allclose(estimators.miwae(log_w, 2), np.mean(groups, 0), rtol=1e-5)


def test_iwae_agrees_with_scipy_where_exp_underflows():
  log_w = np.random.default_rng(0).normal(-900, 30, (50, 4)).astype(np.float32)
  expected = scipy.special.logsumexp(log_w.astype(np.float64), 0) - np.log(50)
  np.testing.assert_allclose(estimators.iwae(log_w), expected, rtol=1e-6)


def test_iwae_gradient_is_the_normalised_weights():
  log_w = jnp.asarray(np.random.default_rng(1).normal(0, 2, (7, 3)), jnp.float32)
  gradient = jax.grad(lambda a: estimators.iwae(a).sum())(log_w)
  np.testing.assert_allclose(gradient, scipy.special.softmax(log_w, 0), rtol=1e-5)


def test_effective_sample_size_is_k_for_equal_weights_and_1_for_a_single_one():
  np.testing.assert_allclose(estimators.effective_sample_size(jnp.full((9, 2), -800.0)), 9, rtol=1e-4)
  one = jnp.full((9, 2), -1000.0).at[3].set(-10.0)
  np.testing.assert_allclose(estimators.effective_sample_size(one), 1, rtol=1e-4)


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
def test_log_weights_do_not_depend_on_the_chunk(chunk):
  q = posterior(0.4, 1.3)
  np.testing.assert_allclose(log_weights(q, 50), log_weights(q, 50, chunk=chunk), rtol=2e-6)


def test_the_encoder_runs_once_for_all_samples():
  """K samples do not make its matrix product K times larger."""
  w = jnp.ones((16, 16))

  def run(x, key):
    loc = x @ w  # [B, 16]
    q = distrax.MultivariateNormalDiag(loc, jnp.ones_like(loc))
    return estimators.log_weights(key, lambda k: q.sample_and_log_prob(seed=k), lambda z: z.sum(-1), 9)[0]

  jaxpr = str(jax.make_jaxpr(run)(jnp.ones((3, 16)), jax.random.key(0)))
  (line,) = (line for line in jaxpr.splitlines() if "dot_general" in line)
  assert "f32[3,16]" in line


@pytest.mark.parametrize("chunk", [None, 1, 4, 7, 8, 100])
def test_samples_in_chunks_or_as_one_batch_equal_separate_samples(chunk):
  """For every chunk, including those that do not divide K = 7, and for a z of several layers."""
  batch = {"x": jax.random.normal(jax.random.key(1), (3, 2))}
  draw = lambda key: (jax.random.normal(key, (3, 2)), jax.random.normal(key, (3,)))
  f = lambda batch, z: (jnp.sin(batch["x"] * z[0]) + z[1][:, None], z[1] * batch["x"][:, 0])
  some = lambda keys: samples.over_samples(f, batch, jax.vmap(draw)(keys))
  found = samples.map_keys(some, jax.random.key(0), 7, chunk)
  one_by_one = [f(batch, draw(key)) for key in jax.random.split(jax.random.key(0), 7)]
  for a, b in zip(found, (jnp.stack(leaves) for leaves in zip(*one_by_one, strict=True)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_merged_samples_with_keys_equal_separate_ones():
  """Each sample of an example has the example's key."""
  batch = {"x": jnp.ones((3, 2)), "key": jax.random.split(jax.random.key(1), 3)}
  z = jax.random.normal(jax.random.key(2), (5, 3, 2))
  noise = lambda batch: jax.vmap(lambda key: jax.random.normal(key, (2,)))(batch["key"])
  f = lambda batch, z: jnp.sin(batch["x"] * z + noise(batch))
  merged, apart = (samples.over_samples(f, batch, z, merge) for merge in (True, False))
  np.testing.assert_allclose(merged, apart, rtol=1e-6)
  rows = lambda merge: str(jax.make_jaxpr(lambda z: samples.over_samples(f, batch, z, merge))(z))
  assert "f32[15,2]" in rows(True) and "f32[15,2]" not in rows(False)


def test_models_with_moments_of_batches_are_not_merged():
  assert not samples.has_no_moments({"params": 1, "batch_stats": 1})
  assert samples.has_no_moments({"params": 1, "degrees": 1})


def test_samples_as_one_batch_stay_on_the_device_of_their_example():
  """On four forced CPU devices, each multiplies the samples of its own examples; nothing is gathered."""
  code = """
import jax, jax.numpy as jnp
from dgm_jax.inference import samples
from dgm_jax.training.processes import devices
_, sharded = devices.shardings(8)
f = lambda batch, z: jnp.tanh(z @ jnp.ones((16, 32)) + batch["x"]).sum(-1)
run = lambda x, z: samples.over_samples(f, {"x": x}, z)
x, z = jax.device_put(jnp.ones((8, 32)), sharded), jnp.ones((5, 8, 16))
move = lambda x, z: run(x, jax.lax.with_sharding_constraint(z, jax.NamedSharding(sharded.mesh, jax.P(None, "data"))))
text = jax.jit(move).lower(x, z).compile().as_text()
assert "f32[10,32]" in text and "f32[40,32]" not in text and "all-gather" not in text, text
"""
  env = {**os.environ, "XLA_FLAGS": tables.xla_flags(4)}
  done = subprocess.run([sys.executable, "-c", code], cwd=tables.ROOT, capture_output=True, text=True, env=env)
  assert done.returncode == 0, done.stderr[-2000:]

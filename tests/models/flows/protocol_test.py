"""The protocol of Papamakarios et al. (2017) for MNIST: its first row is in closed form."""

import gzip

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.data import pipeline
from dgm_jax.data.sets import mnist

TRANSFORMS = ("dequantize:levels=256", "logit:alpha=1e-6")


def logits(arrays, seed):
  """(the digits on the logit scale, with noise, float64 [N, 784]; log |dy/dx| [N])."""
  apply = jax.jit(pipeline.make(TRANSFORMS, arrays).evaluate)
  parts = np.array_split(np.arange(len(arrays["x"])), 10)
  keys = jax.random.split(jax.random.key(seed), len(parts))
  batch = lambda i: {"x": jnp.asarray(arrays["x"][i]), "index": jnp.asarray(i)}
  found = [apply(key, batch(i)) for key, i in zip(keys, parts, strict=True)]
  x = np.concatenate([np.asarray(a["x"], np.float64).reshape(len(a["x"]), -1) for a in found])
  return x, np.concatenate([np.asarray(a["log_det"], np.float64) for a in found])


def log_normal(x, fitted):
  """log N(x; mean and covariance of `fitted`), [N]."""
  root = np.linalg.cholesky(np.cov(fitted.T, bias=True))
  z = np.linalg.solve(root, (x - fitted.mean(0)).T)
  return -0.5 * (z**2).sum(0) - np.log(np.diag(root)).sum() - 0.5 * x.shape[1] * np.log(2 * np.pi)


def log_slope(s):
  """log |dy/dx| of y = logit(a + (1 - 2 a) (x + u) / 256) where its inner part is s, summed over pixels, [N]."""
  return (np.log1p(-2e-6) - np.log(256) - np.log(s) - np.log1p(-s)).sum(1)


def test_nats_of_logit_digits_are_these_bits_per_dimension(raw_data):
  with gzip.open(raw_data / "mnist" / "t10k-images-idx3-ubyte.gz") as f:
    digits = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
  few = {"x": digits[:50].reshape(50, 28, 28, 1), "index": np.arange(50)}
  y, log_det = logits(few, 1)
  np.testing.assert_allclose(log_det, log_slope(1 / (1 + np.exp(-y))), rtol=1e-4)
  u = np.random.default_rng(0).random(digits.shape)
  jacobian = log_slope(1e-6 + (1 - 2e-6) * (digits + u) / 256).mean()
  bits = lambda log_px: -(log_px + jacobian) / (784 * np.log(2))  # of the integers
  assert bits(-1366.9) == pytest.approx(2.013, abs=2e-3)
  assert bits(-1300.5) == pytest.approx(1.89, abs=5e-3)  # as FFJORD prints MAF


@pytest.mark.slow
def test_gaussians_of_logit_digits_have_the_published_likelihoods(raw_data, tmp_path):
  """Table 2: -1366.9 without and -1344.7 with the class, log 1/10 sum_y p(x|y)."""
  loaded = mnist.load(str(tmp_path), str(raw_data / "mnist"), valid_size=10_000)
  (train, _), (test, _) = logits(loaded.train, 0), logits(loaded.test, 1)
  assert log_normal(test, train).mean() == pytest.approx(-1366.9, abs=1.0)
  of_classes = [log_normal(test, train[loaded.train["y"] == y]) for y in range(10)]
  assert (np.logaddexp.reduce(of_classes, 0) - np.log(10)).mean() == pytest.approx(-1344.7, abs=1.0)

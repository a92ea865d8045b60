"""Imputation by a Markov chain, on a linear-Gaussian model with known p(x_missing | x_observed)."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from dgm_jax.inference import gibbs_imputation
from helpers import linear_gaussian as lg

N = 20_000  # chains
MASK = np.array([1.0, 0.0, 0.0], "f")
MODEL = lg.model(2, orthogonal=True, s=0.6)  # q(z|x) is the posterior
X = lg.draws(MODEL, 1)[0]


def conditional():
  """Mean and covariance of x_2, x_3 given x_1."""
  w, b = np.asarray(MODEL.w), np.asarray(MODEL.b)
  joint = w @ w.T + MODEL.s**2 * np.eye(3)
  gain = joint[1:, :1] / joint[0, 0]
  return b[1:] + gain[:, 0] * (X[0] - b[0]), joint[1:, 1:] - gain @ joint[:1, 1:]


def run(start, num_steps, model=MODEL, **options):
  x = jnp.asarray(np.concatenate([np.full((N, 1), X[0]), start], 1), jnp.float32)
  mask = jnp.broadcast_to(MASK, x.shape)
  infer = lambda x: model.infer({"x": x})
  draw = lambda key: gibbs_imputation.pseudo_gibbs(key, x, mask, infer, model.decode, num_steps, **options)
  return jax.jit(draw)(lg.KEY)


def assert_conditional(x):
  mean, covariance = conditional()
  white = (np.asarray(x, np.float64)[:, 1:] - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
  for u in (white[:, 0], white[:, 1], white.sum(1) / np.sqrt(2)):
    assert scipy.stats.kstest(u, "norm").pvalue > 1e-4
  np.testing.assert_allclose(x[:, 0], X[0], rtol=1e-6)  # observed entries do not change


def test_with_the_exact_posterior_the_chain_converges_to_the_conditional():
  x, _ = run(np.full((N, 2), 5.0), 40)
  assert_conditional(x)


def test_with_the_exact_posterior_the_conditional_is_invariant():
  start = np.random.default_rng(0).multivariate_normal(*conditional(), N)
  x, _ = run(start, 1)
  assert np.abs(x[:, 1:] - start).mean() > 0.2
  assert_conditional(x)


def test_with_another_q_the_limit_is_biased():
  x, _ = run(np.full((N, 2), 5.0), 40, lg.model(2, orthogonal=True, s=0.6, shift=0.5))
  assert (np.abs(lg.in_errors(x[:, 1:], conditional()[0])) > 10).any()


def test_each_step_is_recorded_with_its_mean():
  """With a deterministic decoder, the missing entries after a step equal their mean."""
  infer = lambda x: distrax.Deterministic(x.sum(-1, keepdims=True))
  decode = lambda z: distrax.Deterministic(jnp.concatenate([z, 2 * z], -1))
  x, mask = jnp.array([[1.0, 7.0]]), jnp.array([[1.0, 0.0]])
  end, kept = gibbs_imputation.pseudo_gibbs(
    lg.KEY, x, mask, infer, decode, 3, keep=lambda x, mean: {"x": x, "mean": mean}
  )
  np.testing.assert_allclose(kept["x"][:, 0], [[1, 16], [1, 34], [1, 70]])
  np.testing.assert_allclose(kept["mean"][:, 0], [[8, 16], [17, 34], [35, 70]])
  np.testing.assert_allclose(end, kept["x"][-1])

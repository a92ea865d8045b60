"""With a wrong q, Metropolis-within-Gibbs converges to p(x_missing | x_observed) and pseudo-Gibbs does not."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dgm_jax.inference import gibbs_imputation
from helpers import linear_gaussian as lg

N, STEPS = 6000, 40  # chains and their steps
_RNG = np.random.default_rng(0)
PRIOR = np.array([0.5, 0.3, 0.2])  # of z in {0, 1, 2}
P_X = np.array([[0.9, 0.2, 0.7, 0.1], [0.2, 0.8, 0.4, 0.9], [0.5, 0.6, 0.05, 0.6]])  # P(x_d = 1 | z)
LOGITS = jnp.asarray(_RNG.normal(0, 1, (4, 3)), jnp.float32)  # of a random q, unrelated to the model
MASK = np.array([1.0, 1.0, 0.0, 0.0], "f")
SEEN = np.array([1.0, 0.0], "f")


def infer(x):
  return distrax.Categorical(logits=(x - 0.4) @ LOGITS)


def decode(z):
  return distrax.Independent(distrax.Bernoulli(probs=jnp.asarray(P_X, jnp.float32)[z], dtype=jnp.float32), 1)


def log_joint(x, z):
  return decode(z).log_prob(x) + jnp.log(jnp.asarray(PRIOR, jnp.float32))[z]


def exact():
  """P(x_3, x_4 | x_1, x_2), [2, 2], summed over z."""
  seen = (P_X[:, :2] ** SEEN * (1 - P_X[:, :2]) ** (1 - SEEN)).prod(1) * PRIOR
  each = lambda d, v: P_X[:, d] if v else 1 - P_X[:, d]
  joint = np.array([[(seen * each(2, a) * each(3, b)).sum() for b in (0, 1)] for a in (0, 1)])
  return joint / joint.sum()


def errors_of(x):
  """Frequencies of (x_3, x_4) minus the exact probabilities, in standard errors."""
  x, p = np.asarray(x, int), exact()
  found = np.array([[((x[:, 2] == a) & (x[:, 3] == b)).mean() for b in (0, 1)] for a in (0, 1)])
  return (found - p) / np.sqrt(p * (1 - p) / N)


def start(missing):
  return jnp.broadcast_to(jnp.concatenate([jnp.asarray(SEEN), jnp.asarray(missing, jnp.float32)]), (N, 4))


def test_with_a_wrong_q_of_discrete_latents_the_conditional_is_that_by_enumeration():
  x, mask = start([0.0, 0.0]), jnp.broadcast_to(MASK, (N, 4))
  chain = jax.jit(lambda key: gibbs_imputation.metropolis_within_gibbs(key, x, mask, infer, log_joint, decode, STEPS))
  end, kept, taken = chain(lg.KEY)
  assert abs(errors_of(end)).max() < 5
  np.testing.assert_array_equal(end[:, :2], x[:, :2])
  np.testing.assert_array_equal(kept[-1], end)
  assert 0.3 < taken.mean() < 0.95
  pseudo, _ = jax.jit(lambda key: gibbs_imputation.pseudo_gibbs(key, x, mask, infer, decode, STEPS))(lg.KEY)
  assert abs(errors_of(pseudo)).max() > 20


def test_with_the_posterior_as_q_every_proposal_is_accepted():
  table = jnp.asarray(scipy.special.logit(P_X), jnp.float32)
  log_prior = jnp.log(jnp.asarray(PRIOR, jnp.float32)) + jnp.log1p(-jnp.asarray(P_X, jnp.float32)).sum(1)
  posterior = lambda x: distrax.Categorical(logits=x @ table.T + log_prior)
  x, mask = start([1.0, 1.0]), jnp.broadcast_to(MASK, (N, 4))
  chain = lambda key: gibbs_imputation.metropolis_within_gibbs(key, x, mask, posterior, log_joint, decode, 30)
  end, _, taken = jax.jit(chain)(lg.KEY)
  assert taken.min() > 0.9  # 1 up to rounding
  assert abs(errors_of(end)).max() < 5


@pytest.mark.parametrize("wrong", [{"shift": 0.4}, {"stretch": 1.6}])
def test_with_a_wrong_q_of_normal_latents_the_conditional_is_the_exact_normal(wrong):
  model = lg.model(2, s=0.6, **wrong)  # its q is diagonal, the posterior is not
  w, b, seen = np.asarray(model.w), np.asarray(model.b), 0.8
  joint = w @ w.T + model.s**2 * np.eye(3)
  gain = joint[1:, 0] / joint[0, 0]
  mean, covariance = b[1:] + gain * (seen - b[0]), joint[1:, 1:] - np.outer(gain, joint[0, 1:])
  x = jnp.broadcast_to(jnp.array([seen, 0.0, 0.0]), (N, 3))
  mask = jnp.broadcast_to(jnp.array([1.0, 0.0, 0.0]), (N, 3))
  args = (x, mask, lambda x: model.infer({"x": x}))
  joint_of = lambda x, z: sum(model.log_joint({"x": x}, z))
  right = jax.jit(lambda key: gibbs_imputation.metropolis_within_gibbs(key, *args, joint_of, model.decode, STEPS))(
    lg.KEY
  )[0]
  pseudo = jax.jit(lambda key: gibbs_imputation.pseudo_gibbs(key, *args, model.decode, STEPS))(lg.KEY)[0]

  def errors(draws):
    """Errors, in standard errors, of the two means and the three second moments about the exact mean."""
    u = np.asarray(draws, np.float64)[:, 1:] - mean
    moments = np.stack([u[:, 0], u[:, 1], u[:, 0] ** 2, u[:, 1] ** 2, u[:, 0] * u[:, 1]], 1)
    expected = [0, 0, covariance[0, 0], covariance[1, 1], covariance[0, 1]]
    return (moments.mean(0) - expected) / (moments.std(0) / N**0.5)

  assert abs(errors(right)).max() < 5
  assert abs(errors(pseudo)).max() > 10

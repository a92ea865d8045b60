"""Monte Carlo EM by HMC: the E-step leaves p(z|x) invariant, the fixed point is the maximum of the likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.principles import monte_carlo_em
from helpers import linear_gaussian as lg

N = 5000


class Line(nn.Module):
  """z ~ N(0, 1), x | z ~ N(w z + b, 1): x ~ N(b, 1 + w^2), so that the optimal b and w are known."""

  @nn.compact
  def __call__(self, batch):
    return self.param("w", nn.initializers.constant(0.5), ()), self.param("b", nn.initializers.zeros, ())

  def simulate(self, key, n):
    return {"x": jnp.zeros((n, 1))}, jax.random.normal(key, (n, 1))

  def log_joint(self, batch, z):
    w, b = self(batch)
    return -0.5 * (batch["x"] - w * z - b)[:, 0] ** 2, -0.5 * z[:, 0] ** 2

  def generate(self, key, n, mean=False):
    return jnp.zeros((n, 1))


X = np.random.default_rng(0).normal(1.0, 2.0, size=(N, 1)).astype("f")
BATCH = {"x": X, "index": np.arange(N, dtype=np.int32)}


def train(system, steps, batches=lambda t: jnp.arange(N)):
  def step(state, t):
    batch = jax.tree.map(lambda a: jnp.asarray(a)[batches(t)], BATCH)
    return system.train_step(state, jax.random.fold_in(lg.KEY, t), batch)

  run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps)))
  return run(system.init(jax.random.key(1), {"x": X[:2]}, {}))


def test_the_fixed_point_is_the_maximum_of_the_likelihood():
  """At the maximum, b is the mean of x and 1 + w^2 its variance."""
  state, metrics = train(monte_carlo_em.make(Line(), optax.sgd(0.3), num_examples=N, num_leapfrog=3), 150)
  assert float(state.params["b"]) == pytest.approx(X.mean(), abs=0.05)
  assert 1 + float(state.params["w"]) ** 2 == pytest.approx(X.var(), rel=0.08)
  assert metrics["acceptance"][-50:].mean() == pytest.approx(0.9, abs=0.02)
  assert int(state.step) == 150


def test_the_e_step_leaves_the_posterior_invariant_and_the_m_step_makes_num_updates_updates():
  """With a learning rate of 0, the chains are draws from p(z|x) for each x; the optimiser counts the updates."""
  tx = optax.chain(optax.scale_by_schedule(lambda count: 0.0))
  state, _ = train(monte_carlo_em.make(Line(), tx, num_examples=N, num_leapfrog=3, num_updates=4), 100)
  z = np.asarray(state.variables["mcem"]["z"], np.float64)
  white = (z - 0.5 * X / 1.25) * np.sqrt(1.25)  # p(z|x) = N(w x / (1 + w^2), 1 / (1 + w^2))
  assert abs(lg.in_errors(white[:, 0], 0.0)) < 4
  assert abs(lg.in_errors(white[:, 0] ** 2, 1.0)) < 4
  assert abs(lg.in_errors(white[:, 0] * X[:, 0], 0.0)) < 4
  assert float(state.params["w"]) == 0.5
  assert int(state.opt_state[0].count) == 400


def test_a_chain_moves_only_when_its_example_is_in_the_batch():
  system = monte_carlo_em.make(Line(), optax.sgd(0.1), num_examples=N, num_leapfrog=3)
  before = np.asarray(system.init(jax.random.key(1), {"x": X[:2]}, {}).variables["mcem"]["z"])
  state, _ = train(system, 3, lambda t: jnp.arange(7))
  after = np.asarray(state.variables["mcem"]["z"])
  assert (after[:7] != before[:7]).all()
  np.testing.assert_array_equal(after[7:], before[7:])


def test_an_example_without_a_chain_gives_nan():
  _, metrics = train(monte_carlo_em.make(Line(), optax.sgd(0.1), num_examples=5), 1, lambda t: jnp.arange(7))
  assert np.isnan(metrics["loss"]).all()


@pytest.mark.parametrize("options,named", [
  ({"num_leapfrog": 0}, "num_leapfrog = 0"),
  ({"num_updates": 0}, "num_updates = 0"),
  ({"eval_samples": 1}, "eval_samples = 1"),
  ({"target_acceptance": 1.0}, "between 0 and 1"),
])  # fmt: skip
def test_invalid_numbers_and_models_raise_user_errors(options, named):
  with pytest.raises(errors.UserError, match=named):
    monte_carlo_em.make(Line(), optax.sgd(0.1), num_examples=N, **options)
  with pytest.raises(errors.UserError, match=r"needs models with log_joint\(batch, z\)"):
    monte_carlo_em.make(nn.Dense(3), optax.sgd(0.1), num_examples=N)

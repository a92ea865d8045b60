"""The principle maximum_likelihood: what it maximises, and collections that the objective changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from dgm_jax.core import errors
from dgm_jax.principles import maximum_likelihood

X = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, (64, 1)), jnp.float32)


class Normal(nn.Module):
  """N(loc, 3^2)."""

  data_shape: tuple[int, ...] = (1,)

  @nn.compact
  def log_prob(self, batch):
    return jax.scipy.stats.norm.logpdf(batch["x"], self.param("loc", nn.initializers.zeros, ()), 3.0).sum(1)

  def generate(self, key, n, mean=False):
    return self.variables["params"]["loc"] + 3 * jax.random.normal(key, (n, 1)) * (not mean)


class Counting(Normal):
  """Maximises 2 log p(x) + 1, and counts the steps."""

  def setup(self):
    self.loc = self.param("loc", nn.initializers.zeros, ())
    self.count = self.variable("counts", "steps", lambda: jnp.zeros(()))

  def log_prob(self, batch):
    return jax.scipy.stats.norm.logpdf(batch["x"], self.loc, 3.0).sum(1)

  def objective(self, key, batch):
    self.count.value += 1
    return 2 * self.log_prob(batch) + 1, {"twice": 2 * self.log_prob(batch)}


def fitted(model, steps):
  system = maximum_likelihood.make(model, optax.sgd(1.0))
  state = system.init(jax.random.key(0), {"x": X}, {})
  for _ in range(steps):
    state, metrics = jax.jit(system.train_step)(state, jax.random.key(1), {"x": X})
  return system, state, metrics


def test_it_ends_at_the_mean_and_reports_log_px():
  system, state, metrics = fitted(Normal(), 100)
  assert float(state.params["loc"]) == pytest.approx(float(X.mean()), abs=1e-3)
  log_px = system.eval_step(state, jax.random.key(0), {"x": X})["log_px"]
  assert log_px.shape == (64,)
  assert float(metrics["loss"]) == pytest.approx(-float(log_px.mean()), rel=1e-4)
  assert system.sample(state, jax.random.key(0), 5).shape == (5, 1)


def test_an_objective_of_the_models_own_is_maximised_and_its_variables_are_kept():
  system, state, metrics = fitted(Counting(), 3)
  assert float(state.variables["counts"]["steps"]) == 3
  assert float(metrics["loss"]) == pytest.approx(-float(metrics["twice"]) - 1, rel=1e-5)
  plain = fitted(Normal(), 1)[1].params["loc"]
  assert float(fitted(Counting(), 1)[1].params["loc"]) == pytest.approx(2 * float(plain), rel=1e-5)
  assert set(system.eval_step(state, jax.random.key(0), {"x": X})) == {"log_px"}


def test_options_and_models_without_log_prob_are_refused():
  with pytest.raises(errors.UserError, match="beta"):
    maximum_likelihood.make(Normal(), optax.sgd(1.0), beta=1.0)
  with pytest.raises(errors.UserError, match=r"needs models with log_prob\(batch\)"):
    maximum_likelihood.make(nn.Dense(3), optax.sgd(1.0))

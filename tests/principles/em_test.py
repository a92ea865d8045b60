"""The principle `em` with the simplest model: the statistic is x, the parameter its mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dgm_jax.principles import em

N, B = 12, 3
X = np.random.default_rng(0).normal(size=(N, 1)).astype("f")


class Mean(nn.Module):
  """p(x) = N(x; mean, 1)."""

  def setup(self):
    self.mean, self.count = (self.param(name, lambda key: jnp.zeros(())) for name in ("mean", "count"))

  def start(self, key, params, batch):
    return params

  def e_step(self, params, batch, weight):
    x = batch["x"][:, 0]
    return {"count": jnp.sum(weight), "x": weight @ x}, {"square": weight @ jnp.square(x - params["mean"])}

  def m_step(self, key, params, s):
    return {"mean": s["x"] / s["count"], "count": s["count"]}

  def loss(self, params, means, num_examples):
    return means["square"]

  def evaluate(self, key, batch):
    return {"square": jnp.square(batch["x"][:, 0] - self.mean)}

  def generate(self, key, n, mean=False):
    return jnp.zeros((n, 1))

  def __call__(self, batch):
    return self.mean, self.count


def states(block=2, **options):
  system = em.make(Mean(), None, num_examples=N, block=block, **options)
  state, step = system.init(jax.random.key(0), {"x": X[:B]}, {}), jax.jit(system.train_step)
  for x in X.reshape(-1, B, 1):
    state, metrics = step(state, jax.random.key(1), {"x": x})
    yield state, metrics


def test_online_statistics_are_estimates_of_the_sums_over_all_examples():
  """Those of a batch count N / B times, mixed with step sizes g_t = s ((t + 1 + d) / (1 + d))^-a, the first 1."""
  expected = np.zeros(2)
  for t, (state, _) in enumerate(states(update="online", decay=0.7, delay=2.0, scale=0.5)):
    rate = (0.5 if t else 1.0) * ((t + 3) / 3) ** -0.7
    batch = X.reshape(-1, B)[t]
    expected = (1 - rate) * expected + rate * np.array([B, batch.sum()]) * N / B
    found = state.variables["em"]["statistics"]
    np.testing.assert_allclose([found["count"], found["x"]], expected, rtol=1e-5)
    np.testing.assert_allclose(state.params["mean"], expected[1] / expected[0], rtol=1e-5)


@pytest.mark.parametrize("block", [1, 2, 5])
def test_a_batch_update_comes_once_an_epoch_with_the_sums_of_all_examples(block):
  *before, last = states(block)
  assert all(state.params["mean"] == 0 for state, _ in before)
  np.testing.assert_allclose(last[0].params["mean"], X.mean(), rtol=1e-5)
  assert last[0].params["count"] == N  # an M-step is given sums, not means: priors and floors depend on it
  losses = [metrics["loss"] for _, metrics in [*before, last]]
  np.testing.assert_allclose(losses, np.square(X.reshape(-1, B)).mean(1), rtol=1e-5)

"""Autoregressive densities of two real numbers: integrals, draws with their densities, and the bound of the entropy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.models.autoregressive import made, nade, orderless

MIXTURE = {"likelihood": "gaussian_mixture", "likelihood_args": {"num_components": 2}}
MODELS = {
  "made": (made, {"hidden": (8,), "ordering": "reversed", "activation": "tanh"}),
  "made_orders": (made, {"hidden": (8,), "num_masks": 2, "ordering": "random", "mask_seed": 3, "activation": "tanh"}),
  "nade": (nade, {"num_hidden": 6}),
  "orderless": (orderless, {"hidden": (8,), "orders": 2, "activation": "tanh"}),
}
each = pytest.mark.parametrize("name", MODELS)
N = 4000


@functools.cache
def bound(name):
  module, options = MODELS[name]
  model = module.Model((2,), **MIXTURE, **options)
  variables = model.init(jax.random.key(0), {"x": jnp.zeros((2, 2))})
  leaves, tree = jax.tree.flatten(variables["params"])
  keys = jax.random.split(jax.random.key(5), len(leaves))
  noisy = [a + 0.25 * jax.random.normal(key, a.shape) for key, a in zip(keys, leaves, strict=True)]
  return model.bind({**variables, "params": jax.tree.unflatten(tree, noisy)})


@functools.cache
def log_prob(name):
  model = bound(name)
  return jax.jit(lambda x: model.log_prob({"x": x}))


@functools.cache
def draws(name):
  model = bound(name)
  return jax.jit(lambda key: model.generate(key, N))(jax.random.key(1))


@each
def test_the_density_integrates_to_one_on_a_grid(name):
  axis = np.linspace(-25, 25, 1000, endpoint=False) + 0.025
  grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2).astype("f")
  total = sum(float(jnp.exp(log_prob(name)(jnp.asarray(part))).sum()) for part in np.split(grid, 10))
  assert total * 0.05**2 == pytest.approx(1, abs=2e-3)
  assert float(jnp.abs(draws(name)).max()) < 25  # the grid holds the mass


@each
def test_densities_inside_of_p_over_p_average_to_one_over_its_own_draws(name):
  """E_p[r / p] = 1 for r = N(m, s^2 / 4) about a draw, whose weights are bounded; at 5 standard errors."""
  x = draws(name)
  centre, width = jnp.median(x, 0), 0.25 * x.std(0)
  log_r = jnp.sum(jax.scipy.stats.norm.logpdf(x, centre, width), -1)
  weights = np.exp(np.asarray(log_r - log_prob(name)(x), np.float64))
  assert abs(weights.mean() - 1) < 5 * weights.std() / N**0.5
  assert weights.std() / N**0.5 < 0.2


@each
def test_the_mean_log_density_of_draws_of_another_law_is_at_most_minus_its_entropy(name):
  """E_q[log p] <= -H(q), with equality for q = p: normals of known entropy, at 4 standard errors."""
  for key, (centre, scale) in enumerate(((0.0, 1.0), (1.0, 0.5), (-1.0, 2.0))):
    x = centre + scale * jax.random.normal(jax.random.key(key), (N, 2))
    found = np.asarray(log_prob(name)(x), np.float64)
    assert found.mean() + np.log(2 * np.pi * np.e * scale**2) < 4 * found.std() / N**0.5


@pytest.mark.parametrize("name", ["made", "nade", "orderless"])
def test_a_draw_comes_with_its_density_and_steps_give_the_conditionals(name):
  model = bound(name)
  x, log_px = jax.jit(lambda key: model.sample_and_log_prob(key, 50))(jax.random.key(2))
  np.testing.assert_allclose(log_px, log_prob(name)(x), rtol=1e-4, atol=1e-5)
  order, cache, before = model.order(0), model.start(50, None, 0), jnp.zeros(50)
  expected = model.conditionals(x, None, 0)
  for t in range(2):
    cache, h = model.step(cache, jnp.asarray(t), before)
    np.testing.assert_allclose(h, expected[:, order[t]], atol=1e-5, rtol=1e-5)
    before = x[:, order[t]]

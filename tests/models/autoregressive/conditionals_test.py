"""The network of all conditionals of a table: what it may see, and that its outputs are densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.models.autoregressive import conditionals
from dgm_jax.models.autoregressive.conditionals import Conditionals, Entries

NET = Conditionals(3, 2, 4, hidden=8, blocks=1, components=2)
CLASSES = jnp.array([4, 3])
KEY = jax.random.key(0)


def rows(n=16, seed=0):
  g = np.random.default_rng(seed)
  z, c = g.normal(size=(n, 3)).astype("f"), np.stack([g.integers(0, 4, n), g.integers(0, 3, n)], 1).astype(np.int32)
  known = lambda width: (g.random((n, width)) > 0.4).astype("f")
  return Entries(z, 2 * z, c, known(3), known(2))


@pytest.fixture(scope="module")
def params():
  """Parameters far from their start, so that every input matters."""
  made = jax.jit(NET.init)(KEY, rows(), CLASSES)
  leaves, tree = jax.tree.flatten(made)
  return tree.unflatten([a + 0.5 * np.random.default_rng(i).normal(size=a.shape) for i, a in enumerate(leaves)])


APPLY = jax.jit(NET.apply)


def test_unknown_entries_have_no_influence_even_if_nan(params):
  x = rows()
  spoilt = x._replace(z=np.where(x.of_z > 0, x.z, np.nan), c=np.where(x.of_c > 0, x.c, -7))
  jax.tree.map(np.testing.assert_array_equal, APPLY(params, x, CLASSES), APPLY(params, spoilt, CLASSES))
  other = APPLY(params, x._replace(of_z=np.zeros_like(x.of_z)), CLASSES)
  assert not np.allclose(other.mean, APPLY(params, x, CLASSES).mean)


def test_densities_integrate_to_1_and_absent_classes_have_probability_0(params):
  p = APPLY(params, rows(), CLASSES)
  grid = jnp.linspace(-40, 40, 8001)
  density = jnp.exp(jax.vmap(lambda z: conditionals.log_normals(p, jnp.full(p.mean.shape, z)))(grid))
  np.testing.assert_allclose(density.sum(0) * (grid[1] - grid[0]), 1, atol=1e-3)
  np.testing.assert_allclose(jnp.exp(p.log_p).sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(jnp.exp(p.log_p)[:, 1, 3], 0)


def test_the_loss_counts_hidden_entries_alone_and_its_gradient_is_finite(params):
  x = rows()
  seen, of_z, of_c = NET.hide(jax.random.key(1), x)
  np.testing.assert_array_equal(seen.of_z + of_z, x.of_z)
  np.testing.assert_array_equal(seen.of_c + of_c, x.of_c)
  assert 0 < of_z.sum() < x.of_z.sum()

  @jax.jit
  def total(params, x):
    return conditionals.losses(NET.apply(params, seen, CLASSES), x, of_z, of_c).sum()

  spoilt = x._replace(z=np.where(of_z > 0, x.z, np.nan), y=np.where(of_z > 0, x.y, np.nan))
  assert total(params, spoilt) == total(params, x)
  assert all(np.isfinite(a).all() for a in jax.tree.leaves(jax.jit(jax.grad(total))(params, spoilt)))


def test_rates_of_hiding_are_uniform_over_the_rows():
  n = 4000
  x = Entries(*[jnp.ones((n, 30))] * 2, jnp.zeros((n, 0), jnp.int32), jnp.ones((n, 30)), jnp.zeros((n, 0)))
  _, of_z, _ = jax.jit(NET.hide)(KEY, x)
  share = np.asarray(of_z.mean(1))
  assert share.mean() == pytest.approx(0.275, abs=0.01)
  spread = (0.45**2 / 12 + (0.275 - 0.275**2 - 0.45**2 / 12) / 30) ** 0.5  # of the rate, and of 30 entries given it
  assert share.std() == pytest.approx(spread, rel=0.05)


def test_the_minimum_of_the_squared_error_is_the_conditional_mean():
  """d/d mean of the loss is mean - y: zero in expectation where the mean is E[y | x_S]."""
  x, ones = rows(), np.ones((16, 3), "f")
  p = APPLY(jax.jit(NET.init)(KEY, x, CLASSES), x, CLASSES)
  of_mean = lambda mean: conditionals.losses(p._replace(mean=mean), x, ones, 0 * x.of_c).sum()
  np.testing.assert_allclose(jax.grad(of_mean)(p.mean), p.mean - x.y, rtol=1e-5, atol=1e-6)

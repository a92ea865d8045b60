"""Inverses by iteration: gradients are linear in the cotangent, and NaN stays NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.distributions.bijectors import layers, solvers

KEY = jax.random.key(0)
Y = jnp.asarray(np.random.default_rng(4).normal(size=(3, 5)), jnp.float32)


def flow(inverse="jacobi", scale=1.0):
  """(a masked affine layer, its parameters, normals)."""
  layer = layers.AutoregressiveLayer(5, hidden=(8,), activation="tanh", inverse=inverse)
  g = np.random.default_rng(3)
  shapes = jax.eval_shape(layer.init, KEY)["params"]
  return layer, jax.tree.map(lambda a: jnp.asarray(scale * g.normal(size=a.shape), jnp.float32), shapes)


def test_gradients_of_inverses_are_linear_in_the_cotangent():
  """An example in a batch, too: cotangents of 1e-8 beside one of 1."""
  layer, params = flow(scale=0.7)

  @jax.jit
  def gradients(params, sizes):
    sized = lambda params, y: jnp.sum(sizes[:, None] * jnp.sin(layer.apply({"params": params}).inverse(y)))
    return jax.grad(sized, (0, 1))(params, Y)

  of_params, of_y = gradients(params, jnp.ones(3))
  for size in (1e-8, 1e8):
    scaled, of_scaled = gradients(params, jnp.full(3, size))
    np.testing.assert_allclose(of_scaled / size, of_y, rtol=1e-4, atol=1e-5)
    for found, expected in zip(jax.tree.leaves(scaled), jax.tree.leaves(of_params), strict=True):
      np.testing.assert_allclose(found / size, expected, rtol=1e-4, atol=1e-4)
  sizes = jnp.asarray([1.0, 1e-8, 0.0])
  _, of_mixed = gradients(params, sizes)
  np.testing.assert_allclose(of_mixed[:2] / sizes[:2, None], of_y[:2], rtol=1e-4, atol=1e-5)
  assert (of_mixed[2] == 0).all()


@pytest.mark.parametrize("inverse", solvers.METHODS)
def test_nan_of_parameters_of_x_and_of_cotangents_stays_nan(inverse):
  layer, params = flow(inverse)

  @jax.jit
  def run(params, y, weights):
    inverted = lambda y: layer.apply({"params": params}).inverse_and_log_det(y)
    (x, log_det), pull = jax.vjp(inverted, y)
    return x, log_det, pull((weights, jnp.zeros(3)))[0]

  ones = jnp.ones((3, 5))
  assert all(jnp.isfinite(a).all() for a in run(params, Y, ones))
  x, log_det, of_y = run(params, Y.at[1, 2].set(jnp.nan), ones)
  assert jnp.isnan(x[1]).all() and jnp.isnan(log_det[1]) and jnp.isnan(of_y[1]).all()
  assert all(jnp.isfinite(a[jnp.array([0, 2])]).all() for a in (x, log_det, of_y))
  _, _, of_y = run(params, Y, ones.at[2, 0].set(jnp.nan))
  assert jnp.isnan(of_y[2]).all() and jnp.isfinite(of_y[:2]).all()
  bad = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), params)
  x, log_det, _ = run(bad, Y, ones)
  assert jnp.isnan(x).all() and jnp.isnan(log_det).all()

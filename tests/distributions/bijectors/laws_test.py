"""Laws of all bijectors: inverses, log-determinants, finite values and gradients, transformations of JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from helpers.bijectors import BIJECTORS

WITH_INVERSE = [name for name, row in BIJECTORS.items() if row.inverse]
every = pytest.mark.parametrize("name", BIJECTORS)
every_inverse = pytest.mark.parametrize("name", WITH_INVERSE)


def rows(name, n=6, dtype=jnp.float64):
  """(parameters, x [n, ...]), with standard normals; among x are 0 and the edges of splines."""
  row = BIJECTORS[name]
  x = 1.5 * np.random.default_rng(1).normal(size=(n, *row.shape))
  x[0], x[1] = 0.0, 3.0
  x[2, ...] = 3.0 - 1e-9
  parameters = jax.tree.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, row.parameters(jax.random.key(5)))
  return parameters, row.domain(jnp.asarray(x, dtype))


@functools.cache
def _measured(name):
  """A function, compiled once: everything that the laws in float64 compare."""
  row = BIJECTORS[name]

  def run(parameters, x):
    bijector = row.make(parameters)
    y, log_det = bijector.forward_and_log_det(x)
    one = lambda x: row.make(parameters).forward(x[None])[0].ravel()
    jacobian = jax.vmap(jax.jacfwd(one))(x).reshape(len(x), -1, x[0].size)
    found = {"y": y, "log_det": log_det, "slogdet": jnp.linalg.slogdet(jacobian)[1], "jacobian": jacobian}
    if row.inverse:
      found["x"], found["inverse_log_det"] = bijector.inverse_and_log_det(y)
      found["again"], found["log_det_again"] = bijector.forward_and_log_det(found["x"])
    return found

  return jax.jit(run)


@every
def test_log_det_and_inverse_in_float64(name):
  with jax.enable_x64(True):
    parameters, x = rows(name)
    found = jax.device_get(_measured(name)(parameters, x))
    np.testing.assert_allclose(found["log_det"], found["slogdet"], atol=1e-10)
    if not BIJECTORS[name].inverse:
      return
    size = 1 + np.abs(found["y"])
    assert np.max(np.abs(found["again"] - found["y"]) / size) <= 1e-10
    slope = np.abs(found["jacobian"]).max(1).reshape(x.shape)  # of the output that entry moves most
    assert np.max(np.abs(found["x"] - x) * np.minimum(slope, 1) / (1 + np.abs(x))) <= 1e-10
    np.testing.assert_allclose(found["inverse_log_det"], -found["log_det_again"], atol=1e-10)


@every
def test_values_and_gradients_are_finite_far_away_and_at_edges(name):
  row = BIJECTORS[name]
  parameters = row.parameters(jax.random.key(2))
  far = np.array([1e3, -1e3, 3.0, np.nextafter(np.float32(3), 4), -3.0, np.nextafter(np.float32(-3), -4), 0.0])
  x = row.domain(
    jnp.asarray(np.broadcast_to(far.reshape(-1, *[1] * len(row.shape)), (len(far), *row.shape)), jnp.float32)
  )

  def run(parameters, x, method):
    values = getattr(row.make(parameters), method)(x)
    return sum(jnp.sum(jnp.tanh(1e-3 * a)) for a in values), values

  for method in ["forward_and_log_det", "inverse_and_log_det"][: 2 if row.inverse else 1]:
    y = x if method.startswith("forward") else row.make(parameters).forward(x)
    is_float = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    floats = {k: v for k, v in parameters.items() if k == "params"} if "params" in parameters else parameters
    others = {k: v for k, v in parameters.items() if k not in floats}
    assert all(is_float(a) for a in jax.tree.leaves(floats))
    objective = lambda floats, y: run({**floats, **others}, y, method)
    gradients, values = jax.jit(jax.grad(objective, (0, 1), has_aux=True))(floats, y)
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves((values, gradients))), method


@every_inverse
def test_inverse_in_float32(name):
  row = BIJECTORS[name]
  parameters, x = rows(name, dtype=jnp.float32)

  @jax.jit
  def run(parameters, x):
    bijector = row.make(parameters)
    y = bijector.forward(x)
    back = bijector.inverse(y)
    _, moved = jax.jvp(bijector.forward, (x,), (back - x,))  # the error of x times the slope
    return y, bijector.forward(back), moved

  y, again, moved = run(parameters, x)
  assert float(jnp.max(jnp.abs(again - y) / (1 + jnp.abs(y)))) <= 1e-4
  assert float(jnp.max(jnp.abs(moved) / (1 + jnp.abs(y)))) <= 1e-3


@pytest.mark.parametrize("name", [n for n, row in BIJECTORS.items() if not row.inverse])
def test_what_has_no_inverse_says_so(name):
  parameters, x = rows(name, dtype=jnp.float32)
  with pytest.raises(errors.NotAvailableError, match="no closed-form inverse"):
    BIJECTORS[name].make(parameters).inverse(x)


@every
def test_mapping_over_examples_is_the_batch(name):
  row = BIJECTORS[name]
  with jax.enable_x64(True):
    parameters, x = rows(name)
    whole = _measured(name)(parameters, x)
    one = lambda x: row.make(parameters).forward_and_log_det(x)
    y, log_det = jax.jit(jax.vmap(one))(x)
    np.testing.assert_allclose(y, whole["y"], atol=1e-12)
    np.testing.assert_allclose(log_det, whole["log_det"], atol=1e-12)

"""Laws of all bijectors: inverses, log-determinants, vmap, finite values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from helpers.bijectors import BIJECTORS

SLOW = {"autoregressive sequential", "batch norm", "logit of levels", "permutation"}  # others have the same parts
every = pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in BIJECTORS]
)


def rows(name, n=6, dtype=jnp.float64):
  """(parameters, x [n, ...]), with standard normals; among x are 0 and the edges of splines."""
  row = BIJECTORS[name]
  x = 1.5 * np.random.default_rng(1).normal(size=(n, *row.shape))
  x[0], x[1] = 0.0, 3.0
  x[2, ...] = 3.0 - 1e-9
  parameters = jax.tree.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, row.parameters(jax.random.key(5)))
  return parameters, row.domain(jnp.asarray(x, dtype))


def _measured(name):
  """A compiled function: everything that the laws in float64 compare."""
  row = BIJECTORS[name]

  def run(parameters, x):
    bijector = row.make(parameters)
    y, log_det = bijector.forward_and_log_det(x)
    one = lambda x: row.make(parameters).forward(x[None])[0].ravel()
    jacobian = jax.vmap(jax.jacfwd(one))(x).reshape(len(x), -1, x[0].size)
    found = {"y": y, "log_det": log_det, "slogdet": jnp.linalg.slogdet(jacobian)[1], "jacobian": jacobian}
    found["mapped"] = jax.vmap(lambda x: row.make(parameters).forward_and_log_det(x))(x)
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
    np.testing.assert_allclose(found["mapped"][0], found["y"], atol=1e-12)
    np.testing.assert_allclose(found["mapped"][1], found["log_det"], atol=1e-12)
    if not BIJECTORS[name].inverse:
      return
    size = 1 + np.abs(found["y"])
    assert np.max(np.abs(found["again"] - found["y"]) / size) <= 1e-10
    slope = np.abs(found["jacobian"]).max(1).reshape(x.shape)  # of the output that entry moves most
    assert np.max(np.abs(found["x"] - x) * np.minimum(slope, 1) / (1 + np.abs(x))) <= 1e-10
    np.testing.assert_allclose(found["inverse_log_det"], -found["log_det_again"], atol=1e-10)


def _far(row):
  """x [7, ...] at +-1000 of the whole line, at the edges of splines and just beyond, and 0, moved into the domain."""
  far = np.array([1e3, -1e3, 3.0, np.nextafter(np.float32(3), 4), -3.0, np.nextafter(np.float32(-3), -4), 0.0])
  x = np.broadcast_to(far.reshape(-1, *[1] * len(row.shape)), (len(far), *row.shape))
  return row.domain(jnp.asarray(x, jnp.float32))


@every
def test_float32_inverts_and_is_finite_far_away_and_at_edges_with_its_gradients(name):
  row = BIJECTORS[name]
  parameters, x = rows(name, dtype=jnp.float32)
  floats = {"params": parameters["params"]} if "params" in parameters else parameters
  others = {k: v for k, v in parameters.items() if k not in floats}

  def finite(floats, x, method):
    """(values, gradients) of a method."""

    def objective(floats, x):
      values = getattr(row.make({**floats, **others}), method)(x)
      return sum(jnp.sum(jnp.tanh(1e-3 * a)) for a in values), values

    return jax.grad(objective, (0, 1), has_aux=True)(floats, x)

  @jax.jit
  def run(floats, x, far):
    bijector = row.make({**floats, **others})
    found = [finite(floats, far, "forward_and_log_det")]
    if not row.inverse:
      return found, None
    found.append(finite(floats, bijector.forward(far), "inverse_and_log_det"))
    y = bijector.forward(x)
    back = bijector.inverse(y)
    _, moved = jax.jvp(bijector.forward, (x,), (back - x,))  # the error of x times the slope
    return found, (y, bijector.forward(back), moved)

  found, inverted = run(floats, x, _far(row))
  assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(found))
  if inverted:
    y, again, moved = inverted
    assert float(jnp.max(jnp.abs(again - y) / (1 + jnp.abs(y)))) <= 1e-4
    assert float(jnp.max(jnp.abs(moved) / (1 + jnp.abs(y)))) <= 1e-3


@pytest.mark.parametrize("name", [n for n, row in BIJECTORS.items() if not row.inverse])
def test_what_has_no_inverse_says_so(name):
  parameters, x = rows(name, dtype=jnp.float32)
  with pytest.raises(errors.NotAvailableError, match="no closed-form inverse"):
    BIJECTORS[name].make(parameters).inverse(x)

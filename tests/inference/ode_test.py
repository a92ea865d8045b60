"""Solvers of differential equations against scipy's, closed forms and each other; traces of Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from dgm_jax.core import errors
from dgm_jax.inference import ode

W = np.array([[0.3, -1.2, 0.4], [0.9, -0.2, 0.5], [-0.3, 0.7, 0.1]])


def pendulum(t, y):
  """A field without a closed form, which depends on t."""
  return jnp.stack([y[..., 1], -jnp.sin(y[..., 0]) + 0.3 * jnp.cos(2 * t)], -1)


def of_scipy(y, end):
  field = lambda t, y: [y[1], -np.sin(y[0]) + 0.3 * np.cos(2 * t)]
  return scipy.integrate.solve_ivp(field, (0.0, end), y, rtol=1e-12, atol=1e-12).y[:, -1]


@pytest.mark.parametrize("solver,order", [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_fixed_steps_converge_to_scipy_with_their_order(solver, order):
  y = np.array([1.0, -0.5])
  right = of_scipy(y, 2.0)
  with jax.enable_x64(True):
    run = lambda steps: ode.fixed(pendulum, jnp.asarray(y), jnp.linspace(0.0, 2.0, steps + 1), solver)
    gaps = [np.abs(np.asarray(run(steps).y) - right).max() for steps in (20, 40, 80)]
    assert run(20).evaluations == 20 * order
  rates = np.log2(gaps[:-1]) - np.log2(gaps[1:])
  np.testing.assert_allclose(rates, order, atol=0.25)
  assert gaps[-1] < {1: 0.1, 2: 1e-3, 4: 1e-7}[order]


@pytest.mark.parametrize("solver", ode.ADAPTIVE)
def test_adaptive_steps_agree_with_scipy_to_their_tolerance(solver):
  y = np.array([[1.0, -0.5], [0.2, 2.0], [-1.0, 0.0]])
  right = np.stack([of_scipy(row, 2.0) for row in y])
  with jax.enable_x64(True):
    field = lambda t, y, given: given[:, None] * pendulum(t, y)
    solve = jax.jit(lambda tolerance: ode.solve(field, jnp.asarray(y), jnp.ones(3), 0.0, 2.0, solver, 0, tolerance))
    loose, tight = solve(1e-4), solve(1e-9)
  np.testing.assert_allclose(tight.y, right, atol=1e-7)
  assert 1e-9 < np.abs(np.asarray(loose.y) - right).max() < 1e-2
  assert (np.asarray(loose.evaluations) < np.asarray(tight.evaluations)).all()
  assert len(set(np.asarray(tight.evaluations).tolist())) > 1  # steps are those of each example


def test_a_linear_field_ends_at_the_matrix_exponential_and_returns_backwards():
  y = np.array([1.0, -2.0, 0.5])
  with jax.enable_x64(True):
    field, times = lambda t, y: jnp.asarray(W) @ y, jnp.linspace(0.0, 1.0, 41)
    end = ode.fixed(field, jnp.asarray(y), times, "rk4").y
    np.testing.assert_allclose(end, scipy.linalg.expm(W) @ y, atol=2e-8)
    np.testing.assert_allclose(ode.fixed(field, end, times[::-1], "rk4").y, y, atol=2e-8)
    every = ode.trajectory(field, jnp.asarray(y), times, "rk4")
    np.testing.assert_allclose(every[20], scipy.linalg.expm(W / 2) @ y, atol=2e-8)
    np.testing.assert_array_equal(every[-1], end)


def test_the_adjoint_s_gradients_are_those_of_the_steps():
  """Of the initial value, and of a matrix that the field closes over, within the solver's error."""
  y = jnp.asarray([1.0, -2.0, 0.5])
  with jax.enable_x64(True):
    y, w, times = jnp.asarray(np.asarray(y, np.float64)), jnp.asarray(W), jnp.linspace(0.0, 1.0, 41)

    def loss(solve, y, w):
      last, energy = solve(lambda t, s: (jnp.tanh(w @ s[0]) + t, jnp.sum(s[0] ** 2)), (y, jnp.zeros(())), times, "rk4")
      return jnp.sum(jnp.sin(last)) + energy

    unrolled = jax.grad(lambda y, w: loss(lambda *a: ode.fixed(*a).y, y, w), (0, 1))(y, w)
    adjoint = jax.grad(lambda y, w: loss(ode.adjoint, y, w), (0, 1))(y, w)
    for a, b in zip(unrolled, adjoint, strict=True):
      np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
      assert np.abs(a).max() > 0.1


def test_the_exact_trace_is_that_of_autodiff_and_hutchinson_s_is_unbiased():
  field = lambda x: jnp.tanh(x @ jnp.asarray(W, jnp.float32)) * jnp.sum(x, -1, keepdims=True)
  x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
  jacobians = np.stack([np.asarray(jax.jacobian(lambda r: field(r[None])[0])(row)) for row in x])
  value, trace, square = ode.divergence(field, x)
  np.testing.assert_allclose(value, field(x), rtol=1e-6)
  np.testing.assert_allclose(trace, np.trace(jacobians, axis1=1, axis2=2), rtol=1e-5)
  np.testing.assert_allclose(square, np.square(jacobians).sum((1, 2)), rtol=1e-5)
  probes = ode.rademacher(jax.random.split(jax.random.key(0), 4), 20_000, 3)
  assert set(np.unique(probes)) == {-1.0, 1.0}
  _, traces, squares = ode.divergence(field, x, probes)
  for estimates, right in ((traces, trace), (squares, square)):
    error = np.std(estimates, 1) / np.sqrt(20_000)
    assert (np.abs(np.mean(estimates, 1) - right) < 4 * error).all() and (error > 0).all()
  assert (np.asarray(probes[0]) != np.asarray(probes[1])).any()  # a key for each example


@pytest.mark.parametrize("options,named", [
  (("midpoint",), "Unknown solver 'midpoint'"),
  (("rk4", 0), "0 steps of the solver 'rk4'; it takes 1 or more"),
  (("dopri5", 1, 0.0), "tolerance = 0.0 of the solver 'dopri5'; it must be positive, such as 1e-5"),
])  # fmt: skip
def test_solvers_that_cannot_be_are_named(options, named):
  with pytest.raises(errors.UserError, match=named.replace("(", r"\(")):
    ode.check(*options)


def test_an_adaptive_solver_without_its_package_names_the_extra(monkeypatch):
  monkeypatch.setattr(errors, "is_installed", lambda name: False)
  with pytest.raises(
    errors.UserError, match=r"needs the package diffrax, which is not installed: pip install '\.\[ode\]'"
  ):
    ode.check("dopri5", 1, 1e-5)

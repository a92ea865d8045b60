"""FFJORD: log p of a linear field in closed form, regularisers, estimates and gradients that agree, a trained flow."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.models.diffusion import continuous_flow
from dgm_jax.principles import maximum_likelihood
from helpers import known_scores as known

KEY = jax.random.key(0)
A = np.array([[0.4, -0.8], [0.5, -0.3]], "f")


class Linear(continuous_flow.Model):
  """dx/dt = A x: log p(x) = log N(exp(A) x; 0, I) + tr A."""

  def velocity(self, x, t, context=None):
    return x @ A.T


def test_a_linear_field_has_its_density_and_regularisers_in_closed_form():
  x = np.random.default_rng(0).normal(size=(6, 2)).astype("f")
  end = x @ scipy.linalg.expm(A).T
  right = scipy.stats.norm.logpdf(end).sum(1) + np.trace(A)
  model = Linear((2,), train_steps=20, solver_steps=20, kinetic_weight=0.3, jacobian_weight=0.2)
  np.testing.assert_allclose(model.apply({}, {"x": x}, method="log_prob"), right, atol=1e-4)
  objective, metrics = model.apply({}, KEY, {"x": x}, method="objective")
  np.testing.assert_allclose(metrics["log_px"], right, atol=1e-4)
  np.testing.assert_allclose(metrics["jacobian"], np.square(A).sum() / 2, rtol=1e-4)
  times = np.linspace(0, 1, 201)
  speeds = np.stack([np.square(x @ (A @ scipy.linalg.expm(A * t)).T).sum(1) for t in times])
  kinetic = scipy.integrate.simpson(speeds, x=times, axis=0) / 2
  np.testing.assert_allclose(metrics["kinetic"], kinetic, rtol=1e-3)
  np.testing.assert_allclose(objective, right - 0.3 * kinetic - 0.2 * np.square(A).sum() / 2, atol=1e-3)


def parameters(model):
  x = known.draws(16)
  return x, jax.jit(model.init)(KEY, {"x": x})


@pytest.mark.slow  # tests/inference/ode_test.py has both parts
def test_gradients_of_the_adjoint_are_those_of_the_steps_and_of_probes_unbiased():
  model = continuous_flow.Model((2,), hidden=(16,), time_dim=4, train_steps=12, kinetic_weight=0.1, jacobian_weight=0.1)
  x, variables = parameters(model)

  def gradient(model, key):
    loss = lambda v: jnp.mean(model.apply(v, key, {"x": x}, method="objective")[0])
    return jnp.concatenate([jnp.ravel(a) for a in jax.tree.leaves(jax.grad(loss)(variables))])

  unrolled = np.asarray(jax.jit(lambda: gradient(model, KEY))())
  adjoint = np.asarray(jax.jit(lambda: gradient(model.clone(gradient="adjoint"), KEY))())
  np.testing.assert_allclose(adjoint, unrolled, rtol=5e-3, atol=1e-3 * np.abs(unrolled).max())
  few = model.clone(trace="hutchinson", train_steps=6)
  exact = np.asarray(jax.jit(lambda: gradient(model.clone(train_steps=6), KEY))())
  noisy = np.asarray(jax.jit(jax.vmap(lambda key: gradient(few, key)))(jax.random.split(KEY, 1000)), np.float64)
  error = noisy.std(0) / 1000**0.5
  assert (np.abs(noisy.mean(0) - exact) < 4.5 * error + 1e-4).all() and error.max() > 1e-4


def test_probes_give_the_log_p_of_the_exact_trace_within_their_error():
  model = continuous_flow.Model((2,), hidden=(16,), time_dim=4, solver_steps=12, num_probes=2000)
  x, variables = parameters(model)
  exact, zero = model.apply(variables, KEY, {"x": x}, method="log_prob_estimate")
  log_px, error = jax.jit(
    lambda: model.clone(trace="hutchinson").apply(variables, KEY, {"x": x}, method="log_prob_estimate")
  )()
  assert (np.asarray(zero) == 0).all() and (np.abs(log_px - exact) < 4 * error).all() and (error > 0).all()


def test_draws_return_to_the_noise_they_came_from():
  model = continuous_flow.Model((2,), hidden=(16,), time_dim=4, draw_solver="rk4", draw_steps=40)
  _, variables = parameters(model)
  z = jax.random.normal(KEY, (9, 2))
  path = model.apply(variables, z, None, jnp.linspace(1.0, 0.0, 41), method="integrate")
  from dgm_jax.inference import ode

  field = lambda t, x: model.apply(variables, x, t, method="velocity")
  np.testing.assert_allclose(ode.fixed(field, path[-1], jnp.linspace(0.0, 1.0, 41), "rk4").y, z, atol=1e-4)


@pytest.mark.slow
def test_training_by_maximum_likelihood_falls_below_a_tenth_of_a_nat():
  """With train_steps=4 and 1,600 updates the net learnt to fool the solver instead: a loss of -62 nats."""
  model = continuous_flow.Model((2,), hidden=(32, 32), time_dim=4, train_steps=8, solver_steps=20)
  system = maximum_likelihood.make(model, optax.adam(optax.cosine_decay_schedule(5e-3, 1200)))
  state = jax.jit(system.init)(KEY, {"x": known.draws(2)}, {})
  data = jnp.asarray(known.draws(20_000, 1))

  def step(state, key):
    rows = jax.random.randint(key, (128,), 0, len(data))
    return system.train_step(state, key, {"x": data[rows]})[0], None

  state = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(1), 1200))[0])(state)
  x = known.draws(3000, 2)
  gap = known.log_p(x) - np.asarray(jax.jit(system.eval_step)(state, KEY, {"x": x})["log_px"], np.float64)
  assert -4 * gap.std() / 3000**0.5 < gap.mean() < 0.1


@pytest.mark.parametrize("options,named", [
  ({"train_solver": "dopri5"}, "Unknown train_solver 'dopri5'"),
  ({"gradient": "reverse"}, "gradient = 'reverse'; it must be one of unrolled, adjoint"),
  ({"kinetic_weight": -1.0}, "kinetic_weight = -1.0; it must be 0 or more"),
])  # fmt: skip
def test_options_that_cannot_be_are_named(options, named):
  with pytest.raises(errors.UserError, match=named):
    jax.eval_shape(continuous_flow.Model((3,), **options).init, KEY, {"x": np.zeros((2, 3), "f")})

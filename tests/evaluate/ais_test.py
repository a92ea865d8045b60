"""Annealed importance sampling and its calibration, on models with known p(x)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions import normals
from dgm_jax.evaluate import ais
from dgm_jax.inference import annealing, hmc
from dgm_jax.models.vae import dlgm
from helpers import linear_gaussian as lg
from helpers import tables

N = 40_000  # chains, one for each copy of a single x
MODEL = lg.model(2, shift=0.1, stretch=1.2)
X = lg.draws(MODEL, 1)
LOG_PX = MODEL.exact(X).log_px


def path(start):
  return ais.make_path(MODEL.bind({}), {"x": np.broadcast_to(X, (N, 3)).astype("f")}, start)


@functools.partial(jax.jit, static_argnums=(1, 3))
def run(key, start, step_sizes, num_leapfrog=3):
  """(log w, z, acceptance) of N chains, with one temperature for each step size."""
  key_start, key_run = jax.random.split(key)
  p = path(start)
  return annealing.anneal(
    key_run, p.sample(key_start), p, annealing.schedule(len(step_sizes)), step_sizes, num_leapfrog
  )


@pytest.mark.parametrize("start", ais.STARTS)
def test_one_temperature_is_importance_sampling(start):
  p = path(start)
  key_start, _ = jax.random.split(lg.KEY)
  z = p.sample(key_start)
  log_w = run(lg.KEY, start, jnp.array([0.5]))[0]
  np.testing.assert_allclose(log_w, p.log_target(z) - p.log_start(z), rtol=1e-5, atol=1e-5)
  if start == "normal":
    np.testing.assert_allclose(p.log_start(z), normals.standard_normal(2).log_prob(z), rtol=1e-6)


@pytest.mark.parametrize("start", ais.STARTS)
@pytest.mark.parametrize("step_size", [0.3, 1.0])  # the acceptance is 0.95 and 0.03 .. 0.3
def test_p_hat_is_unbiased_for_few_temperatures_and_any_fixed_step_size(start, step_size):
  """E[p_hat] = p(x) within 5 standard errors, hence E[log p_hat] <= log p(x), and P(log p_hat > log p + b) <= e^-b."""
  log_w, _, acceptance = run(jax.random.key(1), start, jnp.full(4, step_size))
  assert (acceptance.mean() > 0.9) == (step_size == 0.3)
  difference = np.asarray(log_w, np.float64) - LOG_PX
  assert np.abs(lg.in_errors(np.exp(difference), 1.0)) < 5
  assert lg.in_errors(difference, 0.0) < -5
  for b in (0.5, 1.0, 2.0):
    assert (difference > b).mean() < np.exp(-b)


def test_step_sizes_adapted_in_the_scored_run_bias_p_hat():
  """The error that the pilot run avoids: the same sampler with step sizes that each chain adapts during the run."""
  p, betas = path("normal"), annealing.schedule(16)

  def one(carry, inputs):
    z, step_size, log_w = carry
    key, before, beta = inputs
    log_w += (beta - before) * (p.log_target(z) - p.log_start(z))
    z, acceptance = hmc.step(key, z, lambda z: p.log_prob(beta, z), step_size, 3)
    return (z, step_size * jnp.exp(0.5 * (acceptance - 0.65)), log_w), None

  @jax.jit
  def adapting(key):
    key_start, key_run = jax.random.split(key)
    carry = p.sample(key_start), jnp.full(N, 0.5), jnp.zeros(N)
    return jax.lax.scan(one, carry, (jax.random.split(key_run, 16), betas[:-1], betas[1:]))[0][2]

  assert lg.in_errors(np.exp(np.asarray(adapting(lg.KEY), np.float64) - LOG_PX), 1.0) > 6
  frozen = run(lg.KEY, "normal", jnp.full(16, 0.5))[0]
  assert np.abs(lg.in_errors(np.exp(np.asarray(frozen, np.float64) - LOG_PX), 1.0)) < 5


def test_the_scored_run_does_not_use_its_acceptance(monkeypatch):
  """The transitions are the same for every reported acceptance: nothing adapts."""
  true_step, log_w = hmc.step, []
  for reported in (0.0, 1.0):
    monkeypatch.setattr(hmc, "step", lambda *args: (true_step(*args)[0], jnp.full(N, reported)))
    p = path("normal")
    log_w.append(annealing.anneal(lg.KEY, p.sample(lg.KEY), p, annealing.schedule(3), jnp.full(3, 0.5), 2)[0])
  np.testing.assert_array_equal(*log_w)


def test_the_pilot_adapts_the_step_sizes_and_the_final_z_follow_the_posterior():
  """The acceptance is near 0.65 although the first step size is far too small; the weighted z have p(z|x)'s moments."""
  p = ais.make_path(MODEL.bind({}), {"x": X.astype("f")}, "normal")
  step_sizes = jax.jit(lambda k: annealing.tune(k, p, annealing.schedule(30), 3, 32, 3))(lg.KEY)[:, 0]
  log_w, z, acceptance = run(jax.random.key(1), "normal", step_sizes)
  assert 0.55 < acceptance.mean() < 0.75
  w = np.exp(np.asarray(log_w, np.float64) - LOG_PX)
  assert np.abs(lg.in_errors(w, 1.0)) < 5
  assert w.std() < 1
  exact = MODEL.exact(X)
  d = np.asarray(z, np.float64) - exact.mean[0]
  assert (np.abs(lg.in_errors(w[:, None] * d, 0.0)) < 5).all()
  assert (np.abs(lg.in_errors(w[:, None] * (d**2 - np.diag(exact.covariance)), 0.0)) < 5).all()


def settings(num_temperatures):
  return {"num_temperatures": num_temperatures, "num_chains": 4, "num_leapfrog": 3, "pilot_updates": 3}


@pytest.mark.parametrize(("start", "temperatures"), [("normal", (2, 16)), ("q", (2,))])
def test_bdmc_brackets_log_px_and_its_gap_shrinks_with_more_temperatures(start, temperatures):
  model = lg.model(2, shift=0.3, stretch=1.5)
  simulated = ais.simulate(model, lg.state(), lg.KEY, 2000)
  log_px = model.exact(simulated["x"]).log_px
  gaps = []
  for num_temperatures in temperatures:
    bdmc = ais.make_bdmc(lg.experiment(model), 2000, start=start, **settings(num_temperatures))
    bounds = {name: np.asarray(v, np.float64) for name, v in bdmc(lg.state(), lg.KEY, simulated).items()}
    assert lg.in_errors(bounds["lower"] - log_px, 0.0) < -4
    assert lg.in_errors(bounds["upper"] - log_px, 0.0) > 4
    assert np.abs(lg.in_errors(np.exp(bounds["lower"] - log_px), 1.0)) < 5
    assert np.abs(lg.in_errors(np.exp(log_px - bounds["upper"]), 1.0)) < 5
    gaps.append(np.mean(bounds["upper"] - bounds["lower"]))
  assert gaps[-1] < 0.5 * gaps[0] or len(gaps) == 1


def test_backward_weights_are_unbiased_for_one_over_px():
  """From exact posterior draws, E[w] = 1 / p(x), with the step sizes of the forward run."""
  exact = MODEL.exact(X)
  z = np.random.default_rng(0).multivariate_normal(exact.mean[0], exact.covariance, N).astype("f")
  step_sizes = jnp.array([0.2, 0.4, 0.6, 0.8])
  one = ais.Settings(num_temperatures=4, num_chains=1, num_leapfrog=3)
  log_w = jax.jit(lambda k, z: ais._backward(k, z, path("normal"), step_sizes, one))(lg.KEY, z)[0]
  assert np.abs(lg.in_errors(np.exp(np.asarray(log_w, np.float64) + LOG_PX), 1.0)) < 5


def test_each_temperature_has_the_same_step_size_in_both_directions(monkeypatch):
  pairs = []

  def spy(key, z, path, betas, step_sizes, num_leapfrog):
    pairs.append(dict(zip(np.asarray(betas[1:]).tolist(), np.asarray(step_sizes).tolist(), strict=True)))
    return jnp.zeros(1), z, jnp.zeros(1)

  monkeypatch.setattr(ais, "anneal", spy)
  step_sizes, few = jnp.array([0.1, 0.2, 0.3, 0.4]), ais.Settings(num_temperatures=4, num_chains=1)
  ais._forward(lg.KEY, path("normal"), step_sizes, few)
  ais._backward(lg.KEY, jnp.zeros((N, 2)), path("normal"), step_sizes, few)
  forward, backward = pairs
  assert backward.pop(0.0) == forward[min(forward)]
  assert forward.pop(1.0) == pytest.approx(0.4)
  assert backward == forward


def test_simulated_pairs_follow_the_joint_distribution():
  simulated = ais.simulate(MODEL, lg.state(), lg.KEY, N)
  joint = np.concatenate([simulated["z"], simulated["x"]], 1).astype(np.float64)
  w = np.asarray(MODEL.w)
  expected = np.block([[np.eye(2), w.T], [w, w @ w.T + MODEL.s**2 * np.eye(3)]])
  centred = joint - np.concatenate([np.zeros(2), MODEL.b])
  assert (np.abs(lg.in_errors(centred, 0.0)) < 5).all()
  assert (
    np.abs(lg.in_errors((centred[:, :, None] * centred[:, None, :]).reshape(N, 25), expected.reshape(25))) < 5
  ).all()


@pytest.mark.slow
def test_evaluate_reports_the_bound_its_calibration_and_their_limits():
  x = lg.draws(MODEL, 30).astype("f")
  options = settings(16) | {"num_chains": 20, "chunk": 10}
  results = ais.evaluate(
    lg.experiment(MODEL), lg.state(), lg.KEY, {"x": x}, num_examples=20, bdmc_examples=20, batch_size=20, **options
  )
  assert results["ais_log_px"] == pytest.approx(MODEL.exact(x[:20]).log_px.mean(), abs=0.15)
  assert results["ais_nll"] == -results["ais_log_px"]
  assert 5 < results["ais_ess"] <= 20
  assert 0.4 < results["ais_acceptance"] < 0.9
  assert results["bdmc_gap"] == pytest.approx(results["bdmc_upper"] - results["bdmc_lower"], abs=1e-5)
  assert "stochastic lower bounds" in results["ais_note"]
  assert "no certificate for test data" in results["bdmc_note"]


def test_hierarchies_are_annealed_from_q():
  """With two stochastic layers, z a tuple, E[p_hat] agrees with importance sampling."""
  model = dlgm.Model((3,), latent_dims=(2, 1), hidden=((4,), (4,)))
  batch = {"x": np.tile(np.float32([[0, 1, 1]]), (4000, 1))}

  @jax.jit
  def weights(key):
    variables = jax.tree.map(lambda a: 0.6 * a, model.init(key, batch))  # q near p(z|x)
    p = ais.make_path(model.bind(variables), batch, "q")
    keys = jax.random.split(key, 3)
    z = p.sample(keys[0])
    log_w = annealing.anneal(keys[1], p.sample(keys[2]), p, annealing.schedule(3), jnp.full(3, 0.7), 2)[0]
    return jnp.exp(p.log_target(z) - p.log_start(z)), jnp.exp(log_w)

  plain, annealed = (np.asarray(w, np.float64) for w in weights(jax.random.key(3)))
  error = np.sqrt((plain.var() + annealed.var()) / 4000)
  assert abs(plain.mean() - annealed.mean()) < 5 * error
  assert error < 0.1 * plain.mean()


def test_models_that_bdmc_cannot_simulate_raise_user_errors():
  class Shifted(lg.Model):
    def log_joint(self, batch, z):
      log_px_z, log_pz = super().log_joint(batch, z)
      return log_px_z, log_pz + z[:, 0]

  deep = dlgm.Model(tables.SHAPE, latent_dims=(2, 1), hidden=((4,), (4,)))
  with pytest.raises(errors.UserError, match=r"evaluate.ais.bdmc_examples needs a model with z ~ N\(0, I\)"):
    ais.simulate(deep, lg.state(), lg.KEY, 3)
  with pytest.raises(errors.UserError, match=r"whose prior is N\(0, I\)"):
    ais.simulate(Shifted(MODEL.w, MODEL.b), lg.state(), lg.KEY, 3)


@pytest.mark.parametrize(
  "options", [{"num_temperatures": 0}, {"num_chains": 0}, {"chunk": 0}, {"num_examples": 0}, {"bdmc_examples": -1}]
)
def test_invalid_options_raise_user_errors(options):
  with pytest.raises(errors.UserError, match=f"evaluate.ais.{next(iter(options))} = "):
    ais.check(**options)
  with pytest.raises(errors.UserError, match="Choices: normal, q"):
    ais.check(start="Q")

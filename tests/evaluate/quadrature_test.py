"""Quadrature against closed forms, and as the reference for importance sampling and AIS on a trained VAE."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax.core import errors
from dgm_jax.evaluate import ais, quadrature
from dgm_jax.inference import log_terms
from dgm_jax.models.vae import dlgm, vae
from dgm_jax.principles.latent import latent
from dgm_jax.training import programs
from helpers import linear_gaussian as lg
from helpers import tables


def grid(model, x, num_points=100, radius=8.0, chunk=1000):
  fn = jax.jit(lambda x: quadrature.posterior(model.bind({}), {"x": x}, num_points, radius, chunk))
  return jax.tree.map(np.asarray, fn(jnp.asarray(x)))


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_quadrature_equals_the_closed_forms_in_float64(latent_dim):
  """log p(x), the posterior's moments, KL(q || p(z|x)) and the ELBO, for a q that differs from the posterior."""
  model = lg.model(latent_dim, shift=0.1, stretch=1.3)
  x = lg.draws(model, 5)
  exact = model.exact(x)
  with jax.enable_x64(True):
    got = grid(model, x)
  np.testing.assert_allclose(got.log_px, exact.log_px, rtol=0, atol=1e-10)
  np.testing.assert_allclose(got.mean, exact.mean, rtol=0, atol=1e-10)
  np.testing.assert_allclose(got.covariance, np.broadcast_to(exact.covariance, got.covariance.shape), atol=1e-10)
  np.testing.assert_allclose(got.kl, np.full(5, model.kl()), rtol=0, atol=1e-9)
  np.testing.assert_allclose(got.elbo, exact.log_px - model.kl(), rtol=0, atol=1e-9)


def test_quadrature_equals_the_closed_forms_in_float32_in_any_chunks():
  """With chunks that do not divide the grid, and a narrow posterior far from 0, whose variance must be accurate."""
  model = lg.model(2, shift=0.01, s=0.05)
  x = (lg.draws(model, 5) + np.asarray(model.w) @ [4.0, 3.0]).astype("f")
  exact = model.exact(x)
  got, other = (grid(model, x, 400, chunk=chunk) for chunk in (1000, 1777))
  np.testing.assert_allclose(got.log_px, exact.log_px, rtol=1e-5)
  np.testing.assert_allclose(got.mean, exact.mean, atol=1e-5)
  np.testing.assert_allclose(got.covariance, np.broadcast_to(exact.covariance, (5, 2, 2)), rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(got.kl, np.full(5, model.kl()), atol=2e-4)
  for a, b in zip(got, other, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-4)


def test_the_error_is_estimated():
  """Above the true error if the grid nearly resolves the posterior; of order 1 if it does not, or truncates it."""
  model = lg.model(2, stretch=0.8, s=0.3)
  x = lg.draws(model, 5)
  exact = model.exact(x)
  errors_made = lambda got: (np.abs(got.log_px - exact.log_px), np.abs(got.elbo - (exact.log_px - model.kl())))
  with jax.enable_x64(True):
    for num_points in (30, 40):
      got = grid(model, x, num_points)
      made, made_elbo = errors_made(got)
      assert made.max() > 1e-9
      assert (got.error > made).all()
      assert (got.elbo_error > made_elbo).all()
    for num_points, radius in ((12, 8.0), (16, 8.0), (40, 0.7)):
      got = grid(model, x, num_points, radius)
      wrong = errors_made(got)[0] > 0.1
      assert wrong.any()
      assert (got.error[wrong] > 0.1).all()
    assert (grid(model, x, 200).error < 1e-6).all()


def test_densities_of_a_vae_integrate_to_one():
  """p(x) sums to 1 over the 8 images of 3 binary pixels."""
  model = vae.Model((3,), latent_dim=2, hidden=(8,))
  x = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(-1, 3).astype("f")
  variables = jax.tree.map(lambda a: 2.0 * a, model.init(jax.random.key(0), {"x": x}))
  got = jax.jit(lambda v: quadrature.posterior(model.bind(v), {"x": x}, 100))(variables)
  assert np.ptp(got.log_px) > 0.5
  assert np.exp(got.log_px).sum() == pytest.approx(1.0, abs=1e-5)


def test_the_decoder_runs_once_for_each_point_not_for_each_pair():
  """With 7 points and 5 images, the decoder's matrix products have an axis for the points only."""
  model = vae.Model(tables.SHAPE, latent_dim=2, hidden=(32,))
  batch = {"x": tables.TEST["x"][:5]}
  run = lambda key: quadrature.posterior(model.bind(model.init(key, batch)), batch, 20, chunk=7)
  lines = str(jax.make_jaxpr(run)(lg.KEY)).splitlines()
  shapes = {line.split(":")[1].split(" ")[0] for line in lines if "dot_general" in line}
  assert "f32[7,1,32]" in shapes  # the hidden layer
  assert not {shape for shape in shapes if "7,5" in shape and shape.endswith("32]")}
  assert not {shape for shape in shapes if "5,7" in shape and shape.endswith("32]")}


@pytest.fixture(scope="module")
def trained():
  """A VAE with L = 2 trained on the toy patterns, 20 test images, and the values from the grid."""
  model = vae.Model(tables.SHAPE, latent_dim=2, hidden=(32,))
  system = latent.make(model, optax.adam(1e-2), bound="iwae", num_samples=10)  # a q that covers the posterior
  chunk = jax.jit(programs.make_train_chunk(system, tables.identity, 64, 400))
  state, _ = chunk(tables.init(system), lg.KEY, tables.TRAIN)
  arrays = {"x": tables.TEST["x"][:20]}
  run = quadrature.make_log_px(lg.experiment(model), num_points=200, batch_size=20)
  return model, state, arrays, run(state, lg.KEY, arrays)


def test_importance_sampling_agrees_with_quadrature_on_a_trained_vae(trained):
  model, state, arrays, exact = trained
  assert exact["error"].max() < 1e-3
  assert exact["kl"].mean() > 1  # the posterior is far from q
  variables = {"params": state.params}
  log_w = jax.jit(lambda k: log_terms.log_terms(model, variables, k, arrays, 20_000, 1000).w)(jax.random.key(9))
  w = np.exp(np.asarray(log_w, np.float64) - np.asarray(exact["log_px"], np.float64))
  error = w.std(0) / np.sqrt(len(w))  # of log p_hat, by the delta method
  assert error.max() < 0.2
  assert (np.abs(w.mean(0) - 1) < 5 * error).all()
  spread = np.asarray(log_w).std(0) / np.sqrt(len(log_w))
  assert (np.abs(log_w.mean(0) - exact["elbo"]) < 5 * spread + 1e-3).all()


def test_ais_agrees_with_quadrature_on_a_trained_vae(trained):
  """log p_hat is slightly too low, and hardly ever too high: P(log p_hat > log p + b) <= exp(-b)."""
  model, state, arrays, exact = trained
  run = ais.make_log_px(lg.experiment(model), 20, num_temperatures=100, num_chains=16, num_leapfrog=3, pilot_updates=3)
  got = run(state, lg.KEY, arrays)
  error = np.sqrt(1 / got["ess"] - 1 / 16)
  difference = np.asarray(got["log_px"] - exact["log_px"])
  assert abs(difference.mean()) < 5 * np.sqrt((error**2).sum()) / 20 + 0.01
  assert difference.max() < 1.0
  assert error.mean() < 0.3


def test_evaluate_reports_means_over_the_first_examples():
  model = lg.model(2, shift=0.2)
  x = lg.draws(model, 9).astype("f")
  results = quadrature.evaluate(
    lg.experiment(model), lg.state(), lg.KEY, {"x": x}, num_examples=5, num_points=60, batch_size=3
  )
  assert results["exact_examples"] == 5
  assert results["exact_log_px"] == pytest.approx(model.exact(x[:5]).log_px.mean(), abs=1e-5)
  assert results["exact_nll"] == -results["exact_log_px"]
  assert results["exact_kl"] == pytest.approx(model.kl(), abs=1e-5)
  assert results["exact_log_px_error"] < 1e-4


class Unknown(lg.Model):
  """log q is known only at q's own draws."""

  def infer(self, batch):
    q = super().infer(batch)

    def log_prob(z):
      raise NotImplementedError("no inverse")

    return types.SimpleNamespace(sample_and_log_prob=q.sample_and_log_prob, log_prob=log_prob)


def test_log_px_needs_no_log_q_but_the_elbo_does():
  known = lg.model(2)
  unknown = Unknown(known.w, known.b)
  x = lg.draws(known, 5).astype("f")
  options = {"num_points": 60, "batch_size": 5}
  a, b = (quadrature.evaluate(lg.experiment(m), lg.state(), lg.KEY, {"x": x}, **options) for m in (known, unknown))
  jax.tree.map(np.testing.assert_array_equal, {name: a["values"][name] for name in b["values"]}, b["values"])
  assert {name: a[name] for name in b if name != "values"} == {name: v for name, v in b.items() if name != "values"}
  assert set(a) - set(b) == {"exact_elbo", "exact_kl", "exact_elbo_error"}
  with pytest.raises(errors.UserError, match="log q at any z: no inverse"):
    ais.make_path(unknown.bind({}), {"x": x}, "q")


def test_more_than_two_dimensions_raise_user_errors():
  deep = dlgm.Model(tables.SHAPE, latent_dims=(1, 1), hidden=((4,), (4,)))
  wide = vae.Model(tables.SHAPE, latent_dim=3, hidden=(4,))
  for model, why in ((wide, "3 of type float32"), (deep, "several layers")):
    run = lambda key: quadrature.posterior(model.bind(model.init(key, tables.TEST)), tables.TEST)
    with pytest.raises(errors.UserError, match=f"1 or 2 real latent variables; this model has {why}"):
      jax.eval_shape(run, lg.KEY)


@pytest.mark.parametrize(
  "options", [{"num_points": 3}, {"radius": 0.0}, {"chunk": 0}, {"batch_size": 0}, {"num_examples": 0}]
)
def test_invalid_options_raise_user_errors(options):
  with pytest.raises(errors.UserError, match=f"evaluate.quadrature.{next(iter(options))} = "):
    quadrature.check(**options)

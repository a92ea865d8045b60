"""Inference gaps on linear-Gaussian models, where each gap is known."""

import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.distributions import chain
from dgm_jax.evaluate import gaps
from dgm_jax.inference import log_terms
from dgm_jax.models.vae import vae
from helpers import linear_gaussian as lg

FIT = {"num_steps": 400, "num_samples": 8, "lr": 3e-2}
B = 30


def fit(model, x):
  """(means, scales, L[q*] from 10 draws), each [B, ...], of the local posteriors."""
  batch = {"x": jnp.asarray(x, jnp.float32)}
  log_joint = lambda z: sum(model.log_joint(batch, z))

  @jax.jit
  def run(key):
    local = gaps.fit_local(key, model.infer(batch), log_joint, **FIT)
    z, log_q = jax.vmap(lambda k: gaps._sample_local(k, local))(jax.random.split(key, 10))
    return local[0], jnp.exp(local[1]), jax.vmap(log_joint)(z) - log_q

  return jax.tree.map(np.asarray, run(lg.KEY))


def test_the_local_optimum_is_the_posterior_if_the_family_contains_it():
  """W'W diagonal: q* = p(z|x), so log w = log p(x) for every draw and the approximation gap is 0."""
  model = lg.model(2, orthogonal=True, shift=0.5, stretch=2.0)
  x = lg.draws(model, B)
  exact = model.exact(x)
  loc, scale, log_w = fit(model, x)
  np.testing.assert_allclose(loc, exact.mean, atol=1e-3)
  np.testing.assert_allclose(scale, np.broadcast_to(np.sqrt(np.diag(exact.covariance)), scale.shape), atol=1e-3)
  np.testing.assert_allclose(log_w, np.broadcast_to(exact.log_px, log_w.shape), atol=5e-3)


def test_the_local_optimum_of_a_correlated_posterior_has_the_inverse_precisions():
  """argmin KL(q || N(m, P^-1)) over diagonal normals is N(m, diag(P)^-1) (Bishop, 2006, section 10.1.2)."""
  model = lg.model(2, shift=0.3, stretch=1.5)
  x = lg.draws(model, B)
  exact = model.exact(x)
  loc, scale, _ = fit(model, x)
  precision = np.linalg.inv(exact.covariance)
  assert np.abs(loc - exact.mean).mean() < 0.02
  np.testing.assert_allclose(scale, np.broadcast_to(np.diag(precision) ** -0.5, scale.shape), rtol=0.1)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_gaps_are_the_two_divergences(orthogonal):
  """approximation = KL(q* || p(z|x)) = 1/2 (sum log P_ll - log det P); the sum of both gaps is KL(q || p(z|x))."""
  model = lg.model(2, orthogonal=orthogonal, shift=0.3, stretch=1.5)
  x = lg.draws(model, B).astype("f")
  precision = np.linalg.inv(model.exact(x).covariance)
  approximation = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
  results = gaps.evaluate(
    lg.experiment(model),
    lg.state(),
    lg.KEY,
    {"x": x},
    log_px="quadrature",
    log_px_options={"num_points": 80, "batch_size": B},
    batch_size=B,
    elbo_samples=5000,
    **FIT,
  )
  assert results["gaps_log_px"] == pytest.approx(model.exact(x).log_px.mean(), abs=1e-4)
  sampling = 5 * max(results["gaps_inference_stderr"], 1e-5)  # the gaps are equal over x: this is sampling noise
  assert sampling < 0.05
  assert results["gaps_inference"] == pytest.approx(model.kl(), abs=sampling)
  assert results["gaps_approximation"] == pytest.approx(approximation, abs=1e-4 if orthogonal else 0.01)
  assert results["gaps_amortisation"] == pytest.approx(model.kl() - approximation, abs=sampling + 0.01)
  assert results["gaps_approximation"] + results["gaps_amortisation"] == pytest.approx(
    results["gaps_inference"], abs=1e-5
  )
  if not orthogonal:
    assert approximation > 0.05  # else nothing would be tested


def test_elbo_iwae_and_log_px_are_in_order():
  """Means over x: L[q] < IWAE-2 < IWAE-10 < log p(x), with differences of more than 3 standard errors."""
  model = lg.model(2, shift=0.3, stretch=1.5)
  x = lg.draws(model, 2000).astype("f")
  log_w = log_terms.log_terms(model, {}, lg.KEY, {"x": x}, 10).w
  iwae = lambda k: jax.nn.logsumexp(log_w.reshape(-1, k, 2000), 1).mean(0) - np.log(k)
  bounds = [iwae(1), iwae(2), iwae(10), model.exact(x).log_px]
  for low, high in itertools.pairwise(bounds):
    difference = np.asarray(high - low, np.float64)
    assert difference.mean() > 3 * difference.std() / np.sqrt(2000)


@pytest.mark.slow  # both estimators have tests of their own
def test_log_px_by_importance_sampling_or_ais():
  model = lg.model(2, shift=0.3, stretch=1.5)
  x = lg.draws(model, 2 * B).astype("f")
  options = {
    "importance_sampling": {"num_samples": 2000, "batch_size": B},
    "ais": {"num_temperatures": 20, "num_chains": 50, "num_leapfrog": 3, "chunk": 50, "batch_size": B},
  }
  for name, log_px_options in options.items():
    results = gaps.evaluate(
      lg.experiment(model),
      lg.state(),
      lg.KEY,
      {"x": x},
      log_px=name,
      log_px_options=log_px_options,
      num_examples=B,
      num_steps=2,
      elbo_samples=10,
      chunk=10,
      batch_size=B,
    )
    assert results["gaps_log_px"] == pytest.approx(model.exact(x[:B]).log_px.mean(), abs=0.05)
    assert results["gaps_examples"] == B
    assert results["gaps_log_px_by"] == name


def test_a_hierarchy_is_fitted_by_a_normal_for_every_layer():
  """z = (z_1, z_2) with an independent normal posterior each: q* finds both."""
  zero, one = jnp.zeros((4, 1)), jnp.ones((4, 1))
  normal = lambda loc, scale: distrax.MultivariateNormalDiag(loc, scale)
  q = chain.Chain(normal(zero, one), lambda z: normal(jnp.concatenate([z, z], 1), jnp.ones((4, 2))))
  target = normal(zero + 2, 0.5 * one), normal(jnp.full((4, 2), -1.0), jnp.full((4, 2), 0.3))
  log_joint = lambda z: sum(p.log_prob(a) for p, a in zip(target, z, strict=True))
  loc, log_scale = jax.jit(lambda k: gaps.fit_local(k, q, log_joint, 1000, 8, 5e-2))(lg.KEY)
  for p, a, b in zip(target, loc, log_scale, strict=True):
    np.testing.assert_allclose(a, p.mean(), atol=1e-3)
    np.testing.assert_allclose(jnp.exp(b), p.stddev(), atol=1e-3)


def linear_vae(posterior, **options):
  """(model, state, W [L, D], b [D]): z ~ N(0, I), x | z ~ N(W'z + b, I / 4), an untrained linear encoder."""
  net = {"latent_dim": 2, "hidden": (), "likelihood": "gaussian_fixed", "likelihood_args": {"scale": 0.5}}
  model = vae.Model((3,), posterior=posterior, posterior_args=options, **net)
  params = model.init(lg.KEY, {"x": jnp.zeros((2, 3))})["params"]
  flat, tree = jax.tree.flatten(params["decoder"])
  w = jnp.array([[1.0, 0.6, 0.2], [0.9, 0.8, -0.1]])
  params = {**params, "decoder": jax.tree.unflatten(tree, [w if a.ndim == 2 else a for a in flat])}
  if posterior == "iaf":  # zero output weights make q a diagonal normal, for every output of the encoder
    params["qz_x"] = {name: 0 * a if name.startswith("out_0") else a for name, a in params["qz_x"].items()}
  return model, lg.state(params), np.asarray(w, np.float64), np.asarray(next(a for a in flat if a.ndim == 1))


@pytest.mark.parametrize(
  ("posterior", "options", "kept"),
  [
    ("diagonal", {}, 1.0),
    pytest.param("full", {}, 0.0, marks=pytest.mark.slow),
    pytest.param("iaf", {"hidden": 16, "num_layers": 1}, 0.1, marks=pytest.mark.slow),
  ],
)
def test_the_approximation_gap_of_the_models_own_family(posterior, options, kept):
  """For a correlated normal posterior: the gap of diagonal normals, none for full normals, a small one for a flow."""
  model, state, w, b = linear_vae(posterior, **options)
  x = np.tile((np.random.default_rng(0).normal(size=(4, 2)) @ w + b).astype("f"), (2, 1))
  precision = np.eye(2) + w @ w.T / 0.25
  diagonal = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
  fit = {"num_steps": 600, "num_samples": 16, "lr": 5e-2, "elbo_samples": 2000, "batch_size": 8, "own_family": True}
  exact = {"log_px": "quadrature", "log_px_options": {"num_points": 80, "batch_size": 8}}
  found = gaps.evaluate(lg.experiment(model), state, lg.KEY, {"x": x}, **exact, **fit)
  values, error = found["values"], 5 * np.sqrt(2 * diagonal / fit["elbo_samples"])
  log_px = scipy.stats.multivariate_normal(b, w.T @ w + 0.25 * np.eye(3)).logpdf(x)
  np.testing.assert_allclose(values["gaps_log_px"], log_px, atol=1e-3)
  assert diagonal > 0.3
  assert np.all(values["gaps_inference"] > 0.5)  # where the fit starts
  if kept in (0.0, 1.0):
    np.testing.assert_allclose(values["gaps_approximation"], kept * diagonal, atol=error * kept + 0.05 * diagonal)
  assert found["gaps_approximation"] < kept * diagonal + 0.02
  assert found["gaps_approximation"] + found["gaps_amortisation"] == pytest.approx(found["gaps_inference"], abs=1e-4)
  np.testing.assert_allclose(log_px - values["gaps_elbo_local"], diagonal, atol=error)
  assert np.all(values["gaps_elbo_own"][:4] != values["gaps_elbo_own"][4:])  # the same x, other draws


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"log_px": "iwae"}, "Choices: ais, importance_sampling, quadrature"),
    ({"log_px": "ais", "log_px_options": {"num_chains": 0}}, "evaluate.ais.num_chains = 0"),
    ({"num_steps": 0}, "evaluate.gaps.num_steps = 0"),
    ({"lr": 0.0}, "evaluate.gaps.lr = 0"),
  ],
)
def test_invalid_options_raise_user_errors(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    gaps.check(**options)


def test_own_family_needs_a_model_with_proposal():
  with pytest.raises(errors.UserError, match="own_family needs a model with encoder_outputs and proposal"):
    gaps.make_elbos(lg.experiment(lg.model(2)), own_family=True)

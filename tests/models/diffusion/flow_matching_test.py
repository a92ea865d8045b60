"""Flow matching: exact velocities give the exact log p and draws; losses, pairs, guidance; a trained net on a plane."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from dgm_jax.core import errors
from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models.diffusion import flow_matching
from dgm_jax.principles import maximum_likelihood
from helpers import known_scores as known

KEY = jax.random.key(0)
MEAN, COVARIANCE = np.array([0.4, -0.7, 0.2]), np.array([[0.6, 0.2, -0.1], [0.2, 0.4, 0.15], [-0.1, 0.15, 0.3]])


class OfNormal(flow_matching.Model):
  """The exact predictor of x ~ N(MEAN, COVARIANCE)."""

  def predict(self, x_t, t, context=None):
    at = self.at(paths.away_from_ends(self.prediction, t)[:, None])
    values, vectors = np.linalg.eigh(COVARIANCE)
    gap = (x_t - at.alpha * MEAN.astype("f")) @ vectors.astype("f")
    spread = at.alpha**2 * values + at.sigma**2
    x = MEAN.astype("f") + (at.alpha * values / spread * gap) @ vectors.T
    return paths.target(self.prediction, at, x, (at.sigma * gap / spread) @ vectors.T)


def log_normal(x, mean, covariance):
  gap = x - mean
  return -0.5 * (gap @ np.linalg.inv(covariance) * gap).sum(1) - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]


@pytest.mark.parametrize("path,prediction", [
  ("optimal_transport", "velocity"), ("variance_preserving", "velocity"), ("variance_preserving", "noise"),
  ("variance_preserving", "x"),
])  # fmt: skip
def test_log_p_of_a_normal_is_exact(path, prediction):
  x = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 20).astype("f")
  model = OfNormal((3,), path=path, prediction=prediction, solver_steps=100 if prediction == "velocity" else 200)
  log_px, error = jax.jit(lambda: model.apply({}, KEY, {"x": x}, method="log_prob_estimate"))()
  # the times near the ends at which predictions of x and of the noise are held cost accuracy
  np.testing.assert_allclose(log_px, log_normal(x, MEAN, COVARIANCE), atol=1e-3 if prediction == "velocity" else 0.02)
  assert (np.asarray(error) == 0).all()


def test_the_score_of_a_normal_is_that_of_its_noised_density():
  model, t = OfNormal((3,)), np.full(6, 0.3, "f")
  x_t = np.random.default_rng(1).normal(size=(6, 3)).astype("f")
  covariance = 0.49 * COVARIANCE + 0.09 * np.eye(3)
  found = model.apply({}, x_t, jnp.asarray(t), method="score")
  np.testing.assert_allclose(found, -(x_t - 0.7 * MEAN) @ np.linalg.inv(covariance), rtol=1e-3, atol=1e-3)


def test_the_score_of_a_mixture_is_that_of_quadrature():
  """grad log p_t from the integral of p(x) N(x_t; alpha x, sigma^2) over a grid of x."""
  axis = np.linspace(-2, 2, 401)
  grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
  p = np.exp(known.log_p(grid))
  model = known.OfMixture((2,), path="variance_preserving")
  x_t = np.random.default_rng(2).normal(size=(5, 2)).astype("f")
  for t in (0.2, 0.5, 0.9):
    alpha, sigma = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
    gaps = x_t[:, None] - alpha * grid
    kernel = np.exp(-0.5 * (gaps**2).sum(-1) / sigma**2) * p
    right = -(kernel[..., None] * gaps).sum(1) / kernel.sum(1)[:, None] / sigma**2
    found = model.apply({}, x_t, jnp.full(5, t), method="score")
    np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver,steps", [("rk4", 100), ("heun", 400), ("dopri5", 1)])
def test_log_p_of_a_mixture_is_exact_by_every_solver(solver, steps):
  x = known.draws(200)
  model = known.OfMixture((2,), solver=solver, solver_steps=steps, tolerance=1e-6)
  log_px, _, evaluations = jax.jit(lambda: model.apply({}, KEY, {"x": x}, method="log_prob_by"))()
  np.testing.assert_allclose(log_px, known.log_p(x), atol=3e-3)
  if solver != "dopri5":
    assert set(np.asarray(evaluations).tolist()) == {steps * {"rk4": 4, "heun": 2}[solver]}


def test_log_p_by_probes_is_unbiased_with_their_standard_error():
  x = known.draws(8)
  model = known.OfMixture((2,), solver="heun", solver_steps=40, trace="hutchinson", num_probes=4)
  run = lambda key: model.apply({}, key, {"x": x}, method="log_prob_estimate")
  log_px, error = (np.asarray(a, np.float64) for a in jax.jit(jax.vmap(run))(jax.random.split(KEY, 1500)))
  exact = model.clone(trace="exact").apply({}, KEY, {"x": x}, method="log_prob_estimate")[0]
  assert (np.abs(log_px.mean(0) - exact) < 4 * log_px.std(0) / 1500**0.5 + 1e-4).all()
  np.testing.assert_allclose(np.sqrt((error**2).mean(0)), log_px.std(0), rtol=0.1)


def test_bounds_scale_x_and_its_density():
  """x in [-3, 5] is the mixture stretched by 4 around 1: log p falls by 2 log 4."""
  x, model = known.draws(20), known.OfMixture((2,), solver_steps=100)
  stretched = model.clone(bounds=(-3.0, 5.0))
  inside = x[np.abs(x).max(1) < 1]
  log_px = stretched.apply({}, {"x": 1 + 4 * inside}, method="log_prob")
  np.testing.assert_allclose(log_px, known.log_p(inside) - 2 * np.log(4), atol=3e-3)
  drawn = stretched.apply({}, KEY, 50, method="generate")
  assert drawn.min() >= -3 and drawn.max() <= 5 and np.abs(drawn).max() > 1.5


@pytest.mark.parametrize("solver,steps,evaluations", [("euler", 200, 200), ("heun", 40, 80), ("rk4", 20, 80)])
def test_draws_have_the_moments_of_the_mixture(solver, steps, evaluations):
  model = known.OfMixture((2,), draw_solver=solver, draw_steps=steps)
  assert model.draw_evaluations == evaluations
  x = np.asarray(jax.jit(lambda: model.apply({}, KEY, 20_000, method="generate"))(), np.float64)
  truth = known.draws(20_000, 5).astype(np.float64)
  error = np.sqrt((x.var(0) + truth.var(0)) / 20_000)
  assert (np.abs(x.mean(0) - truth.mean(0)) < 4 * error + 0.005).all()
  gap = np.abs(np.cov(x.T) - np.cov(truth.T))
  assert gap.max() < 0.015
  assert -known.log_p(x).mean() == pytest.approx(-known.log_p(truth).mean(), abs=0.05)


def test_the_exact_velocity_has_the_least_loss_and_no_gradient_in_the_mean():
  """E|u - target|^2 over pairs is least at the conditional mean: any shift of it by c costs |c|^2."""
  x, model = known.draws(200_000), known.OfMixture((2,))

  class Shifted(known.OfMixture):
    def predict(self, x_t, t, context=None):
      return super().predict(x_t, t) + jnp.asarray([0.1, -0.2])

  losses = [np.asarray(m.apply({}, KEY, {"x": x}, method="objective")[0], np.float64) for m in (model, Shifted((2,)))]
  gap = losses[0] - losses[1]
  assert gap.mean() == pytest.approx(0.05, abs=4 * gap.std() / 200_000**0.5)


@pytest.mark.parametrize("path", paths.PATHS)
def test_predictions_of_one_net_function_have_the_same_loss_under_their_weights(path):
  """A net that predicts x, and the velocity and the noise that its x implies."""
  x, noise = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f")
  t = jnp.linspace(0.1, 0.9, 6)
  at = paths.point(path, t[:, None])
  net = lambda x_t: jnp.tanh(x_t[:, ::-1])

  class Of(flow_matching.Model):
    def predict(self, x_t, t, context=None):
      data = net(x_t)
      return paths.target(self.prediction, at, data, (x_t - at.alpha * data) / at.sigma)

  found = [
    Of((3,), path=path, prediction=p).apply({}, x, noise, t, None, method="errors_at")[1] for p in paths.PREDICTIONS
  ]
  np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
  np.testing.assert_allclose(found[2], found[0], rtol=1e-3)
  np.testing.assert_allclose(
    found[2], jnp.sum(jnp.square(at.wronskian / at.sigma * (net(at.alpha * x + at.sigma * noise) - x)), -1), rtol=1e-3
  )


def test_pairs_of_a_batch_are_its_optimal_transport():
  x, noise = np.random.default_rng(3).normal(size=(2, 40, 3)).astype("f")
  found = np.asarray(jax.jit(flow_matching.matched)(x, noise))
  cost = ((x[:, None] - noise) ** 2).sum(-1)
  rows, columns = scipy.optimize.linear_sum_assignment(cost)
  assert ((x - found) ** 2).sum() == pytest.approx(cost[rows, columns].sum(), rel=1e-5)
  np.testing.assert_allclose(np.sort(found, 0), np.sort(noise, 0))  # a permutation: the noise stays normal
  assert ((x - found) ** 2).sum() < 0.7 * ((x - noise) ** 2).sum()


def test_guidance_is_linear_from_the_model_without_classes_to_that_with():
  model = flow_matching.Model((3,), hidden=(8,), time_dim=4, num_classes=2)
  x, c = np.random.default_rng(0).normal(size=(5, 3)).astype("f"), np.eye(2, dtype="f")[[0, 1, 0, 1, 1]]
  variables = model.init(KEY, {"x": x, "context": c})
  u = lambda c, w: np.asarray(model.apply(variables, x, 0.4, c, w, method="velocity"))
  without, given = u(np.zeros_like(c), 1.0), u(c, 1.0)
  np.testing.assert_allclose(u(c, 0.0), without, atol=1e-6)
  assert np.abs(given - without).max() > 0.01
  np.testing.assert_allclose(u(c, 3.0), without + 3 * (given - without), atol=1e-5)
  drawn = lambda w: np.asarray(model.clone(guidance=w).apply(variables, KEY, 5, context=c, method="generate"))
  other = model.apply(variables, KEY, 5, context=c[::-1], method="generate")
  assert np.abs(drawn(1.0) - drawn(0.0)).max() > 1e-3 and np.abs(drawn(1.0) - other).max() > 1e-3
  np.testing.assert_allclose(
    model.clone(guidance=0.0).apply(variables, KEY, 5, context=c[::-1], method="generate"), drawn(0.0), atol=1e-6
  )


def test_labels_are_dropped_with_their_probability():
  from dgm_jax.models.diffusion import denoiser

  c = jnp.ones((40_000, 2))
  kept = denoiser.without_some(KEY, c, 0.1)
  assert set(np.unique(kept)) == {0.0, 1.0}
  np.testing.assert_array_equal(kept[:, 0], kept[:, 1])
  assert float(kept.mean()) == pytest.approx(0.9, abs=4 * (0.09 / 40_000) ** 0.5)


def completions(model, known_value, n=5000):
  x = np.zeros((n, 3), "f") + np.array([known_value, 0, 0], "f")
  mask = np.zeros((n, 3), "f") + np.array([1, 0, 0], "f")
  return np.asarray(jax.jit(lambda: model.apply({}, KEY, {"x": x, "mask": mask}, method="complete"))(), np.float64)


def test_completions_of_a_normal_approach_its_conditional():
  """x_2, x_3 given x_1 = 1.5; without resampling the drawn entries are far from it."""
  gain = COVARIANCE[1:, 0] / COVARIANCE[0, 0]
  mean, covariance = MEAN[1:] + gain * (1.5 - MEAN[0]), COVARIANCE[1:, 1:] - np.outer(gain, COVARIANCE[0, 1:])
  gaps = []
  for resamples in (0, 4):
    x = completions(OfNormal((3,), path="variance_preserving", draw_steps=200, resamples=resamples, jump=10), 1.5)
    assert (x[:, 0] == 1.5).all()
    gaps.append(np.abs(x[:, 1:].mean(0) - mean).max() + np.abs(np.cov(x[:, 1:].T) - covariance).max())
  assert gaps[1] < 0.08 and gaps[1] < gaps[0] / 2, gaps


@functools.cache
def trained(steps):
  """log p of fresh draws of the mixture under a net after so many steps."""
  model = flow_matching.Model((2,), hidden=(64, 64), time_dim=8, solver_steps=20)
  system = maximum_likelihood.make(model, optax.adam(optax.cosine_decay_schedule(1e-2, 4000)))
  state = jax.jit(system.init)(KEY, {"x": known.draws(2)}, {})
  data = jnp.asarray(known.draws(100_000, 1))

  def step(state, key):
    rows = jax.random.randint(key, (512,), 0, len(data))
    return system.train_step(state, key, {"x": data[rows]})[0], None

  state = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(1), steps))[0])(state)
  x = known.draws(4000, 2)
  return x, np.asarray(jax.jit(system.eval_step)(state, KEY, {"x": x})["log_px"], np.float64)


@pytest.mark.slow
def test_a_trained_net_s_divergence_falls_below_a_twentieth_of_a_nat():
  found = []
  for steps in (20, 4000):
    x, log_px = trained(steps)
    gap = known.log_p(x) - log_px
    found.append((gap.mean(), gap.std() / len(x) ** 0.5))
  (early, _), (late, error) = found
  assert early > 0.2 and late < 0.05, found
  assert late > -4 * error  # no density is better than the data's own


@pytest.mark.parametrize("options,named", [
  ({"solver": "rk5"}, "Unknown solver 'rk5'. Did you mean 'rk4'?"),
  ({"solver": "dopri5", "tolerance": 0.0}, "tolerance = 0.0 of the solver 'dopri5'; it must be positive"),
  ({"data_shape": (100,), "trace": "exact"}, "at most 64; x has 100: choose trace = 'hutchinson'"),
  ({"data_shape": (100,), "num_probes": 1}, "num_probes = 1; it must be 2 or more"),
  ({"guidance": 2.0}, "guidance = 2.0 weighs predictions with and without the class, and this model has none"),
  ({"guidance": 2.0, "num_classes": 2, "drop_label": 0.0}, "guidance = 2.0 needs predictions without the class"),
  ({"num_classes": 2, "coupling": "optimal_transport"}, "would pair noise with the class"),
  ({"path": "straight"}, "path = 'straight'; it must be one of optimal_transport, variance_preserving"),
  ({"draw_solver": "dopri5"}, "Unknown draw_solver 'dopri5'"),
  ({"bounds": (1.0, 0.0)}, "they must be (low, high) with low < high"),
  ({"net": "unet"}, "net = 'unet' takes images [H, W, C]; x has shape [3]"),
  ({"data_shape": (6, 6, 1), "net": "unet"}, "divisible by 4; these are of 6 x 6 pixels"),
])  # fmt: skip
def test_options_that_cannot_be_are_named(options, named):
  shape = options.get("data_shape", (3,))
  model = flow_matching.Model(**({"data_shape": (3,)} | options))
  batch = {"x": np.zeros((2, *shape), "f"), "context": np.eye(2, dtype="f")}
  with pytest.raises(errors.UserError) as raised:
    jax.eval_shape(model.init, KEY, batch)
  assert named in str(raised.value) and "\n" not in str(raised.value)

"""Variational diffusion: its bound and its differential equation with exact scores, schedules, predictions, levels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.inference import gaussian_paths as paths
from dgm_jax.models.diffusion import variational_diffusion
from dgm_jax.principles import own_bound
from helpers import known_scores as known

KEY = jax.random.key(0)
ENDS = {"gamma_min": -9.0, "gamma_max": 9.0}


def over_keys(model, x, n, method="evaluate", variables=None):
  """elbo [n, B] of n keys, float64."""
  run = lambda key: model.apply(variables or {}, key, {"x": x}, method=method)
  found = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), n))
  return np.asarray((found[1] if method == "bound" else found)["elbo"], np.float64)


def test_bound_and_differential_equation_both_give_log_p_with_the_exact_score():
  x = known.draws(12)
  model = known.VariationalOfMixture((2,), eval_times=64, solver_steps=200, **ENDS)
  elbo = over_keys(model, x, 600)
  error = elbo.std(0) / 600**0.5
  assert (np.abs(elbo.mean(0) - known.log_p(x)) < 4 * error + 0.01).all() and error.max() < 0.1
  log_px, _ = jax.jit(lambda: model.apply({}, KEY, {"x": x}, method="log_prob_estimate"))()
  np.testing.assert_allclose(log_px, known.log_p(x), atol=0.01)


def test_on_fresh_draws_neither_mean_exceeds_minus_the_entropy():
  """-H = E log p; no density has a greater mean log on draws of p."""
  x = known.draws(1500, 9)
  entropy = -known.log_p(known.draws(2_000_000, 10)).mean()

  class Wrong(known.VariationalOfMixture):  # a worse model: no bound of one asserts an order between the two
    def predict(self, z, gamma, context=None):
      return super().predict(z, gamma) + 0.1 * jnp.tanh(z)

  for model in (known.VariationalOfMixture((2,), solver_steps=60, **ENDS), Wrong((2,), solver_steps=60, **ENDS)):
    elbo = over_keys(model, x, 4).mean(0)
    log_px = np.asarray(
      jax.jit(lambda m=model: m.apply({}, KEY, {"x": x}, method="log_prob_estimate"))()[0], np.float64
    )
    for values in (elbo, log_px):
      assert values.mean() < -entropy + 4 * values.std() / 1500**0.5


def test_the_bound_of_t_steps_tends_to_that_of_continuous_time():
  """A fixed net that is wrong: gaps to the continuous bound fall with T, from below."""

  class Wrong(known.VariationalOfMixture):
    def predict(self, z, gamma, context=None):
      return super().predict(z, gamma) + 0.2 * jnp.tanh(z)

  x = known.draws(16)
  limit = over_keys(Wrong((2,), eval_times=256, **ENDS), x, 200).mean()
  gaps = [limit - over_keys(Wrong((2,), num_steps=steps, **ENDS), x, 200).mean() for steps in (16, 64, 256)]
  assert gaps[0] > 2 * gaps[1] > 3 * gaps[2] and gaps[0] > 0.3, gaps
  assert abs(gaps[2]) < 0.3, gaps


def schedule(w):
  """Variables of a learned schedule with widths w."""
  return {"params": {"ends": jnp.asarray([-9.0, 9.0]), "pieces": jnp.log(jnp.asarray(w, jnp.float32))}}


WIDTHS = np.array([0.05, 0.1, 0.25, 0.3, 0.2, 0.06, 0.02, 0.02])


def test_the_schedule_is_monotone_between_its_ends_and_its_slope_is_its_derivative():
  model = variational_diffusion.Model((2,), schedule="learned", pieces=8, hidden=(4,), **ENDS)
  variables = schedule(WIDTHS)
  t = jnp.linspace(0.0, 1.0, 101)
  gamma, slope, log_w = model.apply(variables, t, method="gamma")
  np.testing.assert_allclose(gamma[jnp.array([0, -1])], [-9, 9], atol=1e-5)
  assert (np.diff(gamma) > 0).all()
  inside = np.abs(np.asarray(t)[:, None] - np.cumsum(WIDTHS)).min(1) > 0.006
  step = lambda s: model.apply(variables, t + s, method="gamma")[0]
  np.testing.assert_allclose(((step(1e-3) - step(-1e-3)) / 2e-3)[inside][1:-1], slope[inside][1:-1], rtol=1e-2)
  np.testing.assert_allclose(jnp.exp(log_w) * slope, 18 / 8, rtol=1e-4)


def test_the_bound_does_not_depend_on_the_schedule_between_its_ends():
  class Learned(known.VariationalOfMixture):
    def predict(self, z, gamma, context=None):
      return super().predict(z, gamma) + 0.2 * jnp.tanh(z)

  x = known.draws(16)
  options = ENDS | {"eval_times": 64, "pieces": 8}
  plain = over_keys(Learned((2,), **options), x, 400)
  other = over_keys(Learned((2,), schedule="learned", **options), x, 400, variables=schedule(WIDTHS))
  error = np.sqrt((plain.var(0) + other.var(0)) / 400)
  assert (np.abs(plain.mean(0) - other.mean(0)) < 4.5 * error).all()
  assert abs(plain.mean() - other.mean()) < 4 * np.sqrt((error**2).mean() / 16)


def test_a_learned_schedule_lowers_the_variance_and_keeps_the_bound():
  """With a fixed net, only the schedule is trained: the variance over t falls, the mean does not move."""

  class Fixed(known.VariationalOfMixture):
    def predict(self, z, gamma, context=None):
      return super().predict(z, gamma) + 0.3 * jnp.exp(-jnp.square(gamma[:, None] - 3))

  model = Fixed((2,), schedule="learned", pieces=8, **ENDS)
  data, tx = jnp.asarray(known.draws(4000)), optax.adam(0.02)
  start = schedule(np.full(8, 1 / 8))

  def step(carry, key):
    variables, opt = carry
    rows = jax.random.randint(key, (256,), 0, 4000)
    loss = lambda v: -jnp.mean(model.apply(v, key, {"x": data[rows]}, method="bound")[0])
    gradient = jax.grad(loss)(variables)
    gradient["params"]["ends"] *= 0
    updates, opt = tx.update(gradient, opt)
    return (optax.apply_updates(variables, updates), opt), None

  (end, _), _ = jax.jit(lambda v: jax.lax.scan(step, (v, tx.init(v)), jax.random.split(KEY, 600)))(start)
  before, after = (over_keys(model, known.draws(16), 3000, "bound", v) for v in (start, end))
  assert after.var(0).mean() < 0.75 * before.var(0).mean()
  error = np.sqrt((before.var(0) + after.var(0)) / 3000)
  assert (np.abs(before.mean(0) - after.mean(0)) < 4.5 * error).all()
  assert np.ptp(np.asarray(end["params"]["pieces"])) > 0.2


@pytest.mark.slow
def test_predictions_of_one_net_function_have_the_same_bound():
  x = known.draws(8)
  found = [over_keys(known.VariationalOfMixture((2,), prediction=p, **ENDS), x, 2) for p in ("noise", "v", "x")]
  np.testing.assert_allclose(found[1], found[0], atol=2e-2)
  np.testing.assert_allclose(found[2], found[0], atol=2e-2)


@pytest.mark.parametrize(
  "sampler", [pytest.param(s, marks=[pytest.mark.slow] * (s != "ddim")) for s in variational_diffusion.SAMPLERS]
)
def test_draws_have_the_moments_of_the_mixture(sampler):
  model = known.VariationalOfMixture((2,), sampler=sampler, draw_steps=150, draw_solver="heun", **ENDS)
  assert model.draw_evaluations == (300 if sampler == "ode" else 150)
  x = np.asarray(jax.jit(lambda: model.apply({}, KEY, 20_000, method="generate"))(), np.float64)
  truth = known.draws(20_000, 5).astype(np.float64)
  assert np.abs(x.mean(0) - truth.mean(0)).max() < 0.03
  assert np.abs(np.cov(x.T) - np.cov(truth.T)).max() < 0.02
  assert -known.log_p(x).mean() == pytest.approx(-known.log_p(truth).mean(), abs=0.06)


class Uniform(variational_diffusion.Model):
  """Predicts the noise of x_0 = 0, a wrong model of integers."""

  def predict(self, z, gamma, context=None):
    return z / jnp.sqrt(jax.nn.sigmoid(gamma))[:, None] if self.prediction == "noise" else 0 * z


def test_the_ends_of_the_bound_in_closed_form():
  """KL(q(z_1 | x) || N(0, I)) and the probability of integers by the bins of a normal."""
  model = Uniform((2,), num_levels=5, prediction="noise", gamma_min=-3.0, gamma_max=1.0)
  x = np.array([[0.0, 1.0], [4.0, 3.0]], "f")
  at = paths.from_log_snr(jnp.asarray(1.0))
  mean, variance = float(at.alpha) * (x / 2 - 1), float(at.sigma) ** 2
  prior = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(1)
  keys = jax.random.split(KEY, 20_000)
  bound = jax.jit(jax.vmap(lambda key: model.apply({}, key, {"x": x}, method="bound")[1]))(keys)
  np.testing.assert_allclose(bound["prior"][0], prior, rtol=1e-4)
  # E over z_0 of the log probability of the bin, by quadrature in one dimension
  scale, half = np.exp(-1.5), 0.25
  noise = np.linspace(-8, 8, 4001)
  weight = scipy.stats.norm.pdf(noise) * (noise[1] - noise[0])
  log_p = np.zeros(2)
  for i, row in enumerate(x / 2 - 1):
    for value in row:
      low = -np.inf if value == -1 else (value - half - (value + scale * noise)) / scale
      high = np.inf if value == 1 else (value + half - (value + scale * noise)) / scale
      log_p[i] += (weight * np.log(scipy.stats.norm.cdf(high) - scipy.stats.norm.cdf(low) + 1e-300)).sum()
  found = np.asarray(bound["reconstruction"], np.float64)
  assert (np.abs(found.mean(0) + log_p) < 4 * found.std(0) / 20_000**0.5).all()


def test_the_differential_equation_of_integers_counts_their_bins():
  """log P(x) is log p of [-1, 1] at x + u plus D log of the bin's width: for p = N(0, I) kept by a net of x = 0."""

  class Still(variational_diffusion.Model):
    def velocity(self, x, t, context=None, weight=1.0):
      return 0 * x

  model = Still((2,), num_levels=3)
  x = np.array([[0.0, 2.0]], "f")
  run = lambda key: model.apply({}, key, {"x": x}, method="log_prob_estimate")[0][0]
  found = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(KEY, 20_000)), np.float64)
  u = np.linspace(-0.5, 0.5, 2001)
  right = sum(scipy.stats.norm.logpdf(v + u).mean() for v in (-1.0, 1.0))  # bins of width 1
  assert found.mean() == pytest.approx(right, abs=4 * found.std() / 20_000**0.5 + 1e-3)


@pytest.mark.slow
def test_a_trained_net_s_bound_approaches_minus_the_entropy():
  model = variational_diffusion.Model(
    (2,), hidden=(64, 64), time_dim=8, schedule="learned", gamma_min=-7.0, eval_times=32
  )
  system = own_bound.make(model, optax.adam(optax.cosine_decay_schedule(3e-3, 3000)))
  state = jax.jit(system.init)(KEY, {"x": known.draws(2)}, {})
  data = jnp.asarray(known.draws(100_000, 1))

  def step(state, key):
    rows = jax.random.randint(key, (256,), 0, len(data))
    return system.train_step(state, key, {"x": data[rows]})[0], None

  state = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(1), 3000))[0])(state)
  x = known.draws(4000, 2)
  elbo = np.asarray(jax.jit(system.eval_step)(state, KEY, {"x": x})["elbo"], np.float64)
  gap = known.log_p(x) - elbo
  assert -4 * gap.std() / len(x) ** 0.5 < gap.mean() < 0.15


@pytest.mark.parametrize("options,named", [
  ({"schedule": "cosine"}, "schedule = 'cosine'; it must be one of linear, learned"),
  ({"num_levels": 1}, "num_levels = 1; it must be 0, or 2 to 65536"),
  ({"gamma_min": 6.0}, "gamma_min = 6.0 must be less than gamma_max = 5.0"),
  ({"num_levels": 4, "bounds": (0.0, 1.0)}, "bounds are for real x"),
  ({"guidance": 0.0}, "guidance = 0.0 weighs predictions with and without the class"),
  ({"sampler": "euler"}, "sampler = 'euler'; it must be one of ancestral, ddim, ode"),
])  # fmt: skip
def test_options_that_cannot_be_are_named(options, named):
  with pytest.raises(errors.UserError) as raised:
    jax.eval_shape(variational_diffusion.Model((3,), **options).init, KEY, {"x": np.zeros((2, 3), "f")})
  assert named in str(raised.value)

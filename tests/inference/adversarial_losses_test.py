"""Losses of two players against their divergences on a grid, their gradients, and penalties in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax.core import errors
from dgm_jax.inference import adversarial_losses as losses

X = np.linspace(-12, 14, 20_001)
STEP = X[1] - X[0]


def log_q(mean, scale):
  return jax.scipy.stats.norm.logpdf(X, mean, scale)


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


@pytest.fixture
def densities():
  """(log p, log q) of N(0, 1) and N(1, 1.3^2)."""
  return log_q(0.0, 1.0), log_q(1.0, 1.3)


def integral(values):
  return float(jnp.sum(values) * STEP)


def bound(row, log_p, log_q):
  """-E_p[real(d)] - E_q[fake(d)] at the optimal d."""
  d = row.optimal(log_p, log_q)
  return -integral(jnp.exp(log_p) * row.real(d)) - integral(jnp.exp(log_q) * row.fake(d))


def kl(log_p, log_q):
  return integral(jnp.exp(log_p) * (log_p - log_q))


def js(log_p, log_q):
  log_m = jnp.logaddexp(log_p, log_q) - np.log(2)
  return (kl(log_p, log_m) + kl(log_q, log_m)) / 2


def test_closed_forms_of_the_divergences(densities):
  """The sums over the grid themselves, against what is known of two normals."""
  normal = lambda m1, s1, m2, s2: np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5
  hellinger = 2 - 2 * np.sqrt(2 * 1.3 / (1 + 1.3**2)) * np.exp(-0.25 / (1 + 1.3**2))
  assert bound(losses.LOSSES["kl"], *densities) == pytest.approx(normal(0, 1, 1, 1.3), abs=1e-6)
  assert bound(losses.LOSSES["reverse_kl"], *densities) == pytest.approx(normal(1, 1.3, 0, 1), abs=1e-6)
  assert bound(losses.LOSSES["squared_hellinger"], *densities) == pytest.approx(hellinger, abs=1e-6)


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "jensen_shannon", "pearson", "hinge"])
def test_the_optimal_discriminator_measures_a_divergence(name, densities):
  p, q = map(jnp.exp, densities)
  expected = {
    "minimax": lambda: 2 * js(*densities) - np.log(4),
    "non_saturating": lambda: 2 * js(*densities) - np.log(4),
    "jensen_shannon": lambda: 2 * js(*densities),
    "pearson": lambda: integral((p - q) ** 2 / q),
    "hinge": lambda: -2 * integral(jnp.minimum(p, q)),
  }[name]()
  assert bound(losses.LOSSES[name], *densities) == pytest.approx(expected, abs=1e-6)


def test_hinge_measures_the_total_variation(densities):
  p, q = map(jnp.exp, densities)
  assert -bound(losses.LOSSES["hinge"], *densities) == pytest.approx(2 * (1 - integral(abs(p - q)) / 2), abs=1e-6)


def test_least_squares_is_a_pearson_divergence_for_some_codings_only(densities):
  p, q = map(jnp.exp, densities)

  def generators(a, b, c):  # the loss of the generator with its term on the data, twice the halves
    row = losses.least_squares(a, b, c)
    d = row.optimal(*densities)
    return 2 * integral(p * (d - c) ** 2 / 2) + 2 * integral(q * row.generator(d))

  pearson = integral((p - q) ** 2 / (p + q))
  assert generators(-1.0, 1.0, 0.0) == pytest.approx(pearson, abs=1e-6)
  assert abs(generators(0.0, 1.0, 1.0) - pearson) > 0.1
  for coding in ((-1.0, 1.0, 0.0), (0.0, 1.0, 1.0)):
    share = (coding[1] - coding[0]) ** 2 / 2 * integral(p * q / (p + q))
    assert -bound(losses.least_squares(*coding), *densities) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in losses.NAMES if n not in losses.RELATIVISTIC and n != "wasserstein"])
def test_no_other_discriminator_lowers_its_loss(name, densities):
  row = losses.find(name)
  d = row.optimal(*densities)
  best = bound(row, *densities)
  value = lambda d: -integral(jnp.exp(densities[0]) * row.real(d)) - integral(jnp.exp(densities[1]) * row.fake(d))
  for change in (0.1, -0.1, 0.1 * np.sin(X), -0.1 * np.tanh(X)):
    assert value(d + change) <= best + 1e-9


def _generators_gradient(name, densities):
  """d/d(mean, scale) of the generator's loss at the optimal, fixed discriminator."""
  row = losses.LOSSES[name]
  d = jax.lax.stop_gradient(row.optimal(*densities))
  return jax.grad(lambda v: jnp.sum(jnp.exp(log_q(*v)) * row.generator(d)) * STEP)(jnp.array([1.0, 1.3]))


def _gradient(divergence, log_p):
  def of(v):
    q = log_q(*v)
    log_m = jnp.logaddexp(log_p, q) - np.log(2)
    halves = jnp.exp(log_p) * (log_p - log_m) + jnp.exp(q) * (q - log_m)  # 2 JS
    found = {"2js": halves, "kl": jnp.exp(q) * (q - log_p) - halves}
    return jnp.sum(found[divergence]) * STEP

  return jax.grad(of)(jnp.array([1.0, 1.3]))


def test_gradients_at_the_optimal_discriminator(densities):
  """Arjovsky & Bottou (2017), theorem 2.5: KL(q || p) - 2 JS, whose second part pushes the densities apart."""
  minimax, non_saturating = (_generators_gradient(name, densities) for name in ("minimax", "non_saturating"))
  np.testing.assert_allclose(minimax, _gradient("2js", densities[0]), atol=1e-6)
  np.testing.assert_allclose(non_saturating, _gradient("kl", densities[0]), atol=1e-6)
  assert abs(minimax - non_saturating).max() > 0.1


@pytest.mark.parametrize("name", losses.NAMES)
def test_losses_are_means_of_the_rows(name):
  real, fake = jax.random.normal(jax.random.key(0), (2, 7))
  found = losses.discriminator_loss(name, real, fake), losses.generator_loss(name, real, fake, encoder=True)
  assert all(jnp.isfinite(v) for v in found)
  if name in losses.RELATIVISTIC:
    np.testing.assert_allclose(found[1], losses.discriminator_loss(name, fake, real))  # the players change sides
    return
  row = losses.find(name)
  np.testing.assert_allclose(found[0], np.mean(row.real(real)) + np.mean(row.fake(fake)))
  np.testing.assert_allclose(found[1], np.mean(row.generator(fake)) + np.mean(row.encoder(real)))


def test_relativistic_losses_against_their_definitions():
  real, fake = jax.random.normal(jax.random.key(1), (2, 5))
  log_sigmoid = lambda d: stats.logistic.logcdf(np.asarray(d))
  paired = -np.mean(log_sigmoid(real - fake))
  average = -np.mean(log_sigmoid(real - np.mean(fake))) - np.mean(log_sigmoid(np.mean(real) - fake))
  np.testing.assert_allclose(losses.discriminator_loss("relativistic", real, fake), paired)
  np.testing.assert_allclose(losses.discriminator_loss("relativistic_average", real, fake), average)


@pytest.mark.parametrize("name", losses.SMOOTHED)
def test_smoothing_is_the_likelihood_of_a_softer_label(name):
  real, fake = jax.random.normal(jax.random.key(2), (2, 6))
  p = jax.nn.sigmoid(real)
  expected = -np.mean(0.9 * np.log(p) + 0.1 * np.log(1 - p)) - np.mean(np.log(1 - jax.nn.sigmoid(fake)))
  np.testing.assert_allclose(losses.discriminator_loss(name, real, fake, 0.1), expected)


@pytest.mark.parametrize("name", losses.NAMES)
def test_large_logits_give_finite_losses_and_gradients(name):
  if name in ("kl", "reverse_kl", "squared_hellinger"):
    return  # their terms are exponentials
  with jax.enable_x64(False):
    d = jnp.float32([-1e4, 1e4])
    value = lambda d: losses.discriminator_loss(name, d, -d) + losses.generator_loss(name, d, d)
    assert jnp.isfinite(value(d))
    assert jnp.isfinite(jax.grad(value)(d)).all()


W = np.array([0.6, -1.2, 0.3])


def linear(x):
  return x @ W


def test_penalties_of_a_linear_critic():
  real, fake = jax.random.normal(jax.random.key(3), (2, 8, 3))
  u, norm = jax.random.uniform(jax.random.key(4), (8,)), np.linalg.norm(W)
  np.testing.assert_allclose(losses.gradient_penalty(linear, u, real, fake), (norm - 1) ** 2)
  np.testing.assert_allclose(losses.zero_centred(linear, real), norm**2 / 2)
  np.testing.assert_allclose(losses.dragan(linear, jnp.ones_like(real), real), (norm - 1) ** 2)
  pair = lambda xz: xz[0] @ W + 2 * xz[1][:, 0]
  np.testing.assert_allclose(losses.slopes(pair, (real, fake)), np.full(8, norm**2 + 4))
  zero = lambda w: losses.gradient_penalty(lambda x: x @ w, u, real, fake)
  np.testing.assert_array_equal(jax.grad(zero)(jnp.zeros(3)), 0)  # not NaN


def test_the_penalty_is_taken_on_the_line_between_the_two():
  """A critic whose slope is x has slopes |u real + (1 - u) fake|."""
  real, fake, u = jnp.array([[2.0], [4.0]]), jnp.array([[0.0], [1.0]]), jnp.array([0.25, 0.5])
  found = losses.gradient_penalty(lambda x: jnp.sum(x**2, 1) / 2, u, real, fake)
  np.testing.assert_allclose(found, np.mean([(0.5 - 1) ** 2, (2.5 - 1) ** 2]))
  moved = losses.dragan(lambda x: jnp.sum(x**2, 1) / 2, jnp.array([[0.2], [0.8]]), real)
  np.testing.assert_allclose(moved, np.mean((real[:, 0] + 0.5 * np.std(real) * np.array([0.2, 0.8]) - 1) ** 2))


@pytest.mark.parametrize("weight,distance", [(10.0, 3.0), (0.1, 0.5)])
def test_the_penalised_critic_between_two_points_is_not_the_wasserstein_distance(weight, distance):
  real, fake = jnp.array([[distance]]), jnp.array([[0.0]])

  def value(slope):
    critic = lambda x: slope * x[:, 0]
    penalty = losses.gradient_penalty(critic, jnp.array([0.3]), real, fake)
    return -losses.discriminator_loss("wasserstein", critic(real), critic(fake)) - weight * penalty

  best = 1 + distance / (2 * weight)
  assert jax.grad(value)(best) == pytest.approx(0, abs=1e-9)
  assert value(best) == pytest.approx(distance + distance**2 / (4 * weight))
  assert value(best) > distance


def test_a_clipped_linear_critic_measures_the_sum_of_absolute_differences():
  real, fake, c = jnp.array([[1.0, 2.0, -0.5]]), jnp.array([[0.0, 4.0, 0.5]]), 0.3
  w = losses.clip({"w": 100 * (real - fake)[0]}, c)["w"]  # a gradient ascent of any length ends at the corners
  assert float((real - fake)[0] @ w) == pytest.approx(c * float(jnp.sum(abs(real - fake))))


def test_lecam_and_spread():
  real, fake = jnp.array([1.0, 3.0]), jnp.array([-1.0, 0.0])
  np.testing.assert_allclose(losses.lecam(real, fake, 2.0, -1.0), (4 + 16) / 2 + (9 + 4) / 2)
  x = np.random.default_rng(0).normal(size=(6, 2, 3))
  pairs = [np.sum((x[i] - x[j]) ** 2) for i in range(6) for j in range(6) if i != j]
  np.testing.assert_allclose(losses.spread(x), np.mean(pairs))


@pytest.mark.parametrize("name,smoothing,sentence", [
  ("minmax", 0.0, "objective.loss 'minmax'. Did you mean 'minimax'"),
  ("hinge", 0.1, "objective.smoothing = 0.1"),
  ("minimax", 1.0, "objective.smoothing = 1.0"),
])  # fmt: skip
def test_mistakes_get_one_sentence(name, smoothing, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    losses.require(name, smoothing)

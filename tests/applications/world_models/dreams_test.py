"""Dreams: packing changes nothing, a population is each controller alone, and the truth in M's place is the game."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax.applications.world_models import controllers, dreams
from dgm_jax.core import errors
from dgm_jax.data import dodge
from dgm_jax.models.sequences import mdn_rnn

L, H, P, R, LIMIT = 3, 8, 9, 16, 230
CONTROLLER = controllers.make("zh", L, H, 1)
MODEL = mdn_rnn.Model((2, mdn_rnn.num_columns(L, 1)), latent_dim=L, action_dim=1, hidden=H, num_components=3, done=True)
MOMENTS = np.random.default_rng(0).normal(size=(20, 2 * L)).astype(np.float32)


@pytest.fixture(scope="module")
def params():
  """Random parameters whose dreams end after some 70 steps."""
  found = jax.jit(MODEL.init)(jax.random.key(0), {"x": jnp.zeros((1, 2, mdn_rnn.num_columns(L, 1)))})
  found = jax.tree.map(lambda a: a + 0.3 * jax.random.normal(jax.random.key(a.size), a.shape), found)
  head, end = found["params"]["head"], 3 * L * 3  # where the logit of the end is
  found["params"]["head"] = {
    "kernel": head["kernel"].at[:, end].multiply(8.0),
    "bias": head["bias"].at[end].set(-4.7),
  }
  return found


WEIGHTS = np.random.default_rng(1).normal(size=(P, CONTROLLER.num_params)).astype(np.float32)


def dreamer(compacts=True):
  return dreams.Dreamer(dreams.of_memory(MODEL), CONTROLLER, jnp.tanh, LIMIT, compacts)


@pytest.fixture(scope="module")
def packed():
  return dreamer()


def test_packed_dreams_are_dreams(packed, params):
  """Between segments ended rows leave: the program for 72 rows follows that for 144."""
  assert packed.sizes(P * R) == [144, 72, 36]
  found, plain = (d(params, WEIGHTS, R, MOMENTS, 5) for d in (packed, dreamer(False)))
  alive = [(plain.steps > t).sum() for t in (100, 200)]
  assert 0 < alive[1] <= alive[0] <= 72 and plain.done.mean() > 0.5  # so that rows were packed
  np.testing.assert_array_equal(found.steps, plain.steps)
  np.testing.assert_allclose(found.total, plain.total, rtol=1e-6)
  np.testing.assert_array_equal(found.done, plain.done)


def test_a_population_is_each_controller_alone(packed, params):
  together = packed(params, WEIGHTS, R, MOMENTS, 5)
  for i in (0, 4):
    alone = packed(params, WEIGHTS[i : i + 1], R, MOMENTS, 5)
    np.testing.assert_array_equal(alone.steps[0], together.steps[i])
  assert len(np.unique(together.steps)) > 20


def test_seeds_and_temperatures_are_lanes(packed, params):
  """Three populations of three, of two seeds and two temperatures, in one program: as each alone."""
  seeds, taus = np.repeat([5, 6, 5], 3), np.repeat([1.0, 1.0, 1.4], 3)
  together = packed(params, np.tile(WEIGHTS[:3], (3, 1)), R, MOMENTS, seeds, taus)
  alone = packed(params, WEIGHTS, R, MOMENTS, 5)
  np.testing.assert_array_equal(together.steps[:3], alone.steps[:3])
  assert (together.steps[3:6] != together.steps[:3]).any() and (together.steps[6:] != together.steps[:3]).any()
  np.testing.assert_array_equal(together.steps[3:6], packed(params, WEIGHTS, R, MOMENTS, 6).steps[:3])
  np.testing.assert_array_equal(together.steps[6:], packed(params, WEIGHTS, R, MOMENTS, 5, 1.4).steps[:3])


def test_a_dream_is_m_step_by_step(params):
  """A loop in NumPy: softmax(logits / tau), mean + sigma sqrt(tau) noise, the end where its logit is positive."""
  tau, seed, steps = 1.7, 2, 12
  world = dreams.of_memory(MODEL)
  one = dreams.Dreamer(world, CONTROLLER, jnp.tanh, steps)
  found = one(params, WEIGHTS[:1], 1, MOMENTS, seed, tau)
  key = jax.random.split(jax.random.key(seed), 1)[0]
  which = int(np.random.default_rng(seed).integers(0, len(MOMENTS), 1)[0])
  mean, log_variance = np.split(MOMENTS[which], 2)
  z = mean + np.exp(0.5 * log_variance) * np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (L,)))
  state, p = tuple(np.zeros((1, H), np.float32) for _ in range(2)), params["params"]
  w, b = np.asarray(WEIGHTS[0][: L + H], np.float64), float(WEIGHTS[0][-1])
  for t in range(steps):
    a = np.tanh(w @ np.concatenate([z, state[0][0]]) + b)
    gates = np.concatenate([z, [a]]) @ p["network"]["inputs_0"]["kernel"] + p["network"]["inputs_0"]["bias"]
    i, f, g, o = np.split(gates + state[0][0] @ np.asarray(p["network"]["recurrent_0"]), 4)
    c = scipy.special.expit(f) * state[1][0] + scipy.special.expit(i) * np.tanh(g)
    h = scipy.special.expit(o) * np.tanh(c)
    state = (h[None], c[None])
    y = h @ np.asarray(p["head"]["kernel"]) + np.asarray(p["head"]["bias"])
    logits, means, log_scales = np.moveaxis(y[: 9 * L].reshape(L, 3, 3), 1, 0)
    draws = jax.random.split(jax.random.fold_in(key, 1 + t))
    uniform, normal = np.asarray(jax.random.uniform(draws[0], (L,))), np.asarray(jax.random.normal(draws[1], (L,)))
    k = (np.cumsum(scipy.special.softmax(logits / tau, -1), -1)[:, :-1] < uniform[:, None]).sum(1)
    z = means[np.arange(L), k] + np.exp(log_scales[np.arange(L), k]) * np.sqrt(tau) * normal
    if y[9 * L] > 0:
      break
  assert found.steps[0, 0] == t + 1


def test_a_step_has_the_temperature_on_the_variance(params):
  """One step of many rows from one state: moments of the mixture at tau, in standard errors."""
  world, n, tau = dreams.of_memory(MODEL), 40_000, 1.3
  keys = jax.random.split(jax.random.key(3))
  state, z = (0.1 * jnp.ones((1, H)),) * 2, jnp.asarray(MOMENTS[:1, :L])
  rows = lambda a: jnp.repeat(a, n, 0)
  given = (rows(z), jnp.full((n, 1), 0.2), jnp.zeros(n))
  draws = (jax.random.uniform(keys[0], (n, L)), jax.random.normal(keys[1], (n, L)))
  new_state, new, _, _ = jax.jit(world.step)(params, jax.tree.map(rows, state), *given, *draws, jnp.full(n, tau))
  p = MODEL.apply(params, new_state[0][:1], method="following").z
  weights = scipy.special.softmax(np.asarray(p.logits[0]) / tau, -1)
  mean = (weights * p.mean[0]).sum(-1)
  variance = (weights * (np.exp(2 * p.log_scale[0]) * tau + p.mean[0] ** 2)).sum(-1) - mean**2
  np.testing.assert_array_less(abs(new.mean(0) - mean), 5 * np.sqrt(variance / n))
  squares = (new - mean) ** 2
  np.testing.assert_array_less(abs(squares.mean(0) - variance), 5 * squares.std(0) / np.sqrt(n))


def game(policy, n, seed):
  """Lengths of n games by a second implementation, one ball after another, in plain Python."""
  rng, lengths = np.random.default_rng(seed), []
  for _ in range(n):
    player, first, second = rng.uniform(5, 59, 3)
    balls = [[first, 32.0], [second, 0.0]]
    length = 0
    while length < dodge.TIME_LIMIT:
      length += 1
      z = (np.array([player, *balls[0], *balls[1]]) - 32) / 32
      a = policy(z)
      player = min(59.0, max(5.0, player + 3 * (float(a > 1 / 3) - float(a < -1 / 3))))
      for ball in balls:
        ball[1] += 3
      if balls[0][1] > 68:
        balls = [balls[1], [rng.uniform(5, 59), balls[1][1] - 32]]
      if any(abs(x - player) < 8 and abs(y - 58) < 6 for x, y in balls):
        break
    lengths.append(length)
  return np.array(lengths)


TRUTH = controllers.make("z", dodge.LATENTS, 0, 1)
FIXED = np.array([[0, 0, 0, 0, 0, 0], [9, -9, 0, 0, 0, 0], [4, -3, 2, -1, 0.5, 0.3]], np.float32)


def test_the_truth_in_the_place_of_m_is_the_game():
  """Lengths under three fixed controllers, against games in plain Python: two-sample tests at 1 %, and the order."""
  one = dreams.Dreamer(dreams.of_dodge(), TRUTH, jnp.tanh, dodge.TIME_LIMIT)
  n = 400
  starts = dodge.latents(dodge.start(jax.random.uniform(jax.random.key(9), (n, 3))))
  moments = np.concatenate([starts, np.full_like(starts, -60.0)], 1)
  found = one(None, FIXED, n, moments, 0)
  for weights, lengths in zip(FIXED, found.steps, strict=True):
    truth = game(lambda z, w=weights: np.tanh(w[:5] @ z + w[5]), 300, 1)
    assert scipy.stats.ks_2samp(lengths, truth).pvalue > 0.01
  assert found.steps[1].mean() > 1.5 * found.steps[0].mean()  # to dodge is better than to stand still


def test_frames_show_the_state():
  state = dodge.of_latents(jnp.asarray([[0.0, 0.5, 0.0, -0.5, -0.5]]))
  np.testing.assert_allclose(dodge.latents(state)[0], [0.0, 0.5, 0.0, -0.5, -0.5], atol=1e-6)
  frame = np.asarray(dodge.frame(state)[0])
  assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8
  assert tuple(frame[58, 32]) == (80, 220, 80) and tuple(frame[32, 48]) == (240, 90, 60)
  assert tuple(frame[16, 16]) == (240, 90, 60) and tuple(frame[45, 10]) == (24, 24, 64)


@pytest.mark.parametrize("kind,latents,hidden,outputs,number", [
  ("zh", 32, 256, 3, 867), ("zch", 64, 512, 1, 1088), ("hidden", 32, 256, 3, 1443), ("z", 32, 0, 3, 99),
])  # fmt: skip
def test_controllers_have_the_numbers_of_parameters_of_the_paper(kind, latents, hidden, outputs, number):
  c = controllers.make(kind, latents, hidden, outputs)
  assert c.num_params == number
  weights = jnp.arange(2 * number, dtype=jnp.float32).reshape(2, number) / number
  rng = np.random.default_rng(0)
  z, h, m = (jnp.asarray(rng.normal(size=(2, size)), jnp.float32) for size in (latents, hidden, hidden))
  found, w, f = c.act(weights, z, h, m), np.asarray(weights[1], np.float64), np.asarray(c.features(z, h, m)[1])
  if kind == "hidden":
    v, u, w = np.split(w, [40 * latents, 41 * latents - latents + 40])
    f = np.tanh(v.reshape(40, latents) @ f + u)
  size = f.size * outputs
  theirs = w[:size].reshape(outputs, f.size) @ f + (w[size:] if kind != "zch" else 0)
  np.testing.assert_allclose(found[1], theirs, rtol=2e-4, atol=1e-3)


def test_actions_are_squashed_before_they_are_clipped():
  """The car: gas (tanh + 1) / 2; the brake is clipped after tanh, not before: tanh(3), not 1."""
  a = controllers.squash("car")(jnp.asarray([[3.0, 0.0, 3.0], [-0.2, -2.0, -3.0]]))
  t = np.tanh([3.0, -2.0])
  np.testing.assert_allclose(a, [[t[0], 0.5, t[0]], [np.tanh(-0.2), (t[1] + 1) / 2, 0.0]], rtol=1e-5)
  box = controllers.squash("box", (-2.0, 0.0), (2.0, 1.0))(jnp.asarray([[0.0, 99.0]]))
  np.testing.assert_allclose(box, [[0.0, 1.0]])
  np.testing.assert_array_equal(controllers.squash("one_hot")(jnp.asarray([[1.0, 3.0, 2.0]])), [[0, 1, 0]])


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(tau, packed, params):
  with pytest.raises(errors.UserError, match=r"tau = .*; it must be positive"):
    packed(params, WEIGHTS, R, MOMENTS, 0, tau)


def test_latents_of_another_width_are_refused(packed, params):
  with pytest.raises(errors.UserError, match="The first frames have 2 latents, M has 3"):
    packed(params, WEIGHTS, R, MOMENTS[:, :4], 0)

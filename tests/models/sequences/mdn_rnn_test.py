"""The mixture density LSTM against closed forms, scipy, a step-by-step loop and a recurrence of known entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.models.sequences import mdn, mdn_rnn
from dgm_jax.principles import own_bound

L, A, T, B, H = 2, 1, 6, 3, 8
W = mdn_rnn.num_columns(L, A)
MODEL = mdn_rnn.Model((T, W), latent_dim=L, action_dim=A, hidden=H, num_components=3, done=True, reward=True)


def mixture(seed=0, shape=(L,), k=3):
  keys = jax.random.split(jax.random.key(seed), 3)
  draw = lambda key: jax.random.normal(key, (*shape, k))
  return mdn.Mixture(draw(keys[0]), 2 * draw(keys[1]), 0.5 * draw(keys[2]) - 0.5)


def sequences(n=B, seed=0, length=T):
  """x of n episodes that fill their sequences, the last of which ends at its fourth step."""
  rng = np.random.default_rng(seed)
  x = np.zeros((n, length, W), np.float32)
  x[..., :L], x[..., L : 2 * L] = rng.normal(size=(n, length, L)), -40.0
  x[..., 2 * L : 2 * L + A] = rng.uniform(-1, 1, (n, length, A))
  x[..., -4], x[:, 0, -2], x[..., -1] = 1.0, 1.0, 1.0
  x[-1, 3, -3] = 1.0
  x[-1, 4:] = 0.0
  return x


@pytest.fixture(scope="module")
def params():
  return jax.jit(MODEL.init)(jax.random.key(0), {"x": jnp.asarray(sequences())})


def count(model):
  found = jax.eval_shape(model.init, jax.random.key(0), {"x": jnp.zeros((1, *model.data_shape))})
  return sum(a.size for a in jax.tree.leaves(found))


@pytest.mark.parametrize("latents,actions,hidden,options,number", [
  (32, 3, 256, {}, 422_368),
  (64, 1, 512, {"done": True}, 1_676_737),
  (64, 1, 512, {"done": True, "restart_input": True}, 1_678_785),
])  # fmt: skip
def test_numbers_of_parameters_are_those_of_the_paper(latents, actions, hidden, options, number):
  shape = (2, mdn_rnn.num_columns(latents, actions))
  assert count(mdn_rnn.Model(shape, latents, actions, hidden, **options)) == number


def test_the_density_integrates_to_one_and_is_scipy_s():
  p = mixture()
  for entry in range(L):
    one = mdn.Mixture(*(np.asarray(a, np.float64)[entry] for a in p))
    weights = scipy.special.softmax(one.logits)
    theirs = lambda z, one=one, weights=weights: weights @ scipy.stats.norm.pdf(z, one.mean, np.exp(one.log_scale))
    grid = np.linspace(-30, 30, 20_001)
    ours = mdn.log_prob(mdn.Mixture(*(jnp.broadcast_to(a[entry], (grid.size, 3)) for a in p)), jnp.asarray(grid))
    assert scipy.integrate.trapezoid(np.exp(ours), grid) == pytest.approx(1, abs=1e-5)
    for z in (-2.3, 0.1, 4.0):
      found = float(mdn.log_prob(p, jnp.full(L, z))[entry])
      assert found == pytest.approx(np.log(theirs(z)), abs=2e-5)


def test_the_gradient_is_that_of_differences():
  p, z = mixture(4), jnp.asarray([0.3, -1.1])
  ours = jax.grad(lambda p: mdn.log_prob(p, z).sum())(p)

  def plain(flat):
    logits, mean, log_scale = flat.reshape(3, L, 3)
    log_n = scipy.stats.norm.logpdf(np.asarray(z)[:, None], mean, np.exp(log_scale))
    return scipy.special.logsumexp(scipy.special.log_softmax(logits, -1) + log_n, -1).sum()

  flat = np.stack([np.asarray(a, np.float64) for a in p]).ravel()
  step = 1e-6 * np.eye(flat.size)
  theirs = [(plain(flat + d) - plain(flat - d)) / 2e-6 for d in step]
  np.testing.assert_allclose(np.stack(ours).ravel(), theirs, atol=2e-4)


def test_temperature_zero_is_the_mean_of_the_likeliest_component():
  p = mixture(2)
  keys = jax.random.split(jax.random.key(1))
  z = mdn.sample(
    jax.tree.map(lambda a: jnp.broadcast_to(a, (50, L, 3)), mdn.at_temperature(p, 1e-6)),
    jax.random.uniform(keys[0], (50, L)), jax.random.normal(keys[1], (50, L)),
  )  # fmt: skip
  best = jnp.take_along_axis(p.mean, jnp.argmax(p.logits, -1)[:, None], 1)[:, 0]
  np.testing.assert_allclose(z, jnp.broadcast_to(best, z.shape), atol=0.02)


@pytest.mark.parametrize("tau", [1.0, 1.3])
def test_draws_have_the_moments_of_the_temperature(tau):
  """Weights softmax(logits / tau), variances tau sigma^2: within five standard errors of 200,000 draws."""
  p, n = mixture(3), 200_000
  keys = jax.random.split(jax.random.key(2))
  at = jax.tree.map(lambda a: jnp.broadcast_to(a, (n, L, 3)), mdn.at_temperature(p, tau))
  z = np.asarray(mdn.sample(at, jax.random.uniform(keys[0], (n, L)), jax.random.normal(keys[1], (n, L))), np.float64)
  weights = scipy.special.softmax(np.asarray(p.logits, np.float64) / tau, -1)
  mean = (weights * p.mean).sum(-1)
  variance = (weights * (np.exp(2 * p.log_scale) * tau + p.mean**2)).sum(-1) - mean**2
  np.testing.assert_array_less(abs(z.mean(0) - mean), 5 * np.sqrt(variance / n))
  squares = (z - mean) ** 2
  np.testing.assert_array_less(abs(squares.mean(0) - variance), 5 * squares.std(0) / np.sqrt(n))


def test_the_scan_is_step_by_step_and_a_batch_is_single(params):
  x = jnp.asarray(sequences())
  read = jax.jit(lambda x: MODEL.apply(params, MODEL.steps(x), MODEL.steps(x).mean, method="read"))
  step = jax.jit(lambda state, s: MODEL.apply(params, state, s.mean, s.action, s.restart, method="step"))
  h = read(x)
  state = (jnp.zeros((B, H)),) * 2
  for t in range(T):
    state = step(state, MODEL.steps(x[:, t]))
    np.testing.assert_allclose(state[0], h[:, t], atol=1e-6)
  np.testing.assert_allclose(jnp.concatenate([read(x[i : i + 1]) for i in range(B)]), h, atol=1e-6)


def test_a_restart_is_an_episode_apart(params):
  """Two episodes in one sequence have the h of each alone, and no term crosses from one into the other."""
  x = sequences(2, seed=1)
  x[:, 4:] = sequences(2, seed=2)[:, 4:]
  x[..., -1] = 1.0
  together = np.concatenate([x[:1, :3], x[1:, :3]], 1)
  together[:, 3, -2] = 1.0  # restart
  apart = np.stack([together[0, :3], together[0, 3:]])
  apart[:, 0, -2] = 1.0
  read = jax.jit(lambda x: MODEL.apply(params, MODEL.steps(x), MODEL.steps(x).mean, method="read"))
  np.testing.assert_allclose(read(together)[0], read(apart).reshape(T, H), atol=1e-6)
  evaluate = jax.jit(lambda x: MODEL.apply(params, jax.random.key(0), {"x": x}, method="evaluate")["log_px"].sum())
  np.testing.assert_allclose(evaluate(together), evaluate(apart), rtol=1e-5)


def test_what_is_behind_the_end_has_no_influence(params):
  loss = jax.jit(lambda x: MODEL.apply(params, jax.random.key(0), {"x": x}, method="bound")[0])
  x, other = sequences(), sequences()
  other[-1, 4:, : 2 * L + A] = 7.0
  np.testing.assert_allclose(loss(x), loss(other), rtol=1e-6)
  other[-1, 3, 0] += 1.0
  assert abs(float(loss(x)[-1] - loss(other)[-1])) > 1e-4


def test_the_end_of_an_episode_has_its_weight(params):
  x = jnp.asarray(sequences())
  bound = lambda weight: MODEL.clone(done_weight=weight).apply(params, jax.random.key(0), {"x": x}, method="bound")[1]
  logits = MODEL.apply(
    params, MODEL.apply(params, MODEL.steps(x), MODEL.steps(x).mean, method="read"), method="following"
  )
  found = bound(10.0)["log_pdone"][-1] - bound(1.0)["log_pdone"][-1]
  np.testing.assert_allclose(found, 9 * jax.nn.log_sigmoid(logits.done[-1, 3]) / T, rtol=1e-4)
  np.testing.assert_allclose(bound(10.0)["log_pdone"][0], bound(1.0)["log_pdone"][0], rtol=1e-6)


def test_m_reaches_the_entropy_of_a_known_recurrence():
  """z' = 0.8 z + a +- 1/2 + 0.3 noise: the entropy of a mixture of two normals, within 0.02 nats a latent."""
  grid = np.linspace(-4, 4, 8001)
  density = 0.5 * (scipy.stats.norm.pdf(grid, -0.5, 0.3) + scipy.stats.norm.pdf(grid, 0.5, 0.3))
  entropy = -scipy.integrate.trapezoid(density * np.log(density), grid)

  def draw(n, length, seed):
    rng, x = np.random.default_rng(seed), np.zeros((n, length, W), np.float32)
    action = rng.uniform(-1, 1, (n, length, A))
    z = np.zeros((n, L))
    for t in range(length):
      x[:, t, :L] = z
      z = 0.8 * z + action[:, t] + rng.choice([-0.5, 0.5], (n, L)) + 0.3 * rng.normal(size=(n, L))
    x[..., L : 2 * L], x[..., 2 * L : 2 * L + A], x[:, 0, -2], x[..., -1] = -40.0, action, 1.0, 1.0
    return x

  length, steps = 12, 700
  model = mdn_rnn.Model((length, W), latent_dim=L, action_dim=A, hidden=16, num_components=2)
  system = own_bound.make(model, optax.adam(optax.cosine_decay_schedule(2e-2, steps)))
  data, test = jnp.asarray(draw(6000, length, 0)), jnp.asarray(draw(3000, length, 1))
  state = jax.jit(system.init)(jax.random.key(0), {"x": data[:2]}, {})

  @jax.jit
  def train(state):
    def one(state, i):
      rows = jax.lax.dynamic_slice_in_dim(data, 100 * (i % 60), 100)
      return system.train_step(state, jax.random.fold_in(jax.random.key(1), i), {"x": rows})

    return jax.lax.scan(one, state, jnp.arange(steps))[0]

  found = jax.jit(system.eval_step)(train(state), jax.random.key(2), {"x": test})["nats_per_latent"]
  assert float(found.mean()) == pytest.approx(entropy, abs=0.02)


def test_mistakes_are_named():
  key, x = jax.random.key(0), {"x": jnp.zeros((1, T, W))}
  with pytest.raises(errors.UserError, match=rf"x must be \[T, {W + 1}\]"):
    mdn_rnn.Model((T, W), latent_dim=L, action_dim=A + 1).init(key, x)
  with pytest.raises(errors.UserError, match="num_components = 0"):
    mdn_rnn.Model((T, W), latent_dim=L, action_dim=A, num_components=0).init(key, x)

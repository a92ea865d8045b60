"""EM of Gaussian mixtures: scikit-learn from the same start, ascent, gradients, singular data, empty components."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import mixture

from dgm_jax.core import errors
from dgm_jax.models.mixtures import base, covariances, gaussian_mixture
from dgm_jax.principles import em
from helpers import linear_gaussian as lg

pytestmark = pytest.mark.smoke

N, D, C = 600, 3, 3
RNG = np.random.default_rng(0)
CENTRES = np.array([[0.0, 0, 0], [2, 2, 0], [-3, 1, 1]])
X = CENTRES[np.arange(N) % C] + RNG.normal(size=(N, D)) * [1.0, 0.5, 0.3] + 10
KEY = jax.random.key(1)
KINDS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def slow_except(*quick):
  return [pytest.param(k, marks=[pytest.mark.slow] * (k not in quick)) for k in KINDS]


every_kind = pytest.mark.parametrize("kind", slow_except("full", "diagonal"))


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def model(kind="full", floor=0.0):
  return gaussian_mixture.Model((D,), num_components=C, covariance=kind, floor=floor)


@functools.cache
def system(kind="full", floor=0.0, num_examples=N, **options):
  return em.make(model(kind, floor), None, num_examples=num_examples, **{"block": 250} | options)


@functools.cache
def compiled(made):
  return jax.jit(lambda key: made.init(key, {"x": jnp.asarray(X[:2])}, {})), jax.jit(made.train_step)


def train(made, batches, state=None):
  """(the last state, metrics {name: [steps]}) of one step on each x in `batches`."""
  init, step = compiled(made)
  state, rows = init(jax.random.key(0)) if state is None else state, []
  for x in batches:
    state, metrics = step(state, KEY, {"x": x})
    rows.append(metrics)
  return state, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@functools.cache
def initial_params(kind="full"):
  """The parameters before the first step of `train`."""
  with jax.enable_x64(True):
    params = compiled(system(kind))[0](jax.random.key(0)).params
    return jax.jit(model(kind).start)(jax.random.split(KEY)[0], params, {"x": X})


def started(made, params):
  """A state with these parameters that counts as initialised."""
  state = compiled(made)[0](jax.random.key(0))
  return state.replace(params=params, variables={"em": state.variables["em"] | {"started": jnp.ones((), bool)}})


def covariance_of(kind, roots):
  roots = np.asarray(roots)
  return roots @ np.swapaxes(roots, -1, -2) if kind in ("full", "tied") else roots**2


def close(a, b, rtol=1e-8, atol=0.0):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), a, b)


@every_kind
def test_ten_steps_agree_with_scikit_learn(kind):
  """In parameters, densities and responsibilities; the last digits differ by the order of sums."""
  start = initial_params(kind)
  precision = covariance_of(kind, start["roots"])
  precision = np.linalg.inv(precision) if kind in ("full", "tied") else 1 / precision
  begin = {"weights_init": np.full(C, 1 / C), "means_init": np.asarray(start["means"]), "precisions_init": precision}
  theirs = mixture.GaussianMixture(C, covariance_type=KINDS[kind], reg_covar=0, tol=0, max_iter=10, **begin)
  with pytest.warns(UserWarning, match="did not converge"):
    theirs.fit(X)
  state, _ = train(system(kind), [X] * 10)
  np.testing.assert_allclose(jnp.exp(state.params["log_weights"]), theirs.weights_, rtol=1e-9)
  np.testing.assert_allclose(state.params["means"], theirs.means_, rtol=1e-9)
  np.testing.assert_allclose(covariance_of(kind, state.params["roots"]), theirs.covariances_, rtol=1e-8, atol=1e-12)
  bound = model(kind).bind({"params": state.params})
  np.testing.assert_allclose(bound.log_prob({"x": X}), theirs.score_samples(X), rtol=1e-9)
  np.testing.assert_allclose(bound.responsibilities({"x": X}), theirs.predict_proba(X), atol=1e-9)
  assert bound.num_free_parameters == theirs._n_parameters()


@pytest.mark.parametrize("floor", [0.0, pytest.param(0.01, marks=pytest.mark.slow)])
@every_kind
def test_a_step_never_increases_the_loss(kind, floor):
  _, metrics = train(system(kind, floor), [X] * 60)
  assert np.diff(metrics["loss"]).max() < 1e-9
  assert metrics["loss"][0] > metrics["loss"][-1] + 0.05
  np.testing.assert_allclose(metrics["loss"] + metrics["log_px"], metrics["penalty"], atol=1e-12)
  assert (metrics["penalty"] > 0).all() if floor else abs(metrics["penalty"]).max() < 1e-12


@every_kind
def test_the_moments_give_the_gradient_of_the_likelihood(kind):
  """Fisher's identity: d log p / d mean = root^-T first; d log p / d root = root^-T (second - weight I)."""
  params = initial_params(kind) | {"means": initial_params(kind)["means"] + 0.1}

  def both(params, x):
    value = lambda params: jnp.sum(jax.scipy.special.logsumexp(model(kind).log_joint(params, x), 1))
    return jax.grad(value)(params), model(kind).e_step(params, {"x": x}, jnp.ones(N))[0]

  grads, s = jax.jit(both)(params, X)
  roots = params["roots"]
  if kind in ("full", "tied"):
    turn = np.swapaxes(np.linalg.inv(roots), -1, -2)
    at_means = np.einsum("cde,ce->cd" if kind == "full" else "de,ce->cd", turn, s.first)
    weight = s.weight[:, None, None] if kind == "full" else N
    at_roots, found = np.tril(turn @ (s.second - weight * np.eye(D))), np.tril(grads["roots"])
  else:
    at_means, found = s.first / roots.reshape(C, -1), grads["roots"]
    at_roots = (s.second - (s.weight[:, None] if kind == "diagonal" else D * s.weight)) / roots
  close((grads["means"], found), (at_means, at_roots), atol=1e-8)


@pytest.mark.parametrize("kind", slow_except("full"))
def test_moments_are_converted_to_new_parameters(kind):
  """They equal sums with the same weights in the new coordinates."""
  of_kind = covariances.KINDS[kind]
  new = train(system(kind), [X] * 5)[0].params

  def both(x, old, new):
    w = jax.nn.softmax(model(kind).log_joint(old, x), 1).T
    s, expected = (of_kind.moments(x, p["means"], p["roots"], w) for p in (old, new))
    return model(kind).move(old, s, new), expected

  close(*jax.jit(both)(X, initial_params(kind), new), atol=1e-8)


def test_statistics_are_additive():
  params = initial_params()
  e_step = lambda batch, weight: model().e_step(params, batch, weight)
  whole = jax.jit(e_step)({"x": X}, np.ones(N))
  close(jax.jit(em.sums, static_argnums=(0, 2))(e_step, {"x": X}, 7), whole, atol=1e-9)


def test_an_epoch_of_batches_equals_one_full_step():
  """The M-step comes at the end, so that all E-steps of an epoch have the same parameters."""
  made = system()
  passes, whole = train(made, [X] * 3, started(made, initial_params()))
  state, metrics = train(made, list(X.reshape(4, N // 4, D)) * 3, started(made, initial_params()))
  close(state.params, passes.params)
  np.testing.assert_allclose(metrics["loss"].reshape(3, 4).mean(1), whole["loss"], rtol=1e-9)


@pytest.mark.parametrize("kind", slow_except("diagonal"))
def test_online_em_without_memory_equals_batch_em(kind):
  batch, _ = train(system(kind), [X] * 8)
  online, _ = train(system(kind, update="online", decay=0.0), [X] * 8)
  close(online.params, batch.params, rtol=1e-7)


@pytest.mark.slow
def test_online_em_reaches_the_likelihood_of_batch_em():
  """In 40 epochs of batches of 30: the last steps have size (800 / 11)^-0.6 = 0.08."""
  order = np.concatenate([np.random.default_rng(i).permutation(N) for i in range(40)]).reshape(-1, 30)
  _, batch = train(system(), [X] * 60)
  online, _ = train(system(update="online", delay=10.0), X[order])
  log_px = model().bind({"params": online.params}).log_prob({"x": X}).mean()
  assert batch["log_px"][-1] - 0.02 < log_px < batch["log_px"][-1] + 1e-6


def test_a_started_state_is_not_initialised_again():
  """For instance with parameters of another run: the first step starts from them."""
  found, _ = train(system(), [X], started(system(), initial_params()))
  close(found.params, train(system(), [X])[0].params)
  other, _ = train(system(), [X], started(system(), initial_params() | {"means": initial_params()["means"] + 1}))
  assert abs(other.params["means"] - found.params["means"]).max() > 1e-3


def test_seeds_are_drawn_by_squared_distance():
  """k-means++ on a line: the second seed has the exact probabilities, squared distances to the first over their sum."""
  x, draws = jnp.asarray([[0.0], [1.0], [3.0]]), 4000
  seeds = jax.jit(jax.vmap(lambda key: base.spread_out(key, x, 2)[:, 0]))(jax.random.split(KEY, draws))
  assert abs(lg.in_errors(np.asarray(seeds[:, 0] == 0, np.float64), 1 / 3)) < 4
  for first, second, expected in [(0, 1, 1 / 10), (0, 3, 9 / 10), (1, 0, 1 / 5), (3, 0, 9 / 13)]:
    among = seeds[seeds[:, 0] == first]
    assert abs(lg.in_errors(np.asarray(among[:, 1] == second, np.float64), expected)) < 4


SINGULAR = {
  "one point": np.ones((50, D)),
  "two points": np.repeat([[0.0] * D, [1.0] * D], 25, 0),
  "a constant column": np.stack([np.arange(50.0), np.ones(50), np.arange(50.0) ** 2], 1),
  "a line": np.arange(50.0)[:, None] * np.ones(D),
  "an outlier": np.concatenate([RNG.normal(size=(49, D)), [[1e6] * D]]),
}


@pytest.mark.parametrize("kind", slow_except("full"))
@pytest.mark.parametrize("data", SINGULAR)
def test_singular_data_give_finite_results_with_the_mean_of_the_data(kind, data):
  """In single precision, where a floor of 1e-6 is negligible; sum_c pi_c m_c is the mean of x after an M-step."""
  x = SINGULAR[data]
  with jax.enable_x64(False):
    state, metrics = train(system(kind, 1e-6, num_examples=50), [x.astype("f")] * 40)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, metrics)))
  weights, means = np.exp(np.asarray(state.params["log_weights"], float)), np.asarray(state.params["means"], float)
  rounding = 1e-5 * max(1, abs(x).max())
  assert weights.sum() == pytest.approx(1, abs=1e-5)
  np.testing.assert_allclose(weights @ means, x.mean(0), atol=rounding)
  assert (means > x.min(0) - rounding).all()
  assert (means < x.max(0) + rounding).all()


def test_an_empty_component_restarts_at_the_heaviest():
  far = initial_params() | {"means": initial_params()["means"].at[1].set(1e4)}
  e_step = jax.jit(model().e_step)
  s, _ = e_step(far, {"x": X}, np.ones(N))
  assert s.weight[1] == 0
  new = jax.jit(model().m_step)(KEY, far, s)
  heaviest, share = int(jnp.argmax(s.weight)), s.weight / N
  np.testing.assert_allclose(jnp.exp(new["log_weights"][jnp.array([1, heaviest])]), share[heaviest] / 2, rtol=1e-9)
  np.testing.assert_allclose(jnp.exp(new["log_weights"]).sum(), 1, rtol=1e-9)
  np.testing.assert_array_equal(new["roots"][1], new["roots"][heaviest])
  white = np.linalg.solve(new["roots"][1], new["means"][1] - new["means"][heaviest])
  assert 0.01 < np.linalg.norm(white) < 5  # a draw of that component
  s, _ = e_step(new, {"x": X}, np.ones(N))
  assert s.weight.min() > 1


@pytest.mark.parametrize("options,named", [
  ({"update": "onlin"}, "Did you mean 'online'"),
  ({"decay": 1.5}, "decay = 1.5"),
  ({"delay": -1.0}, "delay = -1.0"),
  ({"block": 0}, "block = 0"),
])  # fmt: skip
def test_invalid_options_raise(options, named):
  with pytest.raises(errors.UserError, match=named):
    system(**options)

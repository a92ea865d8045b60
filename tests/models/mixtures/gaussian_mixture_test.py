"""EM of Gaussian mixtures: scikit-learn from the same start, ascent, gradients, and what is left of nothing."""

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

N, D, C = 600, 3, 3
RNG = np.random.default_rng(0)
CENTRES = np.array([[0.0, 0, 0], [2, 2, 0], [-3, 1, 1]])
X = CENTRES[np.arange(N) % C] + RNG.normal(size=(N, D)) * [1.0, 0.5, 0.3] + 10
KEY = jax.random.key(1)
KINDS = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


def slowly(*quick):
  return [pytest.param(k, marks=[pytest.mark.slow] * (k not in quick)) for k in KINDS]


every_kind = pytest.mark.parametrize("kind", slowly("full", "diagonal"))


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
  """(the last state, metrics {name: [steps]}) of steps on some x."""
  init, step = compiled(made)
  state, rows = init(jax.random.key(0)) if state is None else state, []
  for x in batches:
    state, metrics = step(state, KEY, {"x": x})
    rows.append(metrics)
  return state, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@functools.cache
def begun(kind="full"):
  """What the first step of `train` begins with."""
  with jax.enable_x64(True):
    params = compiled(system(kind))[0](jax.random.key(0)).params
    return jax.jit(model(kind).start)(jax.random.split(KEY)[0], params, {"x": X})


def started(made, params):
  """A state that has begun, with these parameters."""
  state = compiled(made)[0](jax.random.key(0))
  return state.replace(params=params, variables={"em": state.variables["em"] | {"started": jnp.ones((), bool)}})


def covariance_of(kind, roots):
  roots = np.asarray(roots)
  return roots @ np.swapaxes(roots, -1, -2) if kind in ("full", "tied") else roots**2


def close(a, b, rtol=1e-8, atol=0.0):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), a, b)


@every_kind
def test_ten_steps_are_those_of_scikit_learn(kind):
  """In all that a mixture is; the last digits are those of sums in another order."""
  start = begun(kind)
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
def test_a_step_never_raises_the_loss(kind, floor):
  _, metrics = train(system(kind, floor), [X] * 60)
  assert np.diff(metrics["loss"]).max() < 1e-9
  assert metrics["loss"][0] > metrics["loss"][-1] + 0.05
  np.testing.assert_allclose(metrics["loss"] + metrics["log_px"], metrics["penalty"], atol=1e-12)
  assert (metrics["penalty"] > 0).all() if floor else abs(metrics["penalty"]).max() < 1e-12


@every_kind
def test_the_moments_give_the_gradient_of_the_likelihood(kind):
  """Fisher's identity: d log p / d mean = root^-T first; d log p / d root = root^-T (second - weight I)."""
  params = begun(kind) | {"means": begun(kind)["means"] + 0.1}

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


@pytest.mark.parametrize("kind", slowly("full"))
def test_moments_move_with_the_parameters(kind):
  """As if the same weights had been summed in the new coordinates."""
  of_kind = covariances.KINDS[kind]
  new = train(system(kind), [X] * 5)[0].params

  def both(x, old, new):
    w = jax.nn.softmax(model(kind).log_joint(old, x), 1).T
    s, expected = (of_kind.moments(x, p["means"], p["roots"], w) for p in (old, new))
    return model(kind).move(old, s, new), expected

  close(*jax.jit(both)(X, begun(kind), new), atol=1e-8)


def test_parts_of_a_batch_add_up():
  params = begun()
  e_step = lambda batch, weight: model().e_step(params, batch, weight)
  whole = jax.jit(e_step)({"x": X}, np.ones(N))
  close(jax.jit(em.sums, static_argnums=(0, 2))(e_step, {"x": X}, 7), whole, atol=1e-9)


def test_an_epoch_of_batches_is_one_pass():
  """Its M-step comes at its end, so that all its E-steps have the same parameters."""
  made = system()
  passes, whole = train(made, [X] * 3, started(made, begun()))
  state, metrics = train(made, list(X.reshape(4, N // 4, D)) * 3, started(made, begun()))
  close(state.params, passes.params)
  np.testing.assert_allclose(metrics["loss"].reshape(3, 4).mean(1), whole["loss"], rtol=1e-9)


@pytest.mark.parametrize("kind", slowly("diagonal"))
def test_online_em_that_forgets_all_but_the_batch_is_batch_em(kind):
  batch, _ = train(system(kind), [X] * 8)
  online, _ = train(system(kind, update="online", decay=0.0), [X] * 8)
  close(online.params, batch.params, rtol=1e-7)


@pytest.mark.slow
def test_online_em_finds_what_batch_em_finds():
  """By 40 epochs of batches of 30: the newest steps are of size (800 / 11)^-0.6 = 0.08."""
  order = np.concatenate([np.random.default_rng(i).permutation(N) for i in range(40)]).reshape(-1, 30)
  _, batch = train(system(), [X] * 60)
  online, _ = train(system(update="online", delay=10.0), X[order])
  log_px = model().bind({"params": online.params}).log_prob({"x": X}).mean()
  assert batch["log_px"][-1] - 0.02 < log_px < batch["log_px"][-1] + 1e-6


def test_what_was_begun_is_not_begun_again():
  """From the parameters of another run, say; the first step makes an M-step of them."""
  found, _ = train(system(), [X], started(system(), begun()))
  close(found.params, train(system(), [X])[0].params)
  other, _ = train(system(), [X], started(system(), begun() | {"means": begun()["means"] + 1}))
  assert abs(other.params["means"] - found.params["means"]).max() > 1e-3


def test_seeds_are_drawn_by_the_square_of_their_distance():
  """k-means++ on a line: after the first seed the second is at a share of squared distances, exactly."""
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


@pytest.mark.parametrize("kind", slowly("full"))
@pytest.mark.parametrize("data", SINGULAR)
def test_singular_data_give_numbers(kind, data):
  """In single precision, too, where a floor of 1e-6 is next to nothing."""
  with jax.enable_x64(False):
    state, metrics = train(system(kind, 1e-6, num_examples=50), [SINGULAR[data].astype("f")] * 40)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, metrics)))


def test_an_empty_component_starts_anew_from_the_heaviest():
  far = begun() | {"means": begun()["means"].at[1].set(1e4)}
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
def test_options_that_cannot_be_are_refused(options, named):
  with pytest.raises(errors.UserError, match=named):
    system(**options)

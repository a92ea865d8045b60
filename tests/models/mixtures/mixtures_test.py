"""Mixtures other than the Gaussian, and k-means: scipy's densities, ascent, scikit-learn from the same start."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn import cluster

from dgm_jax.models.mixtures import base, bernoulli_mixture, factor_analyser_mixture, kmeans, student_t_mixture
from dgm_jax.principles import em

pytestmark = pytest.mark.slow  # compiling all of them takes minutes

N, D, C = 300, 4, 3
RNG = np.random.default_rng(0)
CENTRES = 3 * RNG.normal(size=(C, D))
X = CENTRES[np.arange(N) % C] + RNG.standard_t(3, size=(N, D)) @ RNG.normal(size=(D, D)) * 0.4
BITS = (RNG.random((N, D)) < 1 / (1 + np.exp(-CENTRES[np.arange(N) % C]))).astype(float)
KEY = jax.random.key(1)
MODELS = {
  "bernoulli": bernoulli_mixture.Model((D,), num_components=C),
  "student_t": student_t_mixture.Model((D,), num_components=C, dof=4.0, floor=1e-4),
  "student_t_tied": student_t_mixture.Model((D,), num_components=C, covariance="tied", floor=0.0),
  "student_t_diagonal": student_t_mixture.Model((D,), num_components=C, covariance="diagonal", learn_dof=False),
  "factor_analysers": factor_analyser_mixture.Model((D,), num_components=C, latent_dim=2),
  "pcas": factor_analyser_mixture.Model((D,), num_components=C, latent_dim=1, isotropic=True),
  "kmeans": kmeans.Model((D,), num_components=C, seeding="random"),
}


def slow_except(*quick):
  return [pytest.param(name, marks=[pytest.mark.slow] * (name not in quick)) for name in MODELS]


every_model = pytest.mark.parametrize("name", slow_except("bernoulli", "student_t", "factor_analysers", "kmeans"))
some_models = pytest.mark.parametrize("name", slow_except("bernoulli", "kmeans"))


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def data(name):
  return BITS if name == "bernoulli" else X


@functools.cache
def compiled(name, **options):
  made = em.make(MODELS[name], None, num_examples=N, block=128, **options)
  return jax.jit(lambda key: made.init(key, {"x": jnp.zeros((2, D))}, {})), jax.jit(made.train_step)


@functools.cache
def train(name, steps, **options):
  """(the last state, metrics {name: [steps]}) of steps on all data."""
  init, step = compiled(name, **options)
  state, rows = init(jax.random.key(0)), []
  for _ in range(steps):
    state, metrics = step(state, KEY, {"x": data(name)})
    rows.append(metrics)
  return state, {k: np.stack([row[k] for row in rows]) for k in rows[0]}


@every_model
def test_a_step_never_increases_the_loss(name):
  state, metrics = train(name, 60)
  assert np.diff(metrics["loss"]).max() < 1e-9
  assert metrics["loss"][0] > metrics["loss"][-1] + 0.01
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@some_models
def test_online_em_without_memory_equals_batch_em(name):
  batch, online = train(name, 6)[0], train(name, 6, update="online", decay=0.0)[0]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), online.params, batch.params)


@some_models
def test_statistics_are_converted_to_new_parameters(name):
  """With the same weights, sums about old locations become sums about new ones."""
  model, old, new = MODELS[name], train(name, 1)[0].params, train(name, 6)[0].params
  if not hasattr(model, "move"):
    return
  e_step = jax.jit(lambda params: model.e_step(params, {"x": data(name)}, jnp.ones(N))[0])
  s = e_step(old)
  there_and_back = jax.jit(lambda s: model.move(new, model.move(old, s, new), old))(s)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7), there_and_back, s)
  moved = jax.jit(model.move)(old, s, new)
  a, b = jax.jit(model.m_step)(KEY, old, s), jax.jit(model.m_step)(KEY, new, moved)
  if "student" not in name or not model.learn_dof:  # the update of v starts at v
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), b, a)


def log_prob(name, params, x):
  return jax.jit(lambda params, x: MODELS[name].bind({"params": params}).log_prob({"x": x}))(params, x)


def mixed(weights, log_components):
  return scipy.special.logsumexp(np.log(weights)[:, None] + np.stack(log_components), 0)


def test_a_mixture_of_bernoullis_sums_to_one():
  params = train("bernoulli", 6)[0].params
  bits = np.array(list(itertools.product([0.0, 1.0], repeat=D)))
  p, weights = scipy.special.expit(params["logits"]), np.exp(params["log_weights"])
  expected = mixed(weights, [scipy.stats.bernoulli(q).logpmf(bits).sum(1) for q in p])
  np.testing.assert_allclose(log_prob("bernoulli", params, bits), expected, rtol=1e-9)
  np.testing.assert_allclose(np.exp(expected).sum(), 1, rtol=1e-9)


def test_the_density_of_students_t_agrees_with_scipy():
  params = train("student_t", 6)[0].params
  roots, v = np.asarray(params["roots"]), np.exp(params["log_dof"])
  each = [
    scipy.stats.multivariate_t(m, l @ l.T, df).logpdf(X) for m, l, df in zip(params["means"], roots, v, strict=True)
  ]
  np.testing.assert_allclose(log_prob("student_t", params, X), mixed(np.exp(params["log_weights"]), each), rtol=1e-9)


@pytest.mark.parametrize("name", ["factor_analysers", pytest.param("pcas", marks=pytest.mark.slow)])
def test_the_density_of_factor_analysers_agrees_with_normals(name):
  params = train(name, 6)[0].params
  each = []
  for w, b, log_psi in zip(params["loadings"], params["loc"], params["log_variance"], strict=True):
    covariance = w @ w.T + np.diag(np.broadcast_to(np.exp(log_psi), D))
    each.append(scipy.stats.multivariate_normal(b, covariance).logpdf(X))
  np.testing.assert_allclose(log_prob(name, params, X), mixed(np.exp(params["log_weights"]), each), rtol=1e-9)


@functools.cache
def gradient_and_sums(name):
  """(the gradient of sum log p(x) at parameters after one step, the E-step's sums there, these parameters)."""
  model, params = MODELS[name], train(name, 1)[0].params
  log_px = lambda params, x: jnp.sum(jax.scipy.special.logsumexp(model.log_joint(params, x), 1))
  both = lambda params, x: (jax.grad(log_px)(params, x), model.e_step(params, {"x": x}, jnp.ones(N))[0])
  return *jax.jit(both)(params, data(name)), params


def test_the_sums_of_a_mixture_of_bernoullis_give_the_gradient():
  """Fisher's identity: d log p / d l_cd = sum_n r_nc (x_nd - p_cd); of the weights, sum_n r_nc - pi_c."""
  grads, s, params = gradient_and_sums("bernoulli")
  expected = s.ones - s.count[:, None] * scipy.special.expit(params["logits"])
  np.testing.assert_allclose(grads["logits"], expected, atol=1e-9)
  np.testing.assert_allclose(grads["log_weights"], s.count - N * np.exp(params["log_weights"]), atol=1e-9)


def test_the_sums_of_factor_analysers_give_the_gradient():
  """Fisher's identity, by the residual of the regression on v = (z, 1) with slopes (W, 0)."""
  grads, (count, s), params = gradient_and_sums("factor_analysers")
  precision, slopes = np.exp(-params["log_variance"]), np.pad(params["loadings"], ((0, 0), (0, 0), (0, 1)))
  left = precision[..., None] * (s.rv - slopes @ s.vv[:, 0])
  np.testing.assert_allclose(grads["loadings"], left[..., :-1], atol=1e-8)
  np.testing.assert_allclose(grads["loc"], left[..., -1], atol=1e-8)
  square = s.rr - 2 * (slopes * s.rv).sum(-1) + ((slopes @ s.vv[:, 0]) * slopes).sum(-1)
  np.testing.assert_allclose(grads["log_variance"], 0.5 * (square * precision - count[:, None]), atol=1e-8)


def test_kmeans_agrees_with_scikit_learn_from_the_same_centres():
  init, _ = compiled("kmeans")
  begin = jax.jit(MODELS["kmeans"].start)
  start = begin(jax.random.split(KEY)[0], init(jax.random.key(0)).params, {"x": X})
  theirs = cluster.KMeans(C, init=np.asarray(start["means"]), n_init=1, tol=0, max_iter=300, algorithm="lloyd").fit(X)
  state, metrics = train("kmeans", 60)
  np.testing.assert_allclose(state.params["means"], theirs.cluster_centers_, rtol=1e-9)
  np.testing.assert_allclose(metrics["loss"][-1] * N, theirs.inertia_, rtol=1e-9)
  found = MODELS["kmeans"].bind({"params": state.params}).responsibilities({"x": jnp.asarray(X)})
  np.testing.assert_array_equal(found.argmax(1), theirs.labels_)


def test_outliers_hardly_move_a_students_t():
  """With a tenth of the data far away it keeps the mean and the scale of the others, unlike a normal."""
  x = RNG.normal(size=(N, D))
  x[: N // 10] += 30
  model = student_t_mixture.Model((D,), num_components=1)
  made = em.make(model, None, num_examples=N)
  run = lambda state, x: jax.lax.scan(lambda state, _: made.train_step(state, KEY, {"x": x}), state, length=100)[0]
  params = jax.jit(lambda x: run(made.init(KEY, {"x": x[:2]}, {}), x))(x).params
  assert abs(params["means"]).max() < 0.3 < 2.5 < abs(x.mean(0)).max()
  assert 0.2 < np.linalg.det(params["roots"][0]) < 2 < 100 * np.linalg.det(np.cov(x.T))


@pytest.mark.parametrize("name", ["bernoulli", "student_t", "factor_analysers", "kmeans"])
def test_draws_have_the_mean_of_the_model(name):
  """Their mean is within 4.5 standard errors of the mixture's."""
  params = train(name, 6)[0].params
  bound = MODELS[name].bind({"params": params})
  x = np.asarray(jax.jit(lambda key: bound.generate(key, 20000))(KEY))
  expected = np.exp(params["log_weights"]) @ np.asarray(bound.component_means(params))
  assert (abs(x.mean(0) - expected) / (x.std(0) / np.sqrt(len(x)))).max() < 4.5


def test_most_components_may_be_empty():
  empty, source = base.sources(jnp.array([0.0, 0.0, 5.0, 0.0]))
  np.testing.assert_array_equal(empty, [True, True, False, True])
  np.testing.assert_array_equal(source, [2, 2, 2, 2])
  empty, source = base.sources(jnp.array([1.0, 0.0, 5.0, 0.0]))
  np.testing.assert_array_equal(source, [0, 2, 2, 0])

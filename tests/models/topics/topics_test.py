"""LDA and NMF by EM: scikit-learn from the same start, ascent, enumeration of all assignments, planted topics."""

import functools
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy.optimize import linear_sum_assignment
from sklearn import decomposition

from dgm_jax import data
from dgm_jax.core.system import TrainState
from dgm_jax.data.sets import bars
from dgm_jax.evaluate import ais, importance_sampling
from dgm_jax.models.topics import base, nmf
from dgm_jax.models.topics import latent_dirichlet_allocation as lda
from dgm_jax.principles import em
from dgm_jax.training import programs

N, V, K = 60, 12, 3
RNG = np.random.default_rng(0)
BETA = RNG.dirichlet(np.full(V, 0.3), K)
X = np.stack([RNG.multinomial(RNG.integers(5, 40), p @ BETA) for p in RNG.dirichlet([0.5] * K, N)]) * 1.0
KEY = jax.random.key(1)
EXACT = {"tolerance": 1e-13, "max_iterations": 20_000}
LAMBDA = RNG.gamma(2.0, 1.0, (K, V)) + 0.1


def test_the_divergence_of_nmf_is_scipys():
  mean = RNG.gamma(2.0, 1.0, X.shape)
  np.testing.assert_allclose(nmf.Model.divergence(X, mean), scipy.special.kl_div(X, mean).sum(1), rtol=1e-6)


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def model_lda(**options):
  return lda.Model((V,), num_topics=K, **{"alpha": 0.4, "eta": 0.3, **EXACT, **options})


def model_nmf(**options):
  return nmf.Model((V,), data_mean=tuple(X.mean(0).tolist()), num_topics=K, **{**EXACT, **options})


@functools.cache
def compiled(model, **options):
  made = em.make(model, None, num_examples=N, **{"block": 25} | options)
  init = jax.jit(lambda key: made.init(key, {"x": jnp.zeros((2, V))}, {}))
  return init, jax.jit(made.train_step)


def train(model, batches, params=None, step=0, statistics=None, **options):
  """(the last state, metrics {name: [steps]}); from params, as after `step` steps."""
  init, update = compiled(model, **options)
  state, rows = init(jax.random.key(0)), []
  if params is not None:
    begun = {"started": jnp.ones((), bool), "statistics": statistics or state.variables["em"]["statistics"]}
    state = state.replace(params=params, variables={"em": begun}, step=jnp.int32(step))
  for x in batches:
    state, metrics = update(state, KEY, {"x": x})
    rows.append(metrics)
  return state, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def theirs(**options):
  """scikit-learn's model with lambda = LAMBDA, before its first pass."""
  made = decomposition.LatentDirichletAllocation(
    K, doc_topic_prior=0.4, topic_word_prior=0.3, mean_change_tol=1e-13, max_doc_update_iter=20_000, random_state=0,
    **options,
  )  # fmt: skip
  made.partial_fit(X[:1])
  made.components_, made.n_batch_iter_ = LAMBDA.copy(), 1
  made.exp_dirichlet_component_ = np.exp(base.expected_log(LAMBDA))
  return made


def test_the_fast_digamma_agrees_with_scipy():
  x = np.geomspace(0.002, 1e6, 1000)
  np.testing.assert_allclose(base.digamma(x), scipy.special.digamma(x), rtol=1e-8, atol=1e-8)


def test_passes_agree_with_scikit_learn():
  made, scores = theirs(), []
  for _ in range(8):
    scores.append(made.score(X))
    made._em_step(X, total_samples=N, batch_update=True)
  state, metrics = train(model_lda(), [X] * 8, {"topic_words": LAMBDA})
  np.testing.assert_allclose(-N * metrics["loss"], scores, rtol=1e-9)
  np.testing.assert_allclose(state.params["topic_words"], made.components_, rtol=1e-6)
  bound = model_lda().bind({"params": state.params})
  np.testing.assert_allclose(jax.jit(lambda: bound.proportions({"x": X}))(), made.transform(X), rtol=1e-6)
  held_out = bound.evaluate(KEY, {"x": X})["elbo"]
  topics_part = jnp.sum(base.expected_log_ratio(state.params["topic_words"], 0.3))
  perplexity = jnp.exp(-(held_out.sum() + topics_part) / X.sum())
  np.testing.assert_allclose(perplexity, made.perplexity(X), rtol=1e-8)


def test_online_steps_agree_with_scikit_learn():
  """Step sizes (t + 9)^-0.7, as in Hoffman, Blei & Bach (2010), from t = 3."""
  made = theirs(learning_decay=0.7, learning_offset=8.0, total_samples=N)
  made.n_batch_iter_ = 4
  batches = X.reshape(6, 10, V)
  for x in batches:
    made._em_step(x, total_samples=N, batch_update=False)
  start = base.Statistics(jnp.asarray(LAMBDA - 0.3))
  options = {"update": "online", "decay": 0.7, "delay": 8.0, "scale": 9**-0.7}
  state, _ = train(model_lda(), batches, {"topic_words": LAMBDA}, 3, start, **options)
  np.testing.assert_allclose(state.params["topic_words"], made.components_, rtol=1e-6)


@pytest.mark.parametrize("make", [model_lda, pytest.param(model_nmf, marks=pytest.mark.slow)], ids=["lda", "nmf"])
def test_a_step_never_increases_the_loss(make):
  _, metrics = train(make(), [X] * 60)
  assert np.diff(metrics["loss"]).max() < 1e-9
  assert metrics["loss"][0] > metrics["loss"][-1] + 0.5


@pytest.mark.parametrize("make", [model_lda, pytest.param(model_nmf, marks=pytest.mark.slow)], ids=["lda", "nmf"])
def test_lists_of_words_agree_with_the_matrix(make):
  """With max_words of the longest document, and with one fewer, where the batch is treated as a matrix."""
  most = int((X > 0).sum(1).max())
  assert 3 < most < V
  expected, _ = train(make(), [X] * 3)
  for max_words in (most, most - 1):
    found, _ = train(make(max_words=max_words), [X] * 3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), found.params, expected.params)


# Enumeration: documents of a few words, K = 2, V = 3
DOCUMENTS = [(0, 0, 1, 2), (2, 2, 1)]
ALPHA, ETA = 0.7, 0.4


def log_dirichlet_multinomial(counts, prior):
  a, gammaln = np.full(len(counts), prior), scipy.special.gammaln
  return gammaln(a.sum()) - gammaln(a.sum() + np.sum(counts)) + (gammaln(a + counts) - gammaln(a)).sum()


def log_evidence(documents):
  """log p(w | alpha, eta) of all documents with theta and beta integrated out, summed over all assignments z."""
  words, ends = np.concatenate(documents), np.cumsum([len(d) for d in documents])
  terms = []
  for z in itertools.product(range(2), repeat=len(words)):
    z = np.array(z)
    parts = np.split(z, ends[:-1])
    terms.append(
      sum(log_dirichlet_multinomial(np.bincount(part, minlength=2), ALPHA) for part in parts)
      + sum(log_dirichlet_multinomial(np.bincount(words[z == k], minlength=3), ETA) for k in range(2))
    )
  return scipy.special.logsumexp(terms)


def log_pw(words, beta):
  """log p(w | alpha, beta) of a document."""
  terms = [
    log_dirichlet_multinomial(np.bincount(z, minlength=2), ALPHA) + np.log(beta[list(z), list(words)]).sum()
    for z in itertools.product(range(2), repeat=len(words))
  ]
  return scipy.special.logsumexp(terms)


def counts(documents):
  return np.stack([np.bincount(d, minlength=3) for d in documents]).astype(float)


def small(**options):
  return lda.Model((3,), num_topics=2, alpha=ALPHA, eta=ETA, **EXACT, **options)


def test_the_bound_is_below_the_enumerated_evidence():
  x, gaps = counts(DOCUMENTS), []
  for seed in range(5):
    made = em.make(small(), None, num_examples=2)
    state = jax.jit(lambda key, made=made: made.init(key, {"x": x}, {}))(jax.random.key(seed))
    step = jax.jit(made.train_step)
    for _ in range(30):
      state, metrics = step(state, jax.random.key(seed), {"x": x})
    gaps.append(log_evidence(DOCUMENTS) + 2 * float(metrics["loss"]))
  assert 0 < min(gaps) < max(gaps) < 5


@pytest.mark.slow
def test_importance_sampling_and_annealing_agree_with_enumeration():
  """With a proposal half Dirichlet(gamma), half prior, in softmax coordinates, within 5 standard errors."""
  params = {"topic_words": jnp.array([[3.0, 1.0, 0.5], [0.4, 1.0, 2.0]])}
  beta = np.asarray(params["topic_words"] / params["topic_words"].sum(1, keepdims=True))
  exact = np.array([log_pw(d, beta) for d in DOCUMENTS])
  state = TrainState(jnp.int32(0), params, (), {}, {})
  made = types.SimpleNamespace(model=small(), transforms=types.SimpleNamespace(evaluate=lambda key, batch: batch))
  x = {"x": counts(DOCUMENTS)}
  found = importance_sampling.make_log_px(made, 20_000, 2)(state, KEY, x)
  assert (found["elbo"] < exact).all()
  assert (np.abs(found["log_px"] - exact) < 5 * found["log_px_error"]).all()
  assert found["log_px_error"].max() < 0.01
  annealed = ais.make_log_px(made, 2, num_temperatures=8, num_chains=2000, num_leapfrog=3, start="q", chunk=2000)
  found = annealed(state, KEY, x)
  error = np.sqrt(1 / found["ess"] - 1 / 2000)
  assert (np.abs(found["log_px"] - exact) < 5 * error).all()
  assert error.max() < 0.03


def test_log_gammas_are_the_coordinates_of_a_dirichlet():
  a = jnp.array([0.3, 2.0, 5.0])
  z = base.LogGammas(a).sample(seed=KEY, sample_shape=(20_000,))
  theta = jax.nn.softmax(z)
  expected = np.array(a / a.sum())
  np.testing.assert_allclose(theta.mean(0), expected, atol=5 * (theta.std(0) / np.sqrt(20_000)).max())
  np.testing.assert_allclose(z.mean(0), base.LogGammas(a).mean(), atol=5 * (z.std(0) / np.sqrt(20_000)).max())
  log_density = scipy.stats.loggamma(np.asarray(a)).logpdf(np.asarray(z[:10])).sum(1)
  np.testing.assert_allclose(base.LogGammas(a).log_prob(z[:10]), log_density, rtol=1e-8)


def test_the_expected_log_ratio_is_minus_the_kl():
  a = RNG.gamma(2.0, 1.0, 4)
  draws = RNG.dirichlet(a, 100_000)
  value = scipy.stats.dirichlet(np.full(4, 0.6)).logpdf(draws.T) - scipy.stats.dirichlet(a).logpdf(draws.T)
  assert abs(value.mean() - base.expected_log_ratio(a, 0.6)) < 5 * value.std() / np.sqrt(len(value))


def test_nmf_updates_agree_with_scikit_learn():
  w = np.random.default_rng(1).dirichlet(np.ones(V), K)
  h, _, _ = decomposition.non_negative_factorization(
    X, H=w, n_components=K, init="custom", update_H=False, solver="mu", beta_loss="kullback-leibler", max_iter=30_000,
    tol=0,
  )  # fmt: skip
  params = {"topic_words": jnp.asarray(w), "means": jnp.ones(K)}
  found = jax.jit(model_nmf().weights)(params, X)
  np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-3)
  s, reported = jax.jit(model_nmf().e_step)(params, {"x": X}, jnp.ones(N))
  new = model_nmf().m_step(KEY, params, s)["topic_words"]
  updated = w * (h.T @ (X / (h @ w))) / h.sum(0)[:, None]  # the update of Lee & Seung
  np.testing.assert_allclose(new, updated, rtol=1e-3, atol=1e-5)
  expected = (scipy.special.xlogy(X, X / (h @ w)) - X + h @ w).sum()
  np.testing.assert_allclose(reported["distortion"], expected, rtol=1e-6)


def test_nmf_converges_to_scikit_learns_optimum():
  w = RNG.dirichlet(np.full(V, 5.0), K)
  start = np.repeat(X.sum(1, keepdims=True) / K, K, 1)
  h, theirs_w, _ = decomposition.non_negative_factorization(
    X, W=start, H=w, n_components=K, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=3000, tol=0
  )
  mean = h @ theirs_w
  best = (scipy.special.xlogy(X, X / np.where(X > 0, mean, 1)) - X + mean).sum()
  _, metrics = train(model_nmf(), [X] * 400, {"topic_words": w, "means": jnp.ones(K)})
  assert N * metrics["loss"][-1] == pytest.approx(best, rel=1e-4)


def recovered(beta, truth):
  """The total variation distance of each planted topic to its match."""
  distance = 0.5 * np.abs(truth[:, None] - np.asarray(beta)[None]).sum(2)
  return distance[linear_sum_assignment(distance)]


@pytest.mark.parametrize("module,update", [(lda, "batch"), (lda, "online"), (nmf, "batch")])
def test_planted_bars_are_recovered(module, update):
  """In single precision, best of several vmapped random starts: EM may end in another optimum."""
  with jax.enable_x64(False):
    x = data.load("bars", train_size=500).train["x"]
    options = {"alpha": 1.0, "eta": 0.1} if module is lda else {"max_iterations": 20}
    model = module.Model(x.shape[1:], data_mean=tuple(x.mean(0).ravel().tolist()), num_topics=10, **options)
    made = em.make(model, None, num_examples=500, update=update, decay=0.7, delay=10.0, block=500)
    size, steps = (500, 60) if update == "batch" else (100, 150)
    chunk = programs.make_train_chunk(made, lambda key, batch: batch, size, steps)

    def run(seed):
      key = jax.random.key(seed)
      state = chunk(made.init(key, {"x": x[:2]}, {}), key, {"x": jnp.asarray(x)})[0]
      bound = model.bind({"params": state.params})
      (value,) = bound.evaluate(key, {"x": x}).values()
      return jnp.mean(value), bound.topics()

    values, beta = jax.jit(jax.vmap(run))(jnp.arange(3 if module is lda else 12))
    best = beta[jnp.argmax(values) if module is lda else jnp.argmin(values)]
    assert recovered(best, bars.topics(5)).max() < (0.15 if module is lda else 0.3)


def test_words_absent_from_all_topics_give_finite_results():
  with jax.enable_x64(False):
    lam = jnp.full((K, V), 1e-3).at[:, :3].set(50.0)  # digamma(0.001) = -1000
    params = {"topic_words": lam}
    x = np.zeros((3, V), np.uint16)
    x[0, 5], x[1, 0] = 30, 7
    for max_words in (0, 2):
      made = model_lda(alpha=1e-3, max_words=max_words, tolerance=1e-4, max_iterations=50)
      s, reported = jax.jit(made.e_step)(params, {"x": x}, jnp.ones(3))
      assert np.isfinite(s.words).all() and np.isfinite(reported["elbo"])
      np.testing.assert_allclose(s.words.sum(0), x.sum(0), rtol=1e-4)

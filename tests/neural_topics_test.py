"""ProdLDA and NVLDA: the prior, the bound against quadrature, gradients, normalisation, dropout, planted topics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from dgm_jax import data
from dgm_jax.models import neural_topics
from dgm_jax.principles import latent

V, B = 8, 30
RNG = np.random.default_rng(0)
X = RNG.multinomial(12, RNG.dirichlet(np.ones(V), B)) * 1.0
KEY = jax.random.key(0)
every_decoder = pytest.mark.parametrize("decoder", neural_topics.DECODERS)


@pytest.fixture(autouse=True)
def double():
  with jax.enable_x64(True):
    yield


def model(decoder, k=2, **options):
  return neural_topics.Model((V,), num_topics=k, decoder=decoder, hidden=(6, 5), **options)


@functools.cache
def variables(decoder, k=2):
  """Random ones, whose averages are of no batch."""
  with jax.enable_x64(True):
    found = jax.jit(model(decoder, k).init)(KEY, {"x": X})
    return jax.tree.map(lambda a: a + abs(RNG.normal(0, 0.5, a.shape)).astype(a.dtype), found)


def test_the_prior_is_laplaces_approximation():
  """The mode of prod theta^alpha over sum z = 0 and the diagonal of the inverse of minus its Hessian there."""
  alpha = RNG.gamma(2.0, 1.0, 5)
  mean, variance = neural_topics.laplace(jnp.asarray(alpha))
  log_density = lambda z: jnp.sum(alpha * jax.nn.log_softmax(z))
  np.testing.assert_allclose(jax.grad(log_density)(mean), 0, atol=1e-12)
  assert abs(mean.sum()) < 1e-12
  np.testing.assert_allclose(variance, np.diag(np.linalg.pinv(-jax.hessian(log_density)(mean))), rtol=1e-9)


def log_evidence(decoder, params):
  """log p(x) [B] by a grid of z over eight standard deviations of the prior, K = 2."""
  bound = model(decoder).bind(params)
  grid = np.linspace(-8, 8, 161) * np.sqrt(0.5)
  of_point = lambda z: sum(bound.log_joint({"x": X}, jnp.broadcast_to(z, (B, 2))))
  of_row = lambda row: jax.nn.logsumexp(jax.vmap(of_point)(row), 0)
  rows = jnp.stack(jnp.meshgrid(grid, grid, indexing="ij"), -1)
  return jax.nn.logsumexp(jax.lax.map(of_row, rows), 0) + 2 * np.log(grid[1] - grid[0])


@every_decoder
def test_the_bound_is_below_the_exact_likelihood(decoder):
  """By the KL in closed form; and importance sampling is of it."""
  params = variables(decoder)
  exact = jax.jit(lambda: log_evidence(decoder, params))()
  terms = jax.jit(lambda: latent.log_terms(model(decoder), params, KEY, {"x": X}, 4000))()
  kl = jnp.sum(model(decoder).apply(params, {"x": X}, method="kl"), 1)
  elbo, error = terms.px_z.mean(0) - kl, terms.px_z.std(0) / np.sqrt(4000)
  assert (elbo < exact + 5 * error).all()
  assert (exact - elbo).max() > 0.01
  weights = jnp.exp(terms.w - exact)
  assert (abs(weights.mean(0) - 1) < 5 * weights.std(0) / np.sqrt(4000)).all()
  sampled = jnp.mean(terms.qz_x - terms.pz, 0)
  np.testing.assert_allclose(sampled, kl, atol=5 * float((terms.qz_x - terms.pz).std(0).max() / np.sqrt(4000)))


@every_decoder
def test_words_have_probabilities(decoder):
  bound = model(decoder).bind(variables(decoder))
  for batch in ({}, {"key": jax.random.split(KEY, B)}):
    p = jnp.exp(bound.log_words(batch, RNG.normal(size=(B, 2))))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-9)
  np.testing.assert_allclose(bound.word_distribution({"x": X}).sum(1), 1, rtol=1e-9)


@every_decoder
def test_gradients_of_a_training_step(decoder):
  """Through the moments of the batch, units dropped."""
  made, params = model(decoder, 3, dropout=0.3), variables(decoder, 3)
  batch = {"x": X, "key": jax.random.split(KEY, B)}
  others = {"averages": params["averages"]}

  def objective(weights):
    everything = {"params": weights, **others}
    terms = latent.log_terms(made, everything, KEY, batch, 1)
    return jnp.mean(terms.px_z) - jnp.sum(jnp.mean(made.apply(everything, batch, method="kl"), 0))

  check_grads(objective, (params["params"],), 1, ["rev"], rtol=1e-4, eps=1e-5)


@every_decoder
def test_averages_come_to_be_the_moments_of_the_batch(decoder):
  """And then a document alone is what it is in a training batch in which nothing is dropped."""
  made, params = model(decoder, dropout=0.0), variables(decoder)
  batch = {"x": X, "key": jax.random.split(KEY, B)}
  update = jax.jit(lambda variables, key: made.update(variables, key, batch))
  new = params
  for i in range(300):
    new = update(new, jax.random.key(i))
  assert int(new["averages"]["updates"]) == int(params["averages"]["updates"]) + 300
  jax.tree.map(np.testing.assert_array_equal, new["params"], params["params"])
  of = lambda batch: made.apply(new, batch, method="infer")
  trained, alone = of(batch), of({"x": X[:1]})
  np.testing.assert_allclose(alone.mean(), trained.mean()[:1], rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(alone.stddev(), trained.stddev()[:1], rtol=1e-3)
  if decoder == "product":  # z is drawn anew at each update
    h = [made.apply(params, jax.random.key(i), batch, method="moments")["words"] for i in range(200)]
    mean, variance = (np.mean([a[j] for a in h], 0) for j in range(2))
    norm = new["averages"]["norms_words"]
    np.testing.assert_allclose(norm["mean"], mean, atol=0.05)
    np.testing.assert_allclose(norm["variance"], variance, rtol=0.2)


def test_units_are_dropped_of_each_document_by_its_key():
  made, params = model("product", dropout=0.5), variables("product")
  keys = jax.random.split(KEY, 4000)
  batch = {"x": np.repeat(X[:1], 4000, 0), "key": keys}
  h = made.apply(params, batch, method="_encoded")["mu"]
  plain = made.apply(params, {"x": X[:1]}, method="_encoded")["mu"]
  assert (abs(h.mean(0) - plain[0]) < 5 * h.std(0) / np.sqrt(4000)).all()
  assert h.std(0).min() > 0.01
  again = made.apply(params, {"x": X[:1], "key": keys[7:8]}, method="_encoded")["mu"]
  np.testing.assert_allclose(again[0], h[7], rtol=1e-9)


@pytest.mark.slow
@every_decoder
def test_planted_bars_are_found(decoder):
  """The top five words of most topics are a bar's."""
  with jax.enable_x64(False):
    x = data.load("bars", train_size=1000, alpha=0.1).train["x"]
    made = neural_topics.Model(x.shape[1:], num_topics=10, decoder=decoder, dropout=0.2)
    system = latent.make(made, optax.adam(5e-3, b1=0.9), kl="analytic")
    state, step = system.init(KEY, {"x": x[:2]}, {}), jax.jit(system.train_step)
    order = np.random.default_rng(0)
    for i in range(2000):
      state, _ = step(state, jax.random.key(i), {"x": x[order.choice(1000, 200, replace=False)]})
    beta = made.bind({"params": state.params, **state.variables}).topics()
    top = [frozenset(row.tolist()) for row in jax.lax.top_k(beta, 5)[1]]
    planted = {frozenset(range(5 * i, 5 * i + 5)) for i in range(5)} | {frozenset(range(i, 25, 5)) for i in range(5)}
    assert len(planted & set(top)) >= 7, top

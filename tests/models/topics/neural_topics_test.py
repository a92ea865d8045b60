"""ProdLDA and NVLDA: the prior, the bound against quadrature, gradients, normalisation, dropout, planted topics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from dgm_jax import data
from dgm_jax.inference import log_terms
from dgm_jax.models.topics import neural_topics
from dgm_jax.principles.latent import latent

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
  """Random variables in double precision; averages near the moments of X, q(z|x) about as wide as p(z)."""
  with jax.enable_x64(True):
    made = model(decoder, k, dropout=0.0)
    found = jax.jit(made.init)(KEY, {"x": X})
    moved = lambda a: jnp.asarray(a + RNG.normal(0, 0.3, a.shape), jnp.float64)
    found = found | {"params": jax.tree.map(moved, found["params"])}
    found["params"]["norms_log_variance"]["shift"] = jnp.full(k, -0.5)
    update = jax.jit(lambda found: made.update(found, KEY, {"x": X, "key": jax.random.split(KEY, B)}))
    for _ in range(20):
      found = update(found)
    found["averages"]["norms_log_variance"]["variance"] *= 25
    return found


def test_the_prior_agrees_with_laplaces_approximation():
  """Mean: the mode of prod theta^alpha with sum z = 0; variance: the diagonal of its inverse negative Hessian."""
  alpha = RNG.gamma(2.0, 1.0, 5)
  mean, variance = neural_topics.laplace(jnp.asarray(alpha))
  log_density = lambda z: jnp.sum(alpha * jax.nn.log_softmax(z))
  np.testing.assert_allclose(jax.grad(log_density)(mean), 0, atol=1e-12)
  assert abs(mean.sum()) < 1e-12
  np.testing.assert_allclose(variance, np.diag(np.linalg.pinv(-jax.hessian(log_density)(mean))), rtol=1e-9)


def by_quadrature(decoder, params):
  """(log p(x), E_q[log p(x, z) - log q(z|x)]), [B] each, on a grid of z with 17 units per axis, K = 2."""
  bound, grid = model(decoder).bind(params), jnp.linspace(-8.5, 8.5, 201)
  q = bound.infer({"x": X})

  def of_point(z):
    z = jnp.broadcast_to(z, (B, 2))
    return sum(bound.log_joint({"x": X}, z)), q.log_prob(z)

  def of_row(row):
    log_p, log_q = jax.vmap(of_point)(row)
    return jax.nn.logsumexp(log_p, 0), jnp.sum(jnp.exp(log_q) * (log_p - log_q), 0)

  log_px, elbo = jax.lax.map(of_row, jnp.stack(jnp.meshgrid(grid, grid, indexing="ij"), -1))
  area = (grid[1] - grid[0]) ** 2
  return jax.nn.logsumexp(log_px, 0) + jnp.log(area), area * jnp.sum(elbo, 0)


@every_decoder
def test_the_bound_is_below_the_exact_likelihood(decoder):
  """And agrees with the integral over q, with the KL in closed form and by samples."""
  params = variables(decoder)
  exact, expected = jax.jit(lambda: by_quadrature(decoder, params))()
  assert (expected < exact).all() and (exact - expected).max() > 0.1
  terms = jax.jit(lambda: log_terms.log_terms(model(decoder), params, KEY, {"x": X}, 4000))()
  kl = jnp.sum(model(decoder).apply(params, {"x": X}, method="kl"), 1)
  for value in (terms.px_z - kl, terms.w):
    assert (abs(value.mean(0) - expected) < 5 * value.std(0) / np.sqrt(4000)).all()


@every_decoder
def test_word_probabilities_sum_to_one(decoder):
  bound = model(decoder).bind(variables(decoder))
  for batch in ({}, {"key": jax.random.split(KEY, B)}):
    p = jnp.exp(bound.log_words(batch, RNG.normal(size=(B, 2))))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-9)
  np.testing.assert_allclose(bound.word_distribution({"x": X}).sum(1), 1, rtol=1e-9)


@every_decoder
def test_gradients_of_a_training_step(decoder):
  """Through the moments of the batch, with dropout."""
  made, params = model(decoder, 3, dropout=0.3), variables(decoder, 3)
  batch = {"x": X, "key": jax.random.split(KEY, B)}
  others = {"averages": params["averages"]}

  def objective(weights):
    everything = {"params": weights, **others}
    terms = log_terms.log_terms(made, everything, KEY, batch, 1)
    return jnp.mean(terms.px_z) - jnp.sum(jnp.mean(made.apply(everything, batch, method="kl"), 0))

  check_grads(objective, (params["params"],), 1, ["rev"], rtol=1e-4, eps=1e-5)


@every_decoder
def test_averages_converge_to_the_moments_of_the_batch(decoder):
  """Then a document alone has the same outputs as in a training batch without dropout."""
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
  if decoder == "product":  # each update draws another z
    h = [made.apply(params, jax.random.key(i), batch, method="moments")["words"] for i in range(200)]
    mean, variance = (np.mean([a[j] for a in h], 0) for j in range(2))
    norm = new["averages"]["norms_words"]
    np.testing.assert_allclose(norm["mean"], mean, atol=0.05)
    np.testing.assert_allclose(norm["variance"], variance, rtol=0.2)


def test_a_training_step_updates_the_averages():
  made = model("product")
  system = latent.make(made, optax.sgd(0.1), kl="analytic")
  state = jax.jit(lambda: system.init(KEY, {"x": X}, {}))()
  new, _ = jax.jit(system.train_step)(state, KEY, {"x": X})
  before, after = (s.variables["averages"]["norms_words"] for s in (state, new))
  assert int(new.variables["averages"]["updates"]) == 1
  for name in ("mean", "variance"):
    assert abs(after[name] - before[name]).min() > 1e-6
  assert jnp.max(after["variance"]) < 0.5  # from 1 towards the small variances at initialisation, d = 1 / 10


def test_dropout_depends_on_each_documents_key():
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
def test_planted_bars_are_recovered(decoder):
  """The top five words of most topics form a bar."""
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

"""Posteriors and priors: normalisation, agreement of samples and density, and gradients of samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.distributions import posteriors, priors
from dgm_jax.distributions.bijectors import inverse_autoregressive, planar
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.inference import log_terms
from dgm_jax.models.vae import vae
from helpers import tables

B, L, N = 3, 2, 20_000
OPTIONS = {"low_rank": {"rank": 1}, "mixture": {"num_components": 2}, "planar": {"num_layers": 3}, "iaf": {"hidden": 8}}
_NET = {"hidden": (4,), "transform_args": {"max_log_scale": 0.5}}  # draws stay within the plane of the quadrature
OPTIONS["flow"] = {"layer": "autoregressive", "num_layers": 1, "layer_args": _NET, "context": 3}
every_posterior = pytest.mark.parametrize("name", posteriors.POSTERIORS)
every_density = pytest.mark.parametrize("name", sorted(set(posteriors.POSTERIORS) - posteriors.WITHOUT_LOG_PROB))


def outputs(name, dim=L):
  """The posterior, its parameters and B random outputs of an encoder."""
  kind = posteriors.make(name, dim, **OPTIONS.get(name, {}))
  h = jnp.asarray(np.random.default_rng(0).normal(0.1, 0.5, (B, kind.num_outputs)))
  noise = lambda a: a + 0.7 * jnp.asarray(np.random.default_rng(a.size).normal(size=a.shape), a.dtype)
  return kind, jax.tree.map(noise, kind.init(jax.random.key(0), h)), h


@functools.cache
def draws(name):
  """q, and N samples of it with their log q."""
  kind, variables, h = outputs(name)
  q = kind.apply(variables, h)
  return q, *jax.jit(lambda key: q.sample_and_log_prob(seed=key, sample_shape=(N,)))(jax.random.key(1))


def plane(n=121, width=16.0):
  """(z [n^2, 2], weights [n^2]) for integrals over the plane; z = sinh(t) on both axes, for heavy tails."""
  t = np.linspace(-np.arcsinh(width), np.arcsinh(width), n)
  z, weight = np.sinh(t), np.cosh(t) * (t[1] - t[0])
  return np.stack(np.meshgrid(z, z, indexing="ij"), -1).reshape(-1, 2), np.outer(weight, weight).ravel()


def assert_means(values, expected, tolerance=0.0):
  """Asserts that the mean over axis 0 is `expected`, within five standard errors."""
  values = np.asarray(values, np.float64)
  error = values.std(0) / np.sqrt(len(values))
  np.testing.assert_array_less(abs(values.mean(0) - expected), 5 * error + tolerance + 1e-7)


@every_posterior
def test_importance_weights_average_to_one(name):
  """E_q[p(z) / q(z)] = 1 for a p narrower than q: log q of sample_and_log_prob is the density of its samples."""
  _, z, log_q = draws(name)
  assert z.shape == (N, B, L)
  assert log_q.shape == (N, B)
  centre = np.median(z, 0)
  log_p = scipy.stats.norm.logpdf(z, centre, 0.4).sum(-1)
  assert_means(np.exp(log_p - np.asarray(log_q, np.float64)), 1.0)


@every_density
def test_density_of_samples_is_log_prob(name):
  q, z, log_q = draws(name)
  np.testing.assert_allclose(jax.jit(jax.vmap(q.log_prob))(z), log_q, atol=2e-4)


@every_density
def test_integrates_to_one_and_gradients_of_samples_are_unbiased(name):
  """d/dh E_q[f] by quadrature equals the mean of df(z(h))/dh for every parameter, reparameterised or implicit."""
  kind, variables, h = outputs(name)
  z, weights = plane()
  f = lambda z: jnp.sin(z[..., 0]) + jnp.tanh(z[..., 1]) * z[..., 0]

  def integrals(h):
    p = jnp.exp(jax.vmap(lambda z: kind.apply(variables, h).log_prob(jnp.broadcast_to(z, (1, L))))(jnp.asarray(z)))[
      :, 0
    ]
    return jnp.sum(weights * f(z) * p), jnp.sum(weights * p)

  expected, total = jax.jit(jax.grad(integrals, has_aux=True))(h[:1])
  assert total == pytest.approx(1, abs=2e-3)  # a Student-t has mass beyond the plane
  pathwise = lambda key: jax.grad(lambda h: f(kind.apply(variables, h).sample(seed=key)[0]))(h[:1])
  found = jax.jit(lambda keys: jax.lax.map(pathwise, keys, batch_size=1000))(jax.random.split(jax.random.key(2), N))
  assert_means(found, expected, 2e-3)


@every_posterior
def test_mean_agrees_with_the_mean_of_samples(name):
  q, z, _ = draws(name)
  if name in ("iaf", "planar", "flow"):
    with pytest.raises(NotImplementedError, match="average draws"):
      q.mean()
  else:
    assert_means(z, q.mean())


@pytest.mark.parametrize("name", ["full", "low_rank"])
def test_agrees_with_the_multivariate_normal_of_scipy(name):
  with jax.enable_x64(True):
    kind, variables, h = outputs(name, 4)
    q = kind.apply(variables, h)
    h, z = np.asarray(h), np.random.default_rng(1).normal(size=(B, 4))
    found = q.log_prob(z)
    for b in range(B):
      loc, scale = h[b, :4], np.exp(h[b, 4:8])
      if name == "full":
        root = np.diag(scale)
        root[np.tril_indices(4, -1)] = h[b, 8:] / 2
        covariance = root @ root.T
      else:
        covariance = np.diag(scale**2) + np.outer(h[b, 8:], h[b, 8:])
        np.testing.assert_allclose(q.covariance()[b], covariance, rtol=1e-10)
      np.testing.assert_allclose(found[b], scipy.stats.multivariate_normal(loc, covariance).logpdf(z[b]), rtol=1e-10)


@pytest.mark.parametrize("name", ["planar", "iaf", "flow"])
def test_log_det_of_a_flow_agrees_with_its_jacobian(name):
  """z_0 = loc + ..., so that dz/dloc is the Jacobian of the flow."""
  with jax.enable_x64(True):
    kind, variables, h = outputs(name, 4)

    def run(h):
      z, log_q = kind.apply(variables, h[None]).sample_and_log_prob(seed=jax.random.key(0))
      _, log_base = posteriors.make("diagonal", 4).apply({}, h[None, :8]).sample_and_log_prob(seed=jax.random.key(0))
      return z[0], (log_base - log_q)[0]

    jacobian, log_det = jax.jit(jax.vmap(jax.jacfwd(run, has_aux=True)))(h)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian[..., :4])[1], rtol=1e-9)


def test_planar_layer_is_invertible_for_all_parameters():
  w, u = 2 * jax.random.normal(jax.random.key(0), (2, 500, 3))
  along = w / jnp.linalg.norm(w, axis=-1, keepdims=True)
  line = jnp.linspace(-0.3, 0.3, 101)[:, None, None] * along  # the layer is invertible iff it is monotone along w
  y, log_det = planar.planar_step(line, w, u, jnp.zeros(500))
  assert (jnp.diff(jnp.sum(y * w, -1), axis=0) > -1e-4).all()
  assert jnp.isfinite(log_det).all()


@pytest.mark.parametrize("length", [0.0, 1e-5, 9e-4, 1.1e-3])
def test_planar_layer_is_defined_for_vanishing_w(length):
  """A network whose input is 0 can give w = 0, where the published v = u + ... w / |w|^2 has no limit."""
  direction, u, z = jax.random.normal(jax.random.key(0), (3, 3))
  w, u = length * direction / jnp.linalg.norm(direction), 0.3 * u
  step = lambda z, w: planar.planar_step(z, w, u, jnp.float32(0.2))
  jacobian = jax.jacfwd(lambda z: step(z, w)[0])(z)
  np.testing.assert_allclose(step(z, w)[1], np.linalg.slogdet(jacobian)[1], atol=2e-4)
  gradients = jax.grad(lambda z, w: sum(map(jnp.sum, step(z, w))), (0, 1))(z, w)
  assert all(jnp.isfinite(g).all() and abs(g).max() < 1e7 for g in gradients)


def test_a_shared_scale_is_the_same_for_every_x():
  kind, variables, h = outputs("diagonal_shared")
  scale = np.exp(np.asarray(variables["params"]["log_scale"]))
  assert (abs(np.log(scale)) > 0.1).any()
  z = np.random.default_rng(2).normal(size=(B, L))
  expected = scipy.stats.norm(np.asarray(h), scale).logpdf(z).sum(-1)
  np.testing.assert_allclose(kind.apply(variables, h).log_prob(jnp.asarray(z)), expected, rtol=1e-4)


def test_log_prob_of_planar_raises():
  with pytest.raises(NotImplementedError, match="own draws only"):
    draws("planar")[0].log_prob(jnp.zeros((B, L)))


def test_masked_network_is_autoregressive():
  kind = posteriors.make("iaf", 5, hidden=9)
  layer = kind.bind(kind.init(jax.random.key(0), jnp.zeros((1, kind.num_outputs)))).layers[0]
  a, m = jax.jacfwd(lambda z: inverse_autoregressive.masked_network(layer, z, jnp.ones(16)))(jnp.ones(5))
  for jacobian in (a, m):
    np.testing.assert_array_equal(np.triu(jacobian), 0)
    assert (np.tril(jacobian, -1)[np.tril_indices(5, -1)] != 0).all()


MEAN, SUPPORT = (0.2, 0.9, 0.5, 0.4), (0.0, 1.0)
KIND = posteriors.make("diagonal", L)


def encode(x):
  """A fixed encoder, x [K, 4] -> q."""
  return KIND.apply({}, jnp.tanh(x @ jnp.asarray(np.random.default_rng(3).normal(size=(4, 2 * L)), x.dtype)))


def make_prior(name, **options):
  p = priors.make(name, L, MEAN, SUPPORT, **options)
  return p, p.init(jax.random.key(5), method=lambda p: p(encode).log_prob(jnp.zeros((B, L))))


@pytest.mark.parametrize("name", priors.PRIORS)
def test_prior_integrates_to_one_with_the_moments_of_its_samples(name):
  p, variables = make_prior(name)
  d = p.apply(variables, encode)
  z, weights = plane()
  mass = weights * np.exp(jax.jit(d.log_prob)(jnp.asarray(z, jnp.float32)))
  assert mass.sum() == pytest.approx(1, abs=1e-3)
  sample = jax.jit(lambda key: d.sample(seed=key, sample_shape=(N,)))(jax.random.key(0))
  assert_means(sample, mass @ z, 2e-3)
  assert_means(sample[:, :, None] * sample[:, None], np.einsum("n,ni,nj->ij", mass, z, z), 2e-2)


def test_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
  p, variables = make_prior("vamp", num_components=6)
  u = p.apply(variables, method="pseudo_inputs")
  assert ((u > 0) & (u < 1)).all()
  z = jax.random.normal(jax.random.key(0), (B, L))
  loc, log_scale = np.split(np.tanh(np.asarray(u) @ np.random.default_rng(3).normal(size=(4, 2 * L))), 2, -1)
  density = scipy.stats.norm.pdf(np.asarray(z)[:, None], loc, np.exp(log_scale)).prod(-1).mean(1)
  np.testing.assert_allclose(p.apply(variables, encode).log_prob(z), np.log(density), rtol=1e-4)


def test_mixture_prior_of_equal_components_is_one_normal():
  p, variables = make_prior("mixture", num_components=4)
  variables = {"params": variables["params"] | {"loc": jnp.zeros((4, L)), "logits": jnp.arange(4.0)}}
  z = jax.random.normal(jax.random.key(0), (B, L))
  np.testing.assert_allclose(p.apply(variables, encode).log_prob(z), standard_normal(L).log_prob(z), rtol=1e-5)


@pytest.mark.parametrize(
  "posterior,prior",
  [("low_rank", "vamp"), ("student_t", "flow"), ("planar", "standard_normal"), ("mixture", "mixture")],
)
def test_model_integrates_to_one(posterior, prior):
  """sum over all x of p(x) = 1, p(x) by importance sampling from q(z|x), on three binary pixels."""
  model = vae.Model((3,), latent_dim=L, hidden=(4,), posterior=posterior, prior=prior)
  x = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(-1, 3).astype("f")
  variables = jax.jit(model.init)(jax.random.key(0), {"x": x})
  flat = jax.tree.map(lambda a: 0.4 * a, variables["params"]["encoder"])  # q near its start: weights of low variance
  variables = {"params": variables["params"] | {"encoder": flat}}
  terms = jax.jit(lambda key: log_terms.log_terms(model, variables, key, {"x": x}, 10_000, 500))(jax.random.key(1))
  assert_means(np.exp(np.asarray(terms.w, np.float64)).sum(1), 1.0)


def test_default_model_has_only_an_encoder_and_a_decoder():
  params = jax.eval_shape(vae.Model(tables.SHAPE).init, jax.random.key(0), tables.TEST)["params"]
  assert set(params) == {"encoder", "decoder"}


@pytest.mark.parametrize(
  "options,sentence",
  [
    ({"posterior": "diag"}, "one of diagonal, "),
    ({"prior": "vampire"}, "one of standard_normal, "),
    ({"posterior": "low_rank", "posterior_args": {"rank": 0}}, "rank = 0"),
    ({"posterior": "planar", "posterior_args": {"num_layers": 0}}, "num_layers = 0"),
    ({"posterior": "mixture", "posterior_args": {"num_components": 0}}, "num_components = 0"),
    ({"posterior": "iaf", "posterior_args": {"hidden": 0}}, "hidden"),
    ({"prior": "mixture", "prior_args": {"num_components": 0}}, "num_components = 0"),
    ({"prior": "flow", "latent_dim": 1}, "latent_dim"),
    ({"prior": "vamp", "posterior": "planar"}, "'planar' does not provide"),
    ({"prior": "vamp", "likelihood": "categorical", "likelihood_args": {"num_classes": 2}}, "has classes"),
  ],
)
def test_invalid_options_raise_a_user_error(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    jax.eval_shape(vae.Model(tables.SHAPE, **options).init, jax.random.key(0), tables.TEST)

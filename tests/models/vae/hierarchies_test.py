"""Models with several stochastic layers: exact densities of linear and of small binary models."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.distributions.chain import Chain
from dgm_jax.distributions.normals import diagonal_normal
from dgm_jax.evaluate import ais, gaps
from dgm_jax.inference import estimators, log_terms
from dgm_jax.models.vae import dlgm, ladder_vae, sigmoid_belief_net
from dgm_jax.models.vae.sigmoid_belief_net import Units
from helpers import linear_gaussian as lg
from helpers import tables

KEY = jax.random.key(0)
# z_2 ~ N(0, I), z_1 | z_2 ~ N(A z_2 + C, diag T^2), x | z_1 ~ N(W z_1 + B, S^2 I); W'W is diagonal, and so is A
W = np.linalg.qr([[1.0, 0.6], [0.5, 0.8], [-0.6, 0.3]])[0] * [1.0, 0.7]
A, C, T, B, S = np.diag([0.8, -1.2]), np.array([0.2, -0.4]), np.array([0.6, 0.9]), np.array([0.3, -0.2, 0.1]), 0.5
LINEAR = {
  "latent_dims": (2, 2),
  "hidden": ((), ()),
  "likelihood": "gaussian_fixed",
  "likelihood_args": {"scale": S},
}


def _dense(weights, bias, scale=None):
  """Parameters of a linear MLP with the means weights @ input + bias and, if given, constant log scales."""
  weights, bias = np.asarray(weights), np.asarray(bias)
  if scale is not None:
    weights, bias = np.concatenate([weights, 0 * weights]), np.concatenate([bias, np.log(scale)])
  return {"Dense_0": {"kernel": jnp.asarray(weights.T, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}}


def _posterior(weights, offset, variance, prior_mean, prior_variance):
  """(gain, bias, scales) of E[z|y] = gain y + bias: z ~ N(prior), y | z ~ N(weights z + offset, variance)."""
  precision = np.diag(1 / prior_variance) + weights.T @ np.linalg.inv(variance) @ weights
  gain = np.linalg.solve(precision, weights.T @ np.linalg.inv(variance))
  bias = np.linalg.solve(precision, prior_mean / prior_variance) - gain @ offset
  return gain, bias, np.sqrt(np.diag(np.linalg.inv(precision)))


def _linear(name, stretch):
  """(model, variables): q is the exact posterior, with scales of the top layer (of z_1 in the DLGM) times `stretch`."""
  covariance = W @ np.diag(T**2) @ W.T + S**2 * np.eye(3)  # Cov[x | z_2]
  params = {"decoder": _dense(W, B), "priors_0": _dense(A, C, T)}
  if name == "ladder_vae":
    precisions = np.diag(W.T @ W) / S**2  # the likelihood of z_1 is N(gain (x - B), 1 / precisions)
    gain = W.T / np.diag(W.T @ W)[:, None]
    top = _posterior(W @ A, W @ C + B, covariance, np.zeros(2), np.ones(2))
    params["heads_0"] = _dense(gain, -gain @ B, precisions**-0.5)
    params["heads_1"] = _dense(top[0], top[1], top[2] * stretch)
    return ladder_vae.Model((3,), **LINEAR), {"params": params}
  first = _posterior(W, B, S**2 * np.eye(3), C, np.diag(A) ** 2 + T**2)
  params["encoders_0"] = _dense(first[0], first[1], first[2] * stretch)
  params["encoders_1"] = _dense(*_posterior(A, C, np.diag(T**2), np.zeros(2), np.ones(2)))
  return dlgm.Model((3,), **LINEAR), {"params": params}


def _exact_log_px(x):
  covariance = W @ (A @ A.T + np.diag(T**2)) @ W.T + S**2 * np.eye(3)
  return scipy.stats.multivariate_normal(W @ C + B, covariance).logpdf(x)


linear_models = pytest.mark.parametrize("name", ["dlgm", "ladder_vae"])
X = np.random.default_rng(0).normal(size=(6, 3)).astype("f")


@linear_models
def test_weights_equal_log_px_if_q_is_the_exact_posterior(name):
  model, variables = _linear(name, stretch=1.0)
  log_w = jax.jit(lambda key: log_terms.log_terms(model, variables, key, {"x": X}, 50).w)(KEY)
  np.testing.assert_allclose(log_w, np.broadcast_to(_exact_log_px(X), (50, 6)), atol=2e-5)


@linear_models
def test_iwae_converges_to_log_px_if_q_is_inexact(name):
  model, variables = _linear(name, stretch=1.4)
  log_w = jax.jit(lambda key: log_terms.log_terms(model, variables, key, {"x": X}, 40_000).w)(KEY)
  w = np.exp(np.asarray(log_w, np.float64) - _exact_log_px(X))
  assert w.std() > 0.2  # otherwise the test would be vacuous
  assert (abs(lg.in_errors(w, 1.0)) < 4).all()
  np.testing.assert_allclose(estimators.iwae(log_w), _exact_log_px(X), atol=0.02)


@linear_models
def test_simulate_draws_from_the_joint_normal(name):
  model, variables = _linear(name, stretch=1.0)
  n = 50_000
  batch, (z_1, z_2) = jax.jit(lambda key: model.apply(variables, key, n, method="simulate"))(KEY)
  draws = np.concatenate([batch["x"], z_1, z_2], 1).astype(np.float64)
  to_noise = [np.hstack([W @ A, W * T, S * np.eye(3)]), np.hstack([A, np.diag(T), np.zeros((2, 3))])]
  root = np.vstack([*to_noise, np.eye(2, 7)])  # (x, z_1, z_2) = mean + root (three independent noises)
  mean = np.concatenate([W @ C + B, C, np.zeros(2)])
  assert (abs(lg.in_errors(draws, mean)) < 4.5).all()
  products = (draws - mean)[:, :, None] * (draws - mean)[:, None]
  assert (abs(lg.in_errors(products, root @ root.T)) < 4.5).all()


def test_combine_is_the_normalised_product_of_two_normals():
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 5, 6)).astype("f")
  z = rng.normal(size=(2, 5, 3)).astype("f")
  log_product = lambda z: diagonal_normal(a).log_prob(z) + diagonal_normal(b).log_prob(z)
  q = diagonal_normal(ladder_vae.combine(a, b))
  np.testing.assert_allclose(log_product(z[0]) - q.log_prob(z[0]), log_product(z[1]) - q.log_prob(z[1]), rtol=1e-4)
  vague = np.concatenate([a[:, :3], np.full((5, 3), 40.0)], 1).astype("f")  # a scale of e^40: uninformative
  np.testing.assert_allclose(ladder_vae.combine(vague, b), b, rtol=1e-5)


SMALL = {
  "dlgm": dlgm.Model(tables.SHAPE, latent_dims=(4, 3, 2), hidden=((8,), (8,), (8,))),
  "ladder_vae": ladder_vae.Model(tables.SHAPE, latent_dims=(4, 3, 2), hidden=((8,), (8,), (8,))),
  "sigmoid_belief_net": sigmoid_belief_net.Model(tables.SHAPE, latent_dims=(4, 3, 2), hidden=((8,), (), (8,))),
}
every_model = pytest.mark.parametrize("name", SMALL)


def _batch():
  return {"x": tables.TEST["x"][:5]}


@functools.cache
def _variables(name):
  return jax.jit(SMALL[name].init)(KEY, _batch())


@every_model
def test_q_evaluates_its_own_draws(name):

  @jax.jit
  def run(variables):
    q = SMALL[name].bind(variables).infer(_batch())
    z, log_q = q.sample_and_log_prob(seed=KEY)
    return z, q.sample(seed=KEY), log_q, q.log_prob(z)

  z, again, log_q, log_prob = run(_variables(name))
  assert [a.shape for a in z] == [(5, 4), (5, 3), (5, 2)]
  np.testing.assert_allclose(log_prob, log_q, rtol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, again, z)


@every_model
def test_conditional_means_agree_with_draws(name):
  q = SMALL[name].bind(_variables(name)).infer(_batch())
  keys = jax.random.split(KEY, 4000)
  means = jax.jit(jax.vmap(lambda k: q.conditional_means(seed=k)))(keys)
  draws = jax.jit(jax.vmap(lambda k: q.sample(seed=k)))(jax.random.split(jax.random.key(1), 4000))
  for m, z in zip(means, draws, strict=True):
    assert m.shape == z.shape
    error = np.sqrt((np.var(m, 0) + np.var(z, 0)) / 4000)
    np.testing.assert_array_less(abs(m.mean(0) - z.mean(0)), 4.5 * error)


@every_model
def test_unobserved_entries_have_no_influence(name):
  """Bound and gradient are equal for NaN and for 1 where the mask is 0; a mask of ones equals no mask."""
  model, key = SMALL[name], jax.random.key(2)
  variables = _variables(name)
  mask = np.random.default_rng(0).integers(0, 2, (5, *tables.SHAPE)).astype("f")
  value = jax.jit(jax.value_and_grad(lambda v, batch: log_terms.log_terms(model, v, key, batch, 3).w.sum()))
  masked = lambda junk: {"x": np.where(mask, _batch()["x"], junk).astype("f"), "mask": mask}
  found = [value(variables, masked(junk)) for junk in (np.nan, 1)]
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert np.isfinite(found[0][0])
  whole = value(variables, _batch() | {"mask": np.ones_like(mask)})[0]
  np.testing.assert_allclose(whole, value(variables, _batch())[0], rtol=1e-6)
  assert abs(whole - found[0][0]) > 1


@every_model
@pytest.mark.parametrize("likelihood", ["gaussian", "categorical"])
def test_other_likelihoods_and_shapes_of_x(name, likelihood):
  options = {"num_classes": 4} if likelihood == "categorical" else {}
  model = SMALL[name].clone(data_shape=(2, 3), likelihood=likelihood, likelihood_args=options)
  x = np.random.default_rng(0).integers(0, 4, (7, 2, 3)).astype("f")

  @jax.jit
  def run(key):
    bound = model.bind(model.init(key, {"x": x}))
    z = bound.infer({"x": x}).sample(seed=key)
    return bound.log_joint({"x": x}, z)[0], bound.decoder(z[0]), bound.generate(key, 3)

  log_px_z, h, draws = run(KEY)
  h = np.asarray(h, np.float64)
  if likelihood == "gaussian":
    expected = scipy.stats.norm.logpdf(x.reshape(7, 6), h[:, :6], np.exp(h[:, 6:])).sum(-1)
  else:
    log_p = scipy.special.log_softmax(h.reshape(7, 4, 6), 1)
    expected = np.take_along_axis(log_p, x.reshape(7, 1, 6).astype(int), 1).sum((1, 2))
  np.testing.assert_allclose(log_px_z, expected, rtol=1e-5)
  assert draws.shape == (3, 2, 3)


@every_model
def test_mismatched_layers_raise(name):
  with pytest.raises(errors.UserError, match="2 latent_dims but 3 groups"):
    SMALL[name].clone(latent_dims=(4, 3)).init(KEY, _batch())
  with pytest.raises(errors.UserError, match="0 latent_dims but 0 groups"):
    SMALL[name].clone(latent_dims=(), hidden=()).init(KEY, _batch())
  with pytest.raises(errors.UserError, match="must be 1 or more"):
    SMALL[name].clone(latent_dims=(4, 3, 0)).init(KEY, _batch())
  with pytest.raises(errors.UserError, match="it must be one of bernoulli, "):
    SMALL[name].clone(likelihood="bernouli").init(KEY, _batch())


def _states(*dims):
  """All values of z, one array [2^sum(dims), L_l] for each layer."""
  z = np.array(list(itertools.product([0.0, 1.0], repeat=sum(dims))), np.float32)
  return tuple(np.split(z, np.cumsum(dims)[:-1], -1))


def _tiny_sbn():
  """(model, variables) with 3 + 2 units, 3 pixels and weights far from 0."""
  model = sigmoid_belief_net.Model((3,), latent_dims=(3, 2))
  params = model.init(KEY, {"x": jnp.zeros((1, 3))})["params"]
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(5), len(leaves))
  return model, {"params": tree.unflatten([jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)])}


def _enumerated(model, variables):
  """(x [8, 3], z, log p(x, z) [8, 32]) for all x and z, by NumPy in float64."""
  params = jax.tree.map(lambda a: np.asarray(a, np.float64), variables["params"])
  linear = lambda name, z: z @ params[name]["Dense_0"]["kernel"] + params[name]["Dense_0"]["bias"]
  log_mass = lambda z, a: np.where(z > 0.5, -np.log1p(np.exp(-a)), -np.log1p(np.exp(a))).sum(-1)
  (x,), (z_1, z_2) = _states(3), _states(3, 2)
  log_pz = log_mass(z_2, params["top_logits"]) + log_mass(z_1, linear("priors_0", z_2))
  return x, (z_1, z_2), log_pz + log_mass(x[:, None], linear("decoder", z_1))


def test_belief_net_agrees_with_enumeration():
  """log p(x, z) for all (x, z), sum p = 1, sum_z q(z|x) = 1, and p(x) by importance sampling."""
  model, variables = _tiny_sbn()
  x, z, expected = _enumerated(model, variables)
  assert np.exp(expected).sum() == pytest.approx(1, abs=1e-12)
  bound = model.bind(variables)
  pairs = {"x": np.repeat(x, 32, 0)}, tuple(np.tile(a, (8, 1)) for a in z)
  np.testing.assert_allclose(sum(bound.log_joint(*pairs)), expected.ravel(), rtol=1e-5)
  q = np.exp(bound.infer(pairs[0]).log_prob(pairs[1]).reshape(8, 32))
  np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
  log_px = scipy.special.logsumexp(expected, 1)
  log_w = jax.jit(lambda key: log_terms.log_terms(model, variables, key, {"x": x}, 20_000).w)(KEY)
  w = np.exp(np.asarray(log_w, np.float64) - log_px)
  assert w.std() > 0.2
  assert (abs(lg.in_errors(w, 1.0)) < 4).all()


def test_belief_net_marginalises_unobserved_entries():
  model, variables = _tiny_sbn()
  x, z, log_joint = _enumerated(model, variables)
  batch = {"x": np.tile([1.0, np.nan, 0.0], (32, 1)).astype("f"), "mask": np.tile([1.0, 0.0, 1.0], (32, 1))}
  found = scipy.special.logsumexp(sum(model.bind(variables).log_joint(batch, z)))
  agrees = (x[:, 0] == 1) & (x[:, 2] == 0)
  assert found == pytest.approx(scipy.special.logsumexp(log_joint[agrees]), rel=1e-5)


def test_belief_net_simulates_its_joint_distribution():
  """Pearson's chi-squared test of the frequencies of all 256 values of (x, z), with rare ones pooled."""
  model, variables = _tiny_sbn()
  p = np.exp(_enumerated(model, variables)[2])
  n = 100_000
  batch, z = jax.jit(lambda key: model.apply(variables, key, n, method="simulate"))(KEY)
  bits = np.concatenate([batch["x"], *z], 1).astype(int)
  counts = np.bincount(bits @ (1 << np.arange(8)[::-1]), minlength=256)
  common = p.ravel() * n >= 5
  observed = np.append(counts[common], counts[~common].sum())
  expected = np.append(p.ravel()[common], p.ravel()[~common].sum()) * n
  assert len(observed) > 50
  assert scipy.stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def _unit_chain():
  """z_1 of 50 units, z_2 of 20 that depend on them."""
  rng = np.random.default_rng(0)
  logits, weights = rng.normal(size=(30, 50)).astype("f"), rng.normal(size=(50, 20)).astype("f")
  return Chain(Units(logits), lambda z: Units(z @ weights))


def test_relaxed_draws_converge_to_discrete_draws():
  """A key gives the same noise in every layer; at lower temperatures fewer draws lie between 0 and 1."""
  chain = _unit_chain()
  cold, log_cold = chain.relaxed(1e-5).sample_and_log_prob(seed=KEY)
  discrete, log_discrete = chain.sample_and_log_prob(seed=KEY)
  for a, b in zip(cold, discrete, strict=True):
    assert set(np.unique(b)) == {0.0, 1.0}
    np.testing.assert_allclose(a, b, atol=0.01)
  np.testing.assert_allclose(log_cold, log_discrete, rtol=1e-3)
  warm = chain.relaxed(1.0).sample(seed=KEY)[0]
  np.testing.assert_array_equal(warm > 0.5, discrete[0] > 0.5)
  assert np.mean((warm > 0.05) & (warm < 0.95)) > 0.5


def test_relaxed_draws_have_the_concrete_distribution():
  """P(z < c) = sigmoid(t logit(c) - a); log_prob is z log s(a) + (1 - z) log(1 - s(a))."""
  logits, t = jnp.full((1, 5000), 0.7), 0.4
  z, log_prob = Units(logits).relaxed(t).sample_and_log_prob(seed=KEY)
  cdf = lambda c: scipy.special.expit(t * scipy.special.logit(c) - 0.7)
  assert scipy.stats.kstest(np.asarray(z[0], np.float64), cdf).pvalue > 1e-3
  pi, v = scipy.special.expit(0.7), np.asarray(z[0], np.float64)
  assert log_prob[0] == pytest.approx((v * np.log(pi) + (1 - v) * np.log(1 - pi)).sum(), rel=1e-5)


def test_only_relaxed_draws_have_a_derivative():
  total = lambda logits, units: units(Units(logits)).sample(seed=KEY).sum()
  logits, t = jnp.linspace(-2, 2, 9)[None], 0.5
  np.testing.assert_array_equal(jax.grad(total)(logits, lambda u: u), 0)
  z = Units(logits).relaxed(t).sample(seed=KEY)
  np.testing.assert_allclose(jax.grad(total)(logits, lambda u: u.relaxed(t)), z * (1 - z) / t, rtol=1e-4)


def test_discrete_means_agree_with_the_logits():
  logits = jnp.array([[-3.0, -0.5, 0.0, 2.0]])
  draws = Units(logits).sample(seed=KEY, sample_shape=(40_000,))
  assert (abs(lg.in_errors(draws[:, 0], scipy.special.expit(np.asarray(logits[0], np.float64)))) < 4).all()


@pytest.mark.parametrize("name", ["ais", "gaps"])
def test_evaluations_by_gradients_raise_for_discrete_latents(name):
  model = sigmoid_belief_net.Model((4,), latent_dims=(3, 2))
  batch = {"x": jnp.zeros((2, 4))}
  experiment = lg.experiment(model)
  state = lg.state(model.init(jax.random.key(0), batch)["params"])
  with pytest.raises(errors.UserError, match="discrete"):
    {"ais": ais.make_log_px, "gaps": gaps.make_elbos}[name](experiment)(state, jax.random.key(0), batch)

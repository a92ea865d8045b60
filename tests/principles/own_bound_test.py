"""Models with their own bound, and a conditional VAE: against closed forms, enumeration and quadrature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from dgm_jax.core import errors
from dgm_jax.data import pipeline as transforms
from dgm_jax.distributions import normal_bins
from dgm_jax.evaluate import quadrature
from dgm_jax.inference import estimators, log_terms
from dgm_jax.models.diffusion import diffusion
from dgm_jax.models.vae import conditional_vae, semi_supervised_vae, vae, vq_vae
from dgm_jax.principles import own_bound
from helpers import linear_gaussian as lg
from helpers import tables

KEY = jax.random.key(0)
BITS = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(-1, 3).astype("f")  # all x of three binary pixels


def larger(model, batch):
  """Variables with larger weights, so that networks are not nearly linear; those that give scales of z stay small."""
  small = () if isinstance(model, vq_vae.Model) else ("encoder", "prior_net")
  params = model.init(KEY, batch)["params"]
  return {
    "params": {
      k: jax.tree.map(functools.partial(jnp.multiply, 0.5 if k in small else 2.0), p) for k, p in params.items()
    }
  }


def over_keys(fn, n, seed=1):
  """fn(key) for n keys, in float64, with a leading axis of size n."""
  values = jax.jit(jax.vmap(fn))(jax.random.split(jax.random.key(seed), n))
  return jax.tree.map(lambda a: np.asarray(a, np.float64), values)


# Diffusion

NORMAL_MEAN, NORMAL_COVARIANCE = np.array([0.3, -0.2]), np.array([[0.5, 0.2], [0.2, 0.3]])  # of x_0, in [-1, 1]


class OfNormalData(diffusion.Model):
  """Predicts E[noise | x_t] exactly for normal x_0: the optimal predictor."""

  def predict_noise(self, x_t, t):
    a, b = self.a[t - 1][:, None], self.one_minus_a[t - 1][:, None]
    values, vectors = np.linalg.eigh(NORMAL_COVARIANCE)  # of x_t: a values + b
    return jnp.sqrt(b) * ((x_t - jnp.sqrt(a) * NORMAL_MEAN) @ vectors / (a * values + b)) @ vectors.T


def test_elbo_of_normal_data_approaches_log_px_with_the_number_of_steps():
  """In the units of x = (x_0 + 1) / 2; the ELBO exceeds log p(x) by no more than sampling noise."""
  x = np.random.default_rng(0).multivariate_normal((NORMAL_MEAN + 1) / 2, NORMAL_COVARIANCE / 4, 6).astype("f")
  exact = scipy.stats.multivariate_normal((NORMAL_MEAN + 1) / 2, NORMAL_COVARIANCE / 4).logpdf(x)
  gaps = []
  for num_steps in (20, 60, 180):
    model = OfNormalData((2,), num_steps=num_steps, decoder="gaussian")
    elbo = over_keys(lambda key, m=model: m.apply({}, key, {"x": x}, method="evaluate")["elbo"], 6000)
    assert (lg.in_errors(elbo, exact) < 4).all()
    gaps.append((exact - elbo).mean())
    error = elbo.mean(1).std() / np.sqrt(6000)
  assert gaps[0] > 2 * gaps[1] > 2 * gaps[2] - 8 * error
  assert gaps[0] > 0.05
  assert abs(gaps[2]) < 0.01 + 4 * error < 0.05


@pytest.mark.parametrize("schedule", diffusion.SCHEDULES)
def test_forward_process_and_its_posterior_agree_with_the_normal_chain(schedule):
  """q(x_t | x_0) and q(x_{t-1} | x_t, x_0) from the covariance of the chain, built step by step in float64."""
  model = diffusion.Model((1,), num_steps=30, schedule=schedule).bind({})
  beta = np.asarray(model.beta, np.float64)
  # x_t = c_t x_0 + rows[t] @ noises
  weight, rows = [1.0], [np.zeros(30)]
  for t in range(30):
    weight.append(np.sqrt(1 - beta[t]) * weight[-1])
    rows.append(np.sqrt(1 - beta[t]) * rows[-1] + np.sqrt(beta[t]) * np.eye(30)[t])
  x_0, x_t = np.array([[0.7]], "f"), np.array([[-0.4]], "f")
  for t in (1, 2, 15, 30):
    now = rows[t] @ rows[t]
    mean, step = (
      np.asarray(model.diffuse(x_0, np.array([t]), np.full((1, 1), e, "f")), np.float64) for e in (0.0, 1.0)
    )
    np.testing.assert_allclose(mean, weight[t] * x_0, rtol=1e-4)
    np.testing.assert_allclose((step - mean) ** 2, [[now]], rtol=1e-4)
    if t > 1:
      between, before = rows[t - 1] @ rows[t], rows[t - 1] @ rows[t - 1]
      found_mean, found_variance = model.posterior(x_0, x_t, np.array([t]))
      expected = weight[t - 1] * x_0 + between / now * (x_t - weight[t] * x_0)
      np.testing.assert_allclose(found_mean, expected, rtol=1e-3)
      np.testing.assert_allclose(found_variance, [before - between**2 / now], rtol=1e-3)


def test_terms_are_kl_divergences_between_normals():
  """The term of step t from the two means and variances, D = 3; the KL of the last step in closed form."""
  model = diffusion.Model((3,), num_steps=20, hidden=(8,))
  x = np.random.default_rng(0).random((5, 3)).astype("f")
  bound = model.bind(larger(model, {"x": x}))
  x_0, noise = 2 * x - 1, jax.random.normal(KEY, (5, 3))
  for t in (2, 9, 20):
    at = jnp.full(5, t)
    x_t = bound.diffuse(x_0, at, noise)
    (m_q, v_q), m_p, v_p = bound.posterior(x_0, x_t, at), bound.reverse_mean(x_t, at), bound.beta[t - 1]
    square = ((np.asarray(m_q) - np.asarray(m_p)) ** 2).sum(-1)
    kl = 0.5 * (3 * (np.log(v_p / v_q) + v_q / v_p - 1) + square / v_p)
    np.testing.assert_allclose(bound.term(KEY, x_0, at)[0], -kl, rtol=2e-3)
  mean, variance = np.sqrt(bound.a[-1]) * x_0, float(bound.one_minus_a[-1])
  expected = -0.5 * (1 + np.log(2 * np.pi * variance)) * 3 + 0.5 * (variance + mean**2 + np.log(2 * np.pi)).sum(-1)
  np.testing.assert_allclose(bound.prior_kl(x_0), expected, atol=1e-5)


@pytest.mark.parametrize("num_levels,decoder", [(2, "discretised"), (5, "discretised"), (5, "gaussian")])
def test_one_random_step_is_unbiased_for_the_sum_over_all_steps(num_levels, decoder):
  model = diffusion.Model((3,), num_steps=10, hidden=(8,), num_levels=num_levels, decoder=decoder)
  x = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0]], "f")
  variables = larger(model, {"x": x})
  run = lambda method: over_keys(lambda key: model.apply(variables, key, {"x": x}, method=method), 4000)
  whole, (objective, metrics) = run("evaluate"), run("bound")
  np.testing.assert_array_equal(objective, metrics["elbo"])
  difference = objective.mean(0) - whole["elbo"].mean(0)
  error = np.sqrt((objective.var(0) + whole["elbo"].var(0)) / 4000)
  assert (abs(difference) < 4 * error).all()
  np.testing.assert_allclose(whole["elbo"], -whole["rate"] - whole["distortion"], rtol=1e-4)


def test_discretised_decoder_is_the_normal_over_the_bins_and_sums_to_one():
  levels = np.linspace(-1, 1, 5)
  for mean, scale in ((0.1, 0.3), (-3.0, 0.1), (2.0, 0.05), (0.4, 20.0)):
    low, high = (levels - 0.25 - mean) / scale, (levels + 0.25 - mean) / scale
    found = np.asarray(normal_bins.log_bin(*(jnp.asarray(a, jnp.float32) for a in (levels, low, high)), 0.25))
    edges = np.r_[-np.inf, (levels[:-1] + 0.25 - mean) / scale, np.inf]
    expected = np.where(
      edges[:-1] + edges[1:] > 0,
      scipy.stats.norm.sf(edges[:-1]) - scipy.stats.norm.sf(edges[1:]),
      scipy.stats.norm.cdf(edges[1:]) - scipy.stats.norm.cdf(edges[:-1]),
    )
    seen = expected > 1e-300
    np.testing.assert_allclose(found[seen], np.log(expected[seen]), rtol=1e-4, atol=1e-4)
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(found).all()


def test_samples_from_the_optimal_predictor_have_the_moments_of_the_normal_data():
  model = OfNormalData((2,), num_steps=200, decoder="gaussian")
  x = np.asarray(jax.jit(lambda key: model.apply({}, key, 4000, method="generate"))(KEY), np.float64)
  assert (abs(lg.in_errors(x, (NORMAL_MEAN + 1) / 2)) < 4).all()
  np.testing.assert_allclose(np.cov(x.T), NORMAL_COVARIANCE / 4, atol=4 * np.sqrt(2 / 4000) * 0.125 + 0.002)


# M2


def m2(**options):
  model = semi_supervised_vae.Model((3,), num_classes=3, latent_dim=1, hidden=(8,), **options)
  batch = {"x": BITS}
  return model, larger(model, batch), batch


def by_grid(model, variables, batch):
  """(log p(x, y) [8, 3], L(x, y) [8, 3], U(x) [8]) of M2, by a grid over z and a sum over classes."""
  bound, z = model.bind(variables), np.linspace(-9, 9, 1201)
  log_pz = scipy.stats.norm.logpdf(z)
  log_qy_x = np.asarray(bound.log_qy_x(batch), np.float64)
  log_pxy, l = np.zeros((8, 3)), np.zeros((8, 3))
  for y in range(3):
    decoder = bound.decode(jnp.full(1201, y), jnp.asarray(z[:, None], jnp.float32))
    log_joint = np.stack([np.asarray(decoder.log_prob(x), np.float64) for x in batch["x"]]) + log_pz - np.log(3)
    q = bound.infer(batch, jnp.full(8, y))
    log_q = scipy.stats.norm.logpdf(z, np.asarray(q.mean()), np.asarray(q.stddev()))
    log_pxy[:, y] = scipy.special.logsumexp(log_joint, 1) + np.log(0.015)
    l[:, y] = (np.exp(log_q) * (log_joint - log_q)).sum(1) * 0.015
  return log_pxy, l, (np.exp(log_qy_x) * (l - log_qy_x)).sum(1)


@pytest.mark.parametrize(
  "likelihood",
  ["bernoulli", "student_t", *(pytest.param(x, marks=pytest.mark.slow) for x in ("gaussian", "categorical"))],
)
def test_unlabelled_bound_agrees_with_enumerated_classes_and_is_below_log_px(likelihood):
  """By a grid over z and a sum over classes; for discrete x, p(x) sums to one over all x."""
  model, variables, batch = m2(likelihood=likelihood, likelihood_args={"num_classes": 2} if "cat" in likelihood else {})
  log_pxy, l, u = by_grid(model, variables, batch)
  log_px = scipy.special.logsumexp(log_pxy, 1)
  if likelihood in ("bernoulli", "categorical"):
    assert np.exp(log_px).sum() == pytest.approx(1, abs=1e-4)
  assert (u < log_px).all()
  assert (l < log_pxy).all()
  bounds = over_keys(lambda key: model.apply(variables, key, batch, method="labelled_bounds"), 4000)
  elbo = over_keys(lambda key: model.apply(variables, key, batch, method="evaluate")["elbo"], 4000)
  assert (abs(lg.in_errors(bounds, l)) < 4.5).all()
  assert (abs(lg.in_errors(elbo, u)) < 4.5).all()


def test_labels_choose_the_bound():
  """L(x, y) + alpha log q(y|x) where y is known, U(x) where it is -1 or absent."""
  model, variables, batch = m2(alpha=7.0)
  y = np.array([0, -1, 2, -1, 1, -1, -1, 0])
  run = lambda more: model.apply(variables, KEY, batch | more, method="bound")
  objective, metrics = run({"y": y})
  bounds = model.apply(variables, KEY, batch, method="labelled_bounds")
  log_qy_x = model.apply(variables, batch, method="log_qy_x")
  expected = np.where(y < 0, metrics["elbo"], (bounds + 7.0 * log_qy_x)[np.arange(8), y])
  np.testing.assert_allclose(objective, expected, rtol=1e-5)
  np.testing.assert_array_equal(run({})[0], metrics["elbo"])
  right = np.argmax(log_qy_x, 1) == y
  assert float(metrics["labelled_right"].sum()) == pytest.approx(right[y >= 0].sum())
  found = model.apply(variables, KEY, batch | {"y": y}, method="evaluate")["accuracy"]
  np.testing.assert_array_equal(found, right)


def test_training_keeps_only_the_first_labels_of_each_class_and_evaluation_keeps_all():
  rng = np.random.default_rng(0)
  arrays = {"x": rng.random((60, 2), np.float32), "y": rng.integers(0, 4, 60).astype(np.int32)}
  pipeline = transforms.make(("labelled:per_class=3",), arrays)
  seen = np.concatenate([np.flatnonzero(arrays["y"] == c)[:3] for c in range(4)])
  rows = rng.permutation(60)
  batch = {"x": arrays["x"][rows], "y": arrays["y"][rows], "index": rows}
  found = jax.jit(pipeline.train)(KEY, batch)["y"]
  np.testing.assert_array_equal(found, np.where(np.isin(rows, seen), arrays["y"][rows], -1))
  np.testing.assert_array_equal(pipeline.evaluate(KEY, batch)["y"], batch["y"])
  with pytest.raises(errors.UserError, match="'labelled' takes class labels"):
    transforms.make(("labelled",), {"x": arrays["x"]})
  with pytest.raises(errors.UserError, match="per_class = 0"):
    transforms.make(("labelled:0",), arrays)


# VQ-VAE


def vq():
  model = vq_vae.Model((3,), num_positions=2, num_codes=4, code_dim=2, hidden=(8,))
  return model, larger(model, {"x": BITS}), {"x": BITS}


def test_codes_are_the_nearest_and_the_elbo_is_exact():
  """Against numpy; log p(x), by summing over all 16 codes, is above the ELBO, and p(x) sums to one."""
  model, variables, batch = vq()
  bound = model.bind(variables)
  z, e = np.asarray(bound.encode(batch)), np.asarray(bound.codebook)
  codes = np.argmin(((z[:, :, None] - e) ** 2).sum(-1), -1)
  np.testing.assert_array_equal(bound.nearest(z), codes)
  assert len(np.unique(codes)) > 1
  every = np.stack(np.meshgrid(range(4), range(4), indexing="ij"), -1).reshape(-1, 2)
  log_px_c = np.stack([np.asarray(bound.decode(e[every]).log_prob(x), np.float64) for x in BITS])  # [8, 16]
  log_px = np.log(np.exp(log_px_c).mean(1))
  assert np.exp(log_px).sum() == pytest.approx(1, abs=1e-5)
  found = bound.evaluate(KEY, batch)
  of_x = log_px_c[np.arange(8), codes @ [4, 1]]
  np.testing.assert_allclose(found["elbo"], of_x - 2 * np.log(4), rtol=1e-5)
  assert (found["elbo"] < log_px).all()
  frequency = np.bincount(codes.ravel(), minlength=4) / codes.size
  np.testing.assert_allclose(found["perplexity"], np.exp(scipy.stats.entropy(frequency)), rtol=1e-5)


def test_gradients_pass_straight_through_and_each_loss_moves_only_its_part():
  model, variables, batch = vq()
  bound = model.bind(variables)
  z, codes = bound.encode(batch), bound.nearest(bound.encode(batch))
  e = bound.codebook[codes]
  at_code = jax.grad(lambda a: bound.decode(a).log_prob(BITS).sum())(e)  # the decoder's gradient at e_c
  pull = 2 * (z - e)

  def encoder_gradient(gradient):
    _, back = jax.vjp(lambda p: model.bind({"params": variables["params"] | {"encoder": p}}).encode(batch),
                      variables["params"]["encoder"])  # fmt: skip
    return back(gradient)[0]

  objective = lambda params: model.apply({"params": params}, KEY, batch, method="bound")[0].sum()
  found = jax.grad(objective)(variables["params"])
  expected = encoder_gradient(at_code - model.beta * pull)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found["encoder"], expected)
  codebook = np.zeros((4, 2))
  np.add.at(codebook, np.asarray(codes), np.asarray(pull))  # towards the encoder's z, without the decoder's gradient
  np.testing.assert_allclose(found["codebook"], codebook, rtol=1e-4, atol=1e-5)


# Conditional VAE


@pytest.mark.parametrize("prior", conditional_vae.PRIORS)
def test_iwae_of_a_conditional_vae_agrees_with_quadrature(prior):
  """p(x|c) on the grid sums to one over all x for each class, and log p(x|c) agrees with many samples."""
  model = conditional_vae.Model((3,), num_classes=2, latent_dim=1, hidden=(8,), prior=prior)
  batch = {"x": np.tile(BITS, (2, 1)), "context": np.repeat(np.eye(2, dtype="f"), 8, 0)}
  variables = larger(model, batch)
  exact = jax.jit(lambda v: quadrature.posterior(model.bind(v), batch, 200, 10.0))(variables)
  assert exact.error.max() < 1e-4
  np.testing.assert_allclose(np.exp(exact.log_px).reshape(2, 8).sum(1), 1, rtol=1e-5)
  assert abs(exact.log_px[:8] - exact.log_px[8:]).max() > 0.1  # the class matters
  log_w = jax.jit(lambda key: log_terms.log_terms(model, variables, key, batch, 4000).w)(KEY)
  w = np.exp(np.asarray(log_w, np.float64) - np.asarray(exact.log_px, np.float64))
  assert (abs(lg.in_errors(w, 1.0)) < 4.5).all()
  assert (abs(np.asarray(estimators.elbo(log_w)) - exact.elbo) < 4.5 * np.asarray(log_w).std(0) / np.sqrt(4000)).all()


@pytest.mark.parametrize("prior", conditional_vae.PRIORS)
def test_draws_of_a_conditional_vae_have_the_frequencies_of_its_density(prior):
  model = conditional_vae.Model((3,), num_classes=2, latent_dim=1, hidden=(8,), prior=prior)
  batch = {"x": BITS, "context": np.tile(np.eye(2, dtype="f")[1], (8, 1))}
  variables = larger(model, batch)
  p = np.exp(quadrature.posterior(model.bind(variables), batch, 200, 10.0).log_px)
  given = np.tile(batch["context"][:1], (20_000, 1))
  draw = jax.jit(
    lambda key, mean, context: model.apply(variables, key, 20_000, mean, context, method="generate"), static_argnums=1
  )
  x = np.asarray(draw(KEY, False, given))
  found = (x[:, None] == BITS).all(-1).mean(0)
  assert (abs(found - p) < 4.5 * np.sqrt(p * (1 - p) / 20_000)).all()
  means = np.asarray(draw(KEY, True, given), np.float64)
  assert (abs(means.mean(0) - p @ BITS) < 4.5 * means.std(0) / np.sqrt(20_000) + 1e-5).all()
  simulated, _ = jax.jit(lambda key: model.apply(variables, key, 20_000, method="simulate"))(KEY)
  assert abs(simulated["context"][:, 0].mean() - 0.5) < 4.5 * 0.5 / np.sqrt(20_000)


@pytest.mark.parametrize("prior", conditional_vae.PRIORS)
def test_reconstruction_without_a_class_is_the_mean_over_classes(prior):
  model = conditional_vae.Model((3,), num_classes=2, latent_dim=2, hidden=(8,), prior=prior)
  variables = larger(model, {"x": BITS, "context": np.eye(2, dtype="f")[[0] * 8]})
  bound, z = model.bind(variables), jax.random.normal(KEY, (5, 2))
  contexts = [np.tile(c, (5, 1)) for c in np.eye(2, dtype="f")]
  log_pz = np.stack([np.broadcast_to(bound._prior(c).log_prob(z), 5) for c in contexts])
  p = np.exp(log_pz) / np.exp(log_pz).sum(0)
  means = np.stack([bound.reconstruct(z, c) for c in contexts])
  assert abs(means[0] - means[1]).max() > 0.01
  np.testing.assert_allclose(bound.reconstruct(z), (p[..., None] * means).sum(0), rtol=1e-4)


# Errors


@pytest.mark.parametrize("make,named", [
  (lambda: conditional_vae.Model((3,), prior="vamp"), "prior = 'vamp'; it must be one of standard_normal, conditional"),
  (lambda: conditional_vae.Model((3,), num_classes=4), "num_classes = 4, but the context of the data has 5 entries"),
  (lambda: diffusion.Model((3,), schedule="exp"), "schedule = 'exp'; it must be one of linear, cosine"),
  (lambda: diffusion.Model((3,), num_steps=1), "num_steps = 1; it must be 2 or more"),
  (lambda: vq_vae.Model((3,), num_codes=0), "num_codes = 0; it must be 1 or more"),
  (lambda: semi_supervised_vae.Model((3,), num_classes=1), "num_classes = 1; it must be 2 or more"),
])  # fmt: skip
def test_invalid_values_are_named(make, named):
  with pytest.raises(errors.UserError, match=named):
    jax.eval_shape(make().init, KEY, {"x": BITS, "context": np.eye(5)[[0] * 8]})


def test_a_conditional_vae_without_context_names_the_transform():
  with pytest.raises(errors.UserError, match="transform 'condition'"):
    jax.eval_shape(conditional_vae.Model((3,)).init, KEY, {"x": BITS})


def test_options_and_models_without_a_bound_raise_user_errors():
  with pytest.raises(errors.UserError, match=r"Unknown key of config\.objective 'beta'"):
    own_bound.make(vq()[0], optax.adam(1e-3), beta=1.0)
  with pytest.raises(errors.UserError, match=r"add 'bound' to 'dgm_jax\.models\.vae\.vae'"):
    own_bound.make(vae.Model(tables.SHAPE), optax.adam(1e-3))

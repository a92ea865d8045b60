"""Likelihoods: normalisation, moments and masks of all families; agreement with scipy, TFP and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from tensorflow_probability.substrates.jax import distributions as tfd

from dgm_jax.core import errors
from dgm_jax.distributions.continuous_bernoulli import ContinuousBernoulli
from dgm_jax.distributions.factorised import softplus, sum_last
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.distributions.student_t import StudentT
from dgm_jax.models.vae import vae
from helpers import tables

OPTIONS = {
  "gaussian_fixed": {"scale": 0.7},
  "gaussian_bounded": {"min_scale": 0.1, "max_scale": 3.0},
  "gaussian_mixture": {"num_components": 3},
  "categorical": {"num_classes": 4},
  "discretised_logistic": {"num_components": 3, "num_levels": 8},
  "logistic_levels": {"num_components": 3, "num_levels": 8},
}
LEVELS = {"bernoulli": np.arange(2.0), "categorical": np.arange(4.0), "discretised_logistic": np.arange(8) / 7}
LEVELS |= {"logistic_levels": np.arange(8.0)}
LEVELS["poisson"] = np.arange(300.0)
LEVELS |= dict.fromkeys(("negative_binomial", "zero_inflated_negative_binomial"), np.arange(4000.0))
B, D = 5, 3
every_likelihood = pytest.mark.parametrize("name", families.FAMILIES)


def outputs(name, seed=0):
  """The likelihood of D entries, its parameters and B random outputs of a decoder."""
  p = Likelihood(D, families.make(name, **OPTIONS.get(name, {})))
  h = np.random.default_rng(seed).normal(0.5, 1.0, (B, p.num_outputs))
  h = jnp.asarray(abs(h) + 0.5 if name == "beta" else h)  # small mass next to 0 and 1
  variables = jax.tree.map(lambda a: a - 0.3, p.init(jax.random.key(0), h))
  return p, variables, h


def grid(name, support):
  """(x [N], weights [N]) for integrals, or sums, over the support."""
  if name in LEVELS:
    return LEVELS[name], np.ones(len(LEVELS[name]))
  if np.isfinite(support[0]):  # x = sigmoid(t): steps shrink towards both ends
    t = np.linspace(-36, 36, 4001)
    x = scipy.special.expit(t)
    return x, x * scipy.special.expit(-t) * (t[1] - t[0])
  t = np.linspace(-14, 14, 4001)  # heavy tails: x = sinh(t)
  return np.sinh(t), np.cosh(t) * (t[1] - t[0])


def draw(name, d):
  x = d.sample(seed=jax.random.key(1))
  return jnp.clip(x, 1e-3, 1 - 1e-3) if name == "beta" else x


@every_likelihood
def test_integrates_to_one_with_its_mean(name):
  with jax.enable_x64(True):
    p, variables, h = outputs(name)
    d = p.apply(variables, h)
    x, weights = grid(name, p.family.support)
    log_p = jax.jit(jax.vmap(lambda x: d.distribution.log_prob(jnp.full((B, D), x))))(jnp.asarray(x))
    mass = np.exp(log_p) * weights[:, None, None]
    np.testing.assert_allclose(mass.sum(0), 1, rtol=1e-5)  # error from clipping beta at 1e-6 and from Student-t's tails
    np.testing.assert_allclose((mass * x[:, None, None]).sum(0), d.mean(), rtol=1e-4, atol=1e-5)
    square = np.square(x[:, None, None] - np.asarray(d.mean()))  # part of Student-t's variance lies beyond the grid
    np.testing.assert_allclose((mass * square).sum(0), d.variance(), rtol=1e-3 if name == "student_t" else 1e-5)
    np.testing.assert_allclose(d.log_prob(jnp.full((B, D), x[1])), log_p[1].sum(-1), rtol=1e-9)


@pytest.mark.parametrize("name", [
  pytest.param(name, marks=pytest.mark.slow) if name.endswith("negative_binomial") else name
  for name in families.FAMILIES
])  # fmt: skip
def test_samples_have_the_mean(name):
  p, variables, h = outputs(name)
  d = p.apply(variables, h)
  x = np.asarray(d.sample(seed=jax.random.key(0), sample_shape=(20_000,)), np.float64)
  error = x.std(0) / np.sqrt(len(x))
  np.testing.assert_array_less(abs(x.mean(0) - d.mean()), 5 * error)
  low, high = p.family.support
  assert low - 1e-6 <= x.min() <= x.max() <= high + 1e-6
  if name in LEVELS:
    assert np.isclose(x[..., None], LEVELS[name]).any(-1).all()


def test_samplers_follow_the_distribution_function():
  logits = np.array([-30.0, -1.0, 5e-4, 1e-6, 3.0], "f")
  x = np.asarray(ContinuousBernoulli(logits).sample(seed=jax.random.key(0), sample_shape=(20_000,)), np.float64)
  for l, column in zip(logits.astype(np.float64), x.T, strict=True):
    assert scipy.stats.kstest(column, lambda x, l=l: np.expm1(l * x) / np.expm1(l)).pvalue > 1e-3
  t = StudentT(jnp.array([3.0, 9.0]), jnp.array([0.3, -1.0]), jnp.array([0.5, 2.0]))
  x = np.asarray(t.sample(seed=jax.random.key(0), sample_shape=(20_000,)))
  assert scipy.stats.kstest(x[:, 0], scipy.stats.t(3, 0.3, 0.5).cdf).pvalue > 1e-3
  assert scipy.stats.kstest(x[:, 1], scipy.stats.t(9, -1, 2).cdf).pvalue > 1e-3
  assert np.isfinite(x).all()
  p, variables, h = outputs("discretised_logistic")
  d = p.apply(variables, h)
  x = np.asarray(d.sample(seed=jax.random.key(0), sample_shape=(20_000,)))
  expected = np.exp([d.distribution.log_prob(jnp.full((B, D), level, "f")) for level in LEVELS["discretised_logistic"]])
  found = np.stack([np.isclose(x, level).mean(0) for level in LEVELS["discretised_logistic"]])
  np.testing.assert_array_less(abs(found - expected), 5 * np.sqrt(expected * (1 - expected) / len(x)) + 1e-4)


def test_density_of_students_t_is_exact_for_small_and_large_degrees_of_freedom():
  """log p and its derivative in v; a difference of log-gammas would be off by 1e-2 at v = 1e5 in float32."""
  v = np.array([1.01, 1.5, 3.0, 7.3, 100.0, 1e5])
  log_p = lambda v: StudentT(v, jnp.zeros_like(v), jnp.ones_like(v)).log_prob(jnp.full_like(v, 0.7))
  np.testing.assert_allclose(log_p(jnp.asarray(v, "f")), scipy.stats.t.logpdf(0.7, v), atol=3e-7)
  slope = jax.grad(lambda v: log_p(v).sum())(jnp.asarray(v[:4], "f"))
  by_differences = (scipy.stats.t.logpdf(0.7, v[:4] + 1e-5) - scipy.stats.t.logpdf(0.7, v[:4] - 1e-5)) / 2e-5
  np.testing.assert_allclose(slope, by_differences, rtol=1e-4)


def test_draws_of_students_t_have_the_gradients_of_its_moments():
  """E|x - m| = 2 s sqrt(v) / ((v - 1) B(v/2, 1/2)), and so are its derivatives in s and v."""
  v, m, s = 4.0, 0.3, 0.5
  each = lambda key, v, m, s: jnp.abs(StudentT(v, m, s).sample(seed=key) - m)
  scalar = lambda *args: jax.vmap(jax.grad(each, (1, 2, 3)), (0, None, None, None))(*args)
  by_v, by_m, by_s = map(
    np.asarray, jax.jit(scalar)(jax.random.split(jax.random.key(0), 100_000), *map(jnp.float32, (v, m, s)))
  )
  mean = lambda v: 2 * s * np.sqrt(v) / ((v - 1) * scipy.special.beta(v / 2, 0.5))
  for found, expected in (
    (by_v, (mean(v + 1e-4) - mean(v - 1e-4)) / 2e-4),
    (by_s, mean(v) / s),
  ):
    assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(len(found))
  np.testing.assert_allclose(by_m, 0, atol=1e-6)  # |x - m| does not move with m


@every_likelihood
def test_masked_entries_contribute_nothing(name):
  p, variables, h = outputs(name)
  d = p.apply(variables, h)
  x = draw(name, d)
  mask = np.random.default_rng(0).random((B, D)) < 0.5
  np.testing.assert_allclose(d.log_prob(x, mask), np.sum(d.distribution.log_prob(x) * mask, -1), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(d.log_prob(x, np.ones((B, D))), d.log_prob(x), rtol=1e-5)
  bad = jnp.where(mask, x, -7 if name == "categorical" else np.nan)  # masked values do not reach a gradient
  log_p = lambda h: p.apply(variables, h).log_prob(bad, mask).sum()
  assert np.isfinite(jax.jit(jax.grad(log_p))(h)).all()
  np.testing.assert_array_equal(p.features(bad, mask).reshape(B, D, -1)[~mask], 0)


@every_likelihood
def test_decoder_starts_at_the_mean_of_the_data(name):
  p, variables, _ = outputs(name)
  mean = (0.2, 0.5, 0.93)
  bias = p.output_bias(mean)(None, (p.num_outputs,))
  found = p.apply(variables, bias[None]).mean()[0]
  if name == "categorical":
    np.testing.assert_allclose(found, 1.5)
  elif name == "discretised_logistic":  # the open bins move the mean to the middle
    assert abs(found - np.array(mean)).max() < 0.1
  elif name == "logistic_levels":
    assert abs(found - np.array(mean)).max() < 0.7  # a tenth of the range, too
  else:
    np.testing.assert_allclose(found, mean, atol=2e-3)


@every_likelihood
def test_gradients_are_finite_at_extreme_outputs(name):
  p, variables, _ = outputs(name)
  x = jnp.full((1, D), 0.25) if name not in LEVELS else jnp.full((1, D), LEVELS[name][1])
  evaluate = jax.jit(jax.value_and_grad(lambda h: p.apply(variables, h).log_prob(x).sum()))
  for size in (-20.0, 0.0, 20.0):
    value, gradient = evaluate(jnp.full((1, p.num_outputs), size))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_agrees_with_scipy():
  rng = np.random.default_rng(0)
  softplus = lambda h: np.logaddexp(0, h)
  with jax.enable_x64(True):
    for name, expected in {
      "gaussian": lambda x, a, b: scipy.stats.norm.logpdf(x, a, np.exp(b)),
      "gaussian_sigmoid": lambda x, a, b: scipy.stats.norm.logpdf(x, scipy.special.expit(a), np.exp(b / 2)),
      "gaussian_shared": lambda x, a: scipy.stats.norm.logpdf(x, a, np.exp(-0.3)),
      "gaussian_fixed": lambda x, a: scipy.stats.norm.logpdf(x, a, 0.7),
      "gaussian_bounded": lambda x, a, b: scipy.stats.norm.logpdf(x, a, 0.1 * 30 ** scipy.special.expit(b)),
      "student_t": lambda x, a, b, c: scipy.stats.t.logpdf(x, 3 + softplus(c), a, softplus(b) + 1e-3),
      "beta": lambda x, a, b: scipy.stats.beta.logpdf(x, softplus(a) + 1e-3, softplus(b) + 1e-3),
      "gaussian_softplus": lambda x, a, b: scipy.stats.norm.logpdf(x, a, np.sqrt(softplus(b) + 1e-6)),
      "gaussian_mixture": lambda x, *h: scipy.special.logsumexp(
        scipy.special.log_softmax(h[:3], 0) + scipy.stats.norm.logpdf(x, h[3:6], np.exp(h[6:])), 0
      ),
    }.items():
      p, variables, h = outputs(name)
      x = rng.random((B, D))
      found = p.apply(variables, h).log_prob(x)
      np.testing.assert_allclose(found, expected(x, *np.split(h, h.shape[1] // D, -1)).sum(-1), rtol=1e-6, err_msg=name)


def test_poisson_and_its_gradient_agree_with_scipy():
  with jax.enable_x64(True):
    p, variables, h = outputs("poisson")
    x = np.random.default_rng(0).integers(0, 9, (B, D)).astype(float)
    log_p = lambda h: p.apply(variables, h).log_prob(x)
    np.testing.assert_allclose(log_p(h), scipy.stats.poisson.logpmf(x, np.exp(h)).sum(-1), rtol=1e-9)
    np.testing.assert_allclose(jax.grad(lambda h: log_p(h).sum())(h), x - np.exp(h), rtol=1e-9)


def test_categorical_is_the_softmax():
  p, variables, h = outputs("categorical")
  x = np.random.default_rng(0).integers(0, 4, (B, D))
  log_p = scipy.special.log_softmax(np.asarray(h).reshape(B, 4, D), 1)
  expected = np.take_along_axis(log_p, x[:, None], 1).sum((1, 2))
  np.testing.assert_allclose(p.apply(variables, h).log_prob(x), expected, rtol=1e-5)


def test_continuous_bernoulli_agrees_with_tfp_and_its_series_is_continuous():
  logits = np.concatenate([np.linspace(-20, 20, 40), [-1e-3, 1e-6, 0.0, 0.19999, 0.20001, -0.19999, -0.20001]])
  with jax.enable_x64(True):
    ours, theirs = ContinuousBernoulli(jnp.asarray(logits)), tfd.ContinuousBernoulli(logits=logits)
    for x in (0.0, 0.3, 1.0):
      np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.mean(), theirs.mean(), rtol=1e-6)
    slope = jax.vmap(jax.grad(lambda l: ContinuousBernoulli(l).log_prob(0.3)))(jnp.asarray(logits))
    np.testing.assert_allclose(slope, 0.3 - ours.mean(), atol=1e-9)  # exponential family: d log p / dl = x - E[x]
    expected = np.asarray(ours.log_prob(0.3))
  single = jnp.asarray(logits, jnp.float32)
  np.testing.assert_allclose(ContinuousBernoulli(single).log_prob(0.3), expected, rtol=1e-5, atol=1e-6)


def test_draws_of_a_nearly_uniform_continuous_bernoulli_are_continuous_in_its_parameter():
  with jax.enable_x64(True):
    draw = lambda logit: ContinuousBernoulli(jnp.full(200, logit)).sample(seed=jax.random.key(0))
    for sign in (-1, 1):  # the series on one side of 1e-3, the closed form on the other
      np.testing.assert_allclose(draw(sign * 0.999e-3), draw(sign * 1.001e-3), atol=1e-6)
    assert np.abs(draw(0.999e-3) - draw(-0.999e-3)).max() > 1e-4


def test_discretised_logistic_is_a_difference_of_distribution_functions():
  """256 levels: all bins sum to 1, and each is the integral of a logistic's density over it."""
  with jax.enable_x64(True):
    p = Likelihood(1, families.make("discretised_logistic", num_components=2))
    h = jnp.array([[0.3, -0.2, 0.1, 0.8, -4.0, -1.5]])
    x = np.arange(256)[:, None] / 255
    found = np.exp(jax.vmap(lambda x: p.apply({}, h).log_prob(x[None])[0])(jnp.asarray(x)))
  cdf = lambda x: (
    scipy.special.softmax([0.3, -0.2]) @ scipy.stats.logistic.cdf(x, [[0.1], [0.8]], np.exp([[-4], [-1.5]]))
  )
  edges = (np.arange(1, 256) - 0.5) / 255
  expected = np.diff(np.concatenate([[0.0], cdf(edges), [1.0]]))
  np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-14)
  assert found.sum() == pytest.approx(1, abs=1e-12)


def test_min_scale_bounds_the_likelihood():
  p, variables, _ = outputs("gaussian_bounded")
  h = jnp.concatenate([jnp.full((1, D), 0.3), jnp.full((1, D), -1e4)], -1)  # mean at x, with the smallest scale
  found = p.apply(variables, h).log_prob(jnp.full((1, D), 0.3))
  np.testing.assert_allclose(found, -D * np.log(0.1 * np.sqrt(2 * np.pi)), rtol=1e-5)


@pytest.mark.parametrize("name", ["bernoulli", "gaussian_shared"])
def test_log_joint_depends_on_observed_entries_only(name):
  """log p(x|z) of a batch with a mask: the sum over observed entries, for any values of the others."""
  model = vae.Model((D,), latent_dim=2, hidden=(4,), likelihood=name)
  x, mask = np.ones((B, D), "f"), (np.random.default_rng(1).random((B, D)) < 0.5).astype("f")
  variables = model.init(jax.random.key(0), {"x": x})
  z = jax.random.normal(jax.random.key(1), (B, 2))
  terms = [
    model.apply(variables, {"x": np.where(mask, x, fill).astype("f"), "mask": mask}, z, method="log_joint")[0]
    for fill in (0, np.nan)
  ]
  bound = model.bind(variables)
  expected = np.sum(bound.decode(z).distribution.log_prob(x) * mask, -1)
  np.testing.assert_allclose(terms, [expected] * 2, rtol=1e-5)
  loc = [bound.infer({"x": np.where(mask, x, fill).astype("f"), "mask": mask}).mean() for fill in (0, np.nan)]
  np.testing.assert_array_equal(*loc)


def test_support_of_a_model_follows_its_likelihood():
  support = lambda **kwargs: vae.Model(tables.SHAPE, **kwargs).support
  assert support() == (0, 1)
  assert support(likelihood="gaussian")[1] == np.inf
  assert support(likelihood="categorical", likelihood_args={"num_classes": 5}) == (0, 4)
  assert support(likelihood="beta")[0] > 0


@pytest.mark.parametrize(
  "name,options,sentence",
  [
    ("bernouli", {}, "one of bernoulli, "),
    ("gaussian_fixed", {"scale": 0.0}, "scale = 0.0"),
    ("gaussian_bounded", {"min_scale": 2.0, "max_scale": 1.0}, "min_scale = 2.0"),
    ("categorical", {"num_classes": 1}, "num_classes = 1"),
    ("gaussian_mixture", {"num_components": 0}, "num_components = 0"),
    ("discretised_logistic", {"num_levels": 1}, "num_levels = 1"),
    ("logistic_levels", {"num_components": 0}, "num_components = 0"),
  ],
)
def test_invalid_options_raise_a_user_error(name, options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    families.make(name, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softplus_and_its_derivative_agree_with_scipy_to_the_epsilon_of_the_dtype(dtype):
  with jax.enable_x64(True):
    x = np.concatenate([np.linspace(-80, 80, 481), [-1e5, -1e-6, 0.0, 1e-6, 1e5]]).astype(dtype)
    found, slope = jax.vmap(jax.value_and_grad(softplus))(jnp.asarray(x))
    epsilon = np.finfo(dtype).eps
    np.testing.assert_allclose(found, np.logaddexp(0, x.astype(np.float64)), rtol=2 * epsilon, atol=2 * epsilon)
    np.testing.assert_allclose(slope, scipy.special.expit(x.astype(np.float64)), rtol=20 * epsilon)


@pytest.mark.parametrize("shape", [(7,), (3, 784), (2, 5, 1)])
def test_a_sum_by_a_product_is_the_sum(shape):
  with jax.enable_x64(True):
    a = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(sum_last(jnp.asarray(a)), a.sum(-1), rtol=1e-12, atol=1e-12)
    slope = jax.grad(lambda a: jnp.sum(jnp.sin(sum_last(a))))(a)
    np.testing.assert_allclose(slope, np.cos(a.sum(-1))[..., None] + 0 * a, rtol=1e-12, atol=1e-12)

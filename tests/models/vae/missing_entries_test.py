"""Models of data with missing entries: masked values have no influence; p(m|x) by integration."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from flax.core import FrozenDict
from numpy.polynomial.hermite_e import hermegauss

from dgm_jax.core import errors, rng
from dgm_jax.distributions import missing_process
from dgm_jax.distributions.likelihoods import families
from dgm_jax.distributions.likelihoods.likelihood import Likelihood
from dgm_jax.inference import estimators, imputation, log_terms
from dgm_jax.models.vae import vae
from dgm_jax.networks.set_encoder import SetEncoder

KEY = jax.random.key(0)
COLUMNS = ("gaussian", "categorical(3)", "student_t", "bernoulli", "categorical(3)")
B, D = 6, len(COLUMNS)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, D)).astype("f")
MASK = (RNG.random((B, D)) < 0.6).astype("f")
CLASSES = X.copy()
CLASSES[:, [1, 4]], CLASSES[:, 3] = RNG.integers(0, 3, (B, 2)), RNG.integers(0, 2, B)

MODELS = {
  "mixed": {"likelihood": "mixed", "likelihood_args": {"columns": COLUMNS}, "iota": "constant"},
  "set": {"likelihood": "gaussian", "net": "set", "net_args": {"decoder_hidden": ()}},
  "self_masking": {"likelihood": "gaussian", "missing_process": "self_masking"},
  "low_rank_joint": {"likelihood": "bernoulli", "missing_process": "low_rank_joint"},
  "gaussian": {"likelihood": "gaussian_shared", "iota": "constant"},
  "self_masking_known": {"likelihood": "student_t", "posterior": "student_t", "missing_process": "self_masking_known"},
  "nonlinear": {"likelihood": "gaussian", "missing_process": "nonlinear", "iota": "constant"},
}
FAST = ("mixed", "self_masking")
slow = lambda name, fast: pytest.param(name, marks=[pytest.mark.slow] * (name not in fast))


def build(name):
  """(model, perturbed initial parameters, x)."""
  model = vae.Model((D,), latent_dim=2, hidden=(8,), **MODELS[name])
  x = CLASSES if model.likelihood == "mixed" else (X > 0).astype("f") if model.likelihood == "bernoulli" else X
  params = model.init(KEY, {"x": x})["params"]
  return model, jax.tree.map(lambda a: a + 0.1 * jax.random.normal(KEY, a.shape), params), x


def bound_and_gradient(model):
  """(params, batch) -> (the IWAE bound [B], the gradient of its mean), compiled."""

  def bound(params, batch):
    values = estimators.iwae(log_terms.log_terms(model, {"params": params}, KEY, batch, 3).w)
    return jnp.mean(values), values

  return jax.jit(jax.value_and_grad(bound, has_aux=True))


@pytest.mark.parametrize("name", [slow(name, FAST) for name in MODELS])
def test_masked_values_have_no_influence(name):
  """Bound and gradient are bitwise equal for NaN, infinities and noise in masked entries."""
  model, params, x = build(name)
  ask = bound_and_gradient(model)
  fills = [np.where(MASK > 0, x, fill).astype("f") for fill in (0, np.nan, np.inf, 1e30, RNG.normal(size=x.shape))]
  first, *others = (ask(params, {"x": fill, "mask": MASK}) for fill in fills)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
  for other in others:
    jax.tree.map(np.testing.assert_array_equal, first, other)
  (_, moved), _ = ask(params, {"x": np.where(MASK > 0, 1 - x, x).astype("f"), "mask": MASK})
  assert (np.asarray(moved) != np.asarray(first[0][1])).all()


@pytest.mark.slow
def test_imputation_ignores_masked_values():
  model, params, x = build("self_masking")
  keys = rng.row_keys(KEY, jnp.arange(B))

  @jax.jit
  def ask(x):
    bound, batch = model.bind({"params": params}), {"x": x, "mask": MASK}
    return imputation.single(bound, keys, batch, 20), imputation.multiple(bound, keys, batch, 3, 20)

  first, *others = (ask(np.where(MASK > 0, x, fill).astype("f")) for fill in (0, np.nan, np.inf, 7.5))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
  for other in others:
    jax.tree.map(np.testing.assert_array_equal, first, other)


def test_miwae_without_missing_entries_equals_iwae():
  """Bounds are bitwise equal to those of the model without a mask; gradients agree up to the compiler's rounding."""
  plain = vae.Model((D,), latent_dim=2, hidden=(8,), likelihood="gaussian")
  filled = vae.Model((D,), latent_dim=2, hidden=(8,), likelihood="gaussian", iota="constant")
  params = plain.init(KEY, {"x": X})["params"]
  a = bound_and_gradient(plain)(params, {"x": X})
  b = bound_and_gradient(filled)(params | {"iota": jnp.full(D, 3.0)}, {"x": X, "mask": np.ones_like(MASK)})
  np.testing.assert_array_equal(b[1].pop("iota"), 0)
  np.testing.assert_array_equal(a[0][1], b[0][1])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), a[1], b[1])


def test_the_encoder_sees_iota_where_x_is_missing():
  model, params, x = build("mixed")
  p = Likelihood(D, families.make("mixed", columns=COLUMNS))
  fill = jnp.arange(10.0, 10.0 + p.num_features)
  seen = np.asarray(p.apply({}, CLASSES, MASK, fill, method="features"))
  one_hot = lambda d: np.eye(3)[CLASSES[:, d].astype(int)]
  whole = np.concatenate([CLASSES[:, :1], one_hot(1), one_hot(4), CLASSES[:, 2:4]], 1)
  mask = MASK[:, [0, 1, 1, 1, 4, 4, 4, 2, 3]]
  np.testing.assert_allclose(seen, np.where(mask > 0, whole, fill))
  moved = params | {"iota": params["iota"] + 1}
  mean = lambda params: model.apply({"params": params}, {"x": x, "mask": MASK}, method="infer").mean()
  assert (mean(params) != mean(moved)).any(1)[MASK.min(1) == 0].all()


def test_a_mixed_likelihood_agrees_with_its_columns():
  """log p per column by scipy, moments and frequencies of draws, and the decoder's initial output."""
  family = families.make("mixed", columns=COLUMNS)
  p = Likelihood(D, family)
  assert (p.num_outputs, p.num_features) == (2 + 3 + 3 + 1 + 3, 1 + 3 + 1 + 1 + 3)
  h = RNG.normal(size=(B, 12)).astype("f")

  @jax.jit
  def ask(h):
    d = p.apply({}, h)
    draws, features = d.sample(seed=KEY, sample_shape=(20_000,)), d.expected_features()
    start = p.apply({}, family.bias(jnp.array([0.3, 1.0, -2.0, 0.25, 0.5]))[None]).mean()[0]
    log_p = d.log_prob(CLASSES), d.log_prob(CLASSES, MASK)
    return log_p, (draws, d.mean(), d.variance()), (features, d.most_likely(features)), start

  log_p, (draws, mean, variance), (features, most), start = jax.tree.map(lambda a: np.asarray(a, np.float64), ask(h))
  softplus = lambda a: np.logaddexp(0, a)
  logits = np.stack([h[:, 2:8:2], h[:, 3:8:2]], 1)  # the two categorical columns form a group: blocks of two
  by_column = np.stack([
    scipy.stats.norm(h[:, 0], np.exp(h[:, 1])).logpdf(CLASSES[:, 0]),
    np.take_along_axis(scipy.special.log_softmax(logits[:, 0], -1), CLASSES[:, [1]].astype(int), 1)[:, 0],
    scipy.stats.t(3 + softplus(h[:, 10]), h[:, 8], softplus(h[:, 9]) + 1e-3).logpdf(CLASSES[:, 2]),
    scipy.stats.bernoulli(scipy.special.expit(h[:, 11])).logpmf(CLASSES[:, 3]),
    np.take_along_axis(scipy.special.log_softmax(logits[:, 1], -1), CLASSES[:, [4]].astype(int), 1)[:, 0],
  ], 1)  # fmt: skip
  np.testing.assert_allclose(log_p, [by_column.sum(1), (by_column * MASK).sum(1)], rtol=1e-5)
  np.testing.assert_array_less(abs(draws.mean(0) - mean), 5 * draws.std(0) / np.sqrt(20_000))
  light = [0, 1, 3, 4]  # the sample variance of a Student-t is too noisy
  np.testing.assert_allclose(draws.var(0)[:, light], variance[:, light], rtol=0.1, atol=0.02)
  np.testing.assert_allclose(features[:, 1:4], scipy.special.softmax(logits[:, 0], -1), rtol=1e-5)
  np.testing.assert_array_equal(most[:, 4], logits[:, 1].argmax(-1))
  np.testing.assert_allclose(most[:, [0, 2, 3]], mean[:, [0, 2, 3]])
  np.testing.assert_allclose(start, [0.3, 1, -2, 0.25, 1], rtol=1e-5)


_GAUSSIAN = {"likelihood": "gaussian"}


def _columns(*names):
  return {"likelihood": "mixed", "likelihood_args": {"columns": names}}


@pytest.mark.parametrize("options,sentence", [
  (_columns("gaussian"), "the number of columns of likelihood 'mixed' is 1, but x has 5"),
  (_columns(), "must name a likelihood for each column"),
  (_columns(*["gausian"] * 5), "column 'gausian' .* one of bernoulli"),
  (_columns(*["categorical(x)"] * 5), "'categorical\\(x\\)' .* 'categorical\\(3\\)'"),
  (_columns(*["gaussian_shared"] * 5), "cannot share a scale"),
  ({"iota": "mean"}, "iota = 'mean'"),
  ({"iota": "constant", "net": "set"}, "net 'set'"),
  ({"missing_process": "selfmasking"}, "one of ignorable, self_masking"),
  ({"missing_process": "linear", "likelihood": "bernoulli"}, "low_rank_joint"),
  ({"missing_process": "self_masking_known", "missing_process_args": {"sign": 2}, **_GAUSSIAN}, "sign = 2"),
])  # fmt: skip
def test_invalid_options_raise(options, sentence):
  model = vae.Model((D,), latent_dim=2, hidden=(8,), **options)
  with pytest.raises(errors.UserError, match=sentence):
    jax.eval_shape(model.init, KEY, {"x": X})


def test_a_set_encoder_is_permutation_invariant():
  """Permuting features with their embeddings keeps the code, and so does leaving out unobserved features."""
  net = SetEncoder((7,), 4, embedding_dim=3, code_dim=6)
  params = net.init(KEY, X, MASK)["params"]
  params = jax.tree.map(lambda a: a + 0.3 * jax.random.normal(KEY, a.shape), params)  # nonzero biases
  apply = jax.jit(lambda params, x, mask=None: net.apply({"params": params}, x, mask))
  out = apply(params, X, MASK)
  order = np.array([3, 0, 4, 1, 2])
  moved = params | {"embedding": params["embedding"][order]}
  np.testing.assert_allclose(apply(moved, X[:, order], MASK[:, order]), out, rtol=1e-5, atol=1e-6)
  i = int(np.argmin(MASK.min(1)))
  x, mask = X[i], MASK[i] > 0
  fewer = params | {"embedding": params["embedding"][mask]}
  np.testing.assert_allclose(apply(fewer, x[None, mask])[0], out[i], rtol=1e-5, atol=1e-6)


def test_missing_processes_agree_with_their_formulas():
  x, sigmoid = X.astype(np.float64), scipy.special.expit

  def logits(name, **options):
    process = missing_process.make(name, D, "gaussian", **options)
    params = process.init(KEY, X)["params"]
    return np.asarray(process.apply({"params": params}, X)), jax.tree.map(np.asarray, params)

  found, p = logits("self_masking")
  np.testing.assert_allclose(found, -p["slope"] * (x - p["offset"]), rtol=1e-5, atol=1e-6)
  sign = (1, -1, 1, 1, -1)
  found, p = logits("self_masking_known", sign=sign)
  slope = np.array(sign) * np.log1p(np.exp(p["slope"]))
  np.testing.assert_allclose(found, -slope * (x - p["offset"]), rtol=1e-4, atol=1e-6)
  assert (np.diff(sigmoid(-found[np.argsort(x[:, 0]), 0])) > 0).all()  # large values are missing more often
  found, p = logits("linear")
  np.testing.assert_allclose(found, x @ p["linear"]["kernel"] + p["linear"]["bias"], rtol=1e-4, atol=1e-6)
  found, p = logits("nonlinear", hidden=(4,))
  h = np.tanh(x @ p["mlp"]["Dense_0"]["kernel"] + p["mlp"]["Dense_0"]["bias"])
  np.testing.assert_allclose(
    found, h @ p["mlp"]["Dense_1"]["kernel"] + p["mlp"]["Dense_1"]["bias"], rtol=1e-4, atol=1e-5
  )


def test_noise_keys_differ_by_row_and_add_no_density():
  loc = RNG.normal(size=(B, 2)).astype("f")
  q = missing_process.WithNoise(distrax.Independent(distrax.Normal(loc, 0.5), 1), B)
  (z, keys), log_q = q.sample_and_log_prob(seed=KEY)
  np.testing.assert_allclose(log_q, scipy.stats.norm(loc, 0.5).logpdf(z).sum(1), rtol=1e-5)
  np.testing.assert_allclose(q.log_prob((z, keys)), log_q, rtol=1e-6)
  np.testing.assert_array_equal(q.mean(), loc)
  assert len(set(map(tuple, jax.random.key_data(keys).tolist()))) == B


def mnar(name="self_masking_known", **options):
  """A model of two numbers with one latent unit, the second number missing, and its parameters."""
  model = vae.Model((2,), latent_dim=1, hidden=(4,), likelihood="gaussian_shared", missing_process=name, **options)
  batch = {"x": np.array([[0.4, np.nan]], "f"), "mask": np.array([[1.0, 0.0]], "f")}
  params = model.init(KEY, batch)["params"]
  noise = np.random.default_rng(1)
  params = jax.tree.map(lambda a: a + jnp.asarray(0.4 * noise.normal(size=a.shape), jnp.float32), params)
  return model, params, batch


NODES, WEIGHTS = (jnp.asarray(a) for a in hermegauss(60))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def integral(model, params, f=jnp.ones_like, of_m=True):
  """E over z ~ p(z), x_2 ~ p(x_2|z) of p(x_1|z) p(m|x) f(x_2), or without p(m|x), by Gauss-Hermite quadrature."""
  bound = model.bind({"params": params})
  mean, scale = bound.decode(NODES[:, None].astype(jnp.float32)).mean(), jnp.exp(params["px_z"]["log_scale"])
  x_1 = 0.4
  px_1 = jax.scipy.stats.norm.pdf(x_1, mean[:, 0], scale)
  x_2 = mean[:, 1, None] + scale * NODES
  if bound.pm_x.sees == "z":
    logits = jnp.broadcast_to(bound.pm_x(NODES[:, None])[:, None], (*x_2.shape, 2))
  else:
    logits = bound.pm_x(jnp.stack([jnp.full_like(x_2, x_1), x_2], -1))
  pm = jax.nn.sigmoid(logits[..., 0]) * jax.nn.sigmoid(-logits[..., 1])
  return jnp.einsum("i,j,i,ij,ij->", WEIGHTS, WEIGHTS, px_1, pm if of_m else jnp.ones_like(pm), f(x_2))


@pytest.mark.parametrize(
  "name", [slow(n, ("self_masking_known",)) for n in ("self_masking_known", "nonlinear", "linear", "low_rank_joint")]
)
def test_importance_weights_are_unbiased_for_the_likelihood_of_x_and_m(name):
  """E[w] = p(x_observed, m), and so for gradients through the draws of x_missing, for every parameter of p."""
  model, params, batch = mnar(name)

  def weights(params, key):
    return jnp.exp(log_terms.log_terms(model, {"params": params}, key, batch, 2000).w).mean()

  run = jax.jit(lambda keys: jax.lax.map(lambda key: jax.value_and_grad(weights)(params, key), keys))
  values, slopes = run(jax.random.split(KEY, 60))
  expected, gradient = jax.jit(jax.value_and_grad(lambda p: integral(model, p)))(params)
  error = lambda a: np.asarray(a, np.float64).std(0) / np.sqrt(60) + 1e-8
  assert abs(np.mean(values) - expected) < 5 * error(values)
  for part in ("decoder", "px_z", "pm_x"):
    jax.tree.map(
      lambda a, g: np.testing.assert_array_less(abs(np.mean(a, 0) - g), 5 * error(a)), slopes[part], gradient[part]
    )
  assert max(abs(leaf).max() for leaf in jax.tree.leaves(slopes["pm_x"])) > 1e-3


def observed_and_moments(name):
  """(model, parameters, 150 equal rows, their keys, E and Var of x_2 given x_1 and m, E given x_1 alone)."""
  model, params, batch = mnar(name)
  params["pm_x"] = jax.tree.map(lambda a: 2.0 * a, params["pm_x"])
  powers = (jnp.ones_like, lambda x: x, jnp.square)
  moments = lambda p, of_m: jnp.stack([integral(model, p, f, of_m) for f in powers])
  given, blind = np.asarray(jax.jit(lambda p: jnp.stack([moments(p, True), moments(p, False)]))(params))
  mean = given[1] / given[0]
  rows = jax.tree.map(lambda a: jnp.broadcast_to(a, (150, 2)), batch)
  return (
    model,
    params,
    rows,
    rng.row_keys(KEY, jnp.arange(150)),
    (mean, given[2] / given[0] - mean**2),
    blind[1] / blind[0],
  )


@pytest.mark.parametrize("name", [slow(n, ("self_masking_known",)) for n in ("self_masking_known", "nonlinear")])
def test_imputation_weighs_by_the_missing_process(name):
  """E and Var of x_2 given x_1 and m agree with quadrature, and differ from those given x_1 alone."""
  model, params, rows, keys, (mean, variance), blind = observed_and_moments(name)
  found = jax.jit(lambda: imputation.single(model.bind({"params": params}), keys, rows, 2000))()
  x = np.asarray(found.x[:, 1], np.float64)
  error = x.std() / np.sqrt(len(x))
  assert abs(x.mean() - mean) < 5 * error + 1e-3 * abs(mean)
  assert abs(blind - mean) > 20 * error
  np.testing.assert_allclose(np.mean(found.variance[:, 1]), variance, rtol=0.03)


@pytest.mark.slow
def test_multiple_imputation_weighs_by_the_missing_process():
  model, params, rows, keys, (mean, variance), _ = observed_and_moments("nonlinear")
  draws = jax.jit(lambda: imputation.multiple(model.bind({"params": params}), keys, rows, 20, 500))().x[..., 1]
  assert abs(np.mean(draws) - mean) < 5 * np.std(np.mean(draws, 0)) / np.sqrt(150) + 0.01
  np.testing.assert_allclose(np.var(draws), variance, rtol=0.15)


@pytest.mark.slow
def test_held_out_entries_keep_the_missing_process_of_the_data():
  """p(x_2 | x_1, m) = p(x_1, x_2, m) / p(x_1, m), m_2 = 0 in both."""
  model, params, batch = mnar()
  truth = {"x": jnp.array([[0.4, 1.1]]), "mask": batch["mask"]}
  n = 100
  many = jax.tree.map(lambda a: jnp.broadcast_to(a, (n, 2)), truth)
  ask = lambda: imputation.conditional_log_prob(
    model.bind({"params": params}), rng.row_keys(KEY, jnp.arange(n)), many, 1 - many["mask"], 3000
  )
  found = np.asarray(jax.jit(ask)(), np.float64)
  bound = model.bind({"params": params})
  mean, scale = bound.decode(NODES[:, None].astype(jnp.float32)).mean(), jnp.exp(params["px_z"]["log_scale"])
  density = jnp.sum(WEIGHTS * jnp.prod(jax.scipy.stats.norm.pdf(truth["x"], mean, scale), 1))
  logits = bound.pm_x(truth["x"])[0]
  both = density * jax.nn.sigmoid(logits[0]) * jax.nn.sigmoid(-logits[1])
  assert abs(found.mean() - np.log(both / integral(model, params))) < 5 * found.std() / np.sqrt(n) + 1e-3


def test_simulate_draws_masks_from_the_missing_process():
  model, params, _ = mnar()
  batch, (z, keys) = jax.jit(lambda: model.bind({"params": params}).simulate(KEY, 20_000))()
  p = 1 / (1 + np.exp(-np.asarray(model.bind({"params": params}).pm_x(batch["x"]), np.float64)))
  error = np.sqrt((p * (1 - p)).mean(0) / 20_000)
  np.testing.assert_array_less(abs(np.mean(batch["mask"] - p, 0)), 5 * error)
  x = model.bind({"params": params}).given((z, keys)).mean()
  np.testing.assert_allclose(x, batch["x"], rtol=1e-5, atol=1e-6)  # the latents determine the draw
  with pytest.raises(errors.UserError, match="these are z alone"):
    model.apply({"params": params}, batch, z, method="log_joint")


def _linear():
  """(a bound model with a linear decoder, W [D, L], b [D], s): z ~ N(0, I), x | z ~ N(W z + b, s^2 I)."""
  model = vae.Model(
    data_shape=(4,),
    latent_dim=2,
    hidden=(8,),
    likelihood="gaussian_fixed",
    likelihood_args=FrozenDict(scale=0.6),
    net_args=FrozenDict(decoder_hidden=()),
  )
  x = jnp.zeros((2, 4))
  params = jax.jit(model.init)(jax.random.key(3), {"x": x, "mask": x})
  bound = model.bind(params)
  b = np.asarray(bound.decode(jnp.zeros((1, 2))).mean())[0]
  return bound, np.asarray(bound.decode(jnp.eye(2)).mean() - b).T, b, 0.6


def test_the_bound_with_entries_hidden_from_the_encoder_stays_below_log_p_of_the_observed_ones():
  """E[w] = p(x_observed) whatever the encoder was shown, so that E[log mean w] <= log p, by Jensen; in closed form."""
  bound, w, b, s = _linear()
  x, mask = np.array([1.0, -0.5, 2.0, 0.3], np.float32), np.array([1, 1, 0, 1], np.float32)
  seen = mask > 0
  log_p = scipy.stats.multivariate_normal(b[seen], (w @ w.T + s**2 * np.eye(4))[np.ix_(seen, seen)]).logpdf(x[seen])
  n = 40_000
  shown = (np.random.default_rng(0).random((n, 4)) > 0.4).astype(np.float32)
  batch = {"x": np.tile(x, (n, 1)), "mask": np.tile(mask, (n, 1)), "shown": shown}
  z, log_q = bound.infer(batch).sample_and_log_prob(seed=jax.random.key(1))
  log_w = np.asarray(sum(bound.log_joint(batch, z)) - log_q, np.float64)
  ratio = np.exp(log_w - log_p)
  assert abs(ratio.mean() - 1) < 4 * ratio.std() / n**0.5
  for k in (1, 8):
    bounds = scipy.special.logsumexp(log_w.reshape(-1, k), 1) - np.log(k)
    assert bounds.mean() < log_p - 3 * bounds.std() / len(bounds) ** 0.5
  assert bounds.mean() > log_w.mean()


def test_the_bound_equals_log_p_where_the_proposal_is_the_exact_posterior():
  """q = p(z | x_observed): every weight is p(x_observed), also where the encoder itself was shown less."""
  bound, w, b, s = _linear()
  x, mask = np.array([1.0, -0.5, 2.0, 0.3], np.float32), np.array([1, 1, 0, 1], np.float32)
  seen = mask > 0
  covariance = np.linalg.inv(np.eye(2) + w[seen].T @ w[seen] / s**2)
  exact = scipy.stats.multivariate_normal(covariance @ w[seen].T @ (x - b)[seen] / s**2, covariance)
  z = exact.rvs(50, random_state=0).astype(np.float32)
  batch = {"x": np.tile(x, (50, 1)), "mask": np.tile(mask, (50, 1)), "shown": np.zeros((50, 4), np.float32)}
  log_w = np.asarray(sum(bound.log_joint(batch, z))) - exact.logpdf(z)
  log_p = scipy.stats.multivariate_normal(b[seen], (w @ w.T + s**2 * np.eye(4))[np.ix_(seen, seen)]).logpdf(x[seen])
  np.testing.assert_allclose(log_w, log_p, atol=1e-4)


def test_the_encoder_does_not_see_what_it_is_not_shown():
  bound, *_ = _linear()
  x, mask, shown = jnp.ones((1, 4)), jnp.ones((1, 4)), jnp.array([[1.0, 0.0, 1.0, 1.0]])
  of = lambda x, **more: np.asarray(bound.encoder_outputs({"x": x, **more}))
  spoilt = x.at[0, 1].set(jnp.nan)
  np.testing.assert_array_equal(of(x, mask=mask, shown=shown), of(spoilt, mask=mask, shown=shown))
  np.testing.assert_array_equal(of(x, mask=shown), of(spoilt, mask=mask, shown=shown))
  assert not np.array_equal(of(x, mask=mask), of(x, mask=mask, shown=shown))

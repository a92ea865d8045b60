"""Regression and classification against closed forms, scikit-learn's optima, and distributions of draws."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from flax import linen as nn
from sklearn.linear_model import LogisticRegression

from dgm_jax.core import config_args, errors
from dgm_jax.distributions import weights
from dgm_jax.inference import predictions
from dgm_jax.models.mixtures import bernoulli_product
from dgm_jax.models.supervised import predictor
from dgm_jax.networks.mlp import MLP
from dgm_jax.principles import supervised
from dgm_jax.training import build, programs
from helpers import tables

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
N, D, SCALE = 60, 3, 0.7
X = (RNG.normal(size=(N, D)) @ [[1.0, 0.8, 0.0], [0.0, 0.6, 0.3], [0.0, 0.0, 1.0]]).astype("f")
Y = (X @ [0.8, -0.3, 1.1] + 0.4 + SCALE * RNG.normal(size=N)).astype("f")
DATA = {"x": X, "y": Y, "index": np.arange(N, dtype=np.int32)}
LINEAR = {"hidden": (), "likelihood": "gaussian_fixed", "likelihood_args": {"scale": SCALE}}
A = np.hstack([X, np.ones((N, 1))]).astype(np.float64)  # with a column of ones for the bias


def linear(**options):
  return predictor.Model((D,), **(LINEAR | options))


def train(system, data, num_steps, seed=0):
  """The state after full-batch steps."""
  chunk = jax.jit(programs.make_train_chunk(system, tables.identity, len(data["x"]), num_steps))
  return chunk(jax.jit(system.init)(KEY, data, {}), jax.random.key(seed), data)


def adam(rate, num_steps, l2=0.0):
  schedule = optax.cosine_decay_schedule(rate, num_steps)
  return optax.chain(optax.add_decayed_weights(l2), optax.adam(schedule))


def coefficients(tree):
  """[weights, bias], [D + 1, T], of a linear net."""
  layer = tree["Dense_0"]
  return np.vstack([np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)])


def over_keys(model, variables, batch, method, n, seed=1):
  """Results of `method` at n keys, with a leading axis [n, ...]."""
  keys = jax.random.split(jax.random.key(seed), n)
  return jax.jit(jax.vmap(lambda key: model.apply(variables, key, batch, method=method)))(keys)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_map_of_a_linear_gaussian_model_equals_ridge_regression(alpha):
  """w = (A'A + alpha I)^-1 A'y for l2 = alpha / (N s^2): the prior N(0, s^2 / alpha I)."""
  system = supervised.make(linear(), adam(0.1, 1500, alpha / (N * SCALE**2)), N)
  state, _ = train(system, DATA, 1500)
  expected = np.linalg.solve(A.T @ A + alpha * np.eye(D + 1), A.T @ Y)
  np.testing.assert_allclose(coefficients(state.params["net"])[:, 0], expected, atol=2e-4)


def test_a_learned_scale_equals_the_residuals_deviation():
  system = supervised.make(linear(likelihood="gaussian_shared", likelihood_args={}), adam(0.1, 1500), N)
  state, _ = train(system, DATA, 1500)
  residuals = Y - A @ np.linalg.lstsq(A, Y, rcond=None)[0]
  assert np.exp(state.params["py_x"]["log_scale"]) == pytest.approx(residuals.std(), rel=1e-3)


@pytest.mark.parametrize("name,classes", [("bernoulli", 2), ("categorical", 3)])
def test_a_linear_classifier_reaches_the_optimum_of_scikit_learn(name, classes):
  """Biases are not penalised by either: only parameters of 2 dimensions decay, as for config.optim.weight_decay."""
  y = np.clip(np.digitize(Y, [-1.0, 1.5][: classes - 1]), 0, classes - 1).astype(np.int32)
  data, c = DATA | {"y": y}, 2.0
  args = {"num_classes": 3} if name == "categorical" else {}
  kernels = lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)
  tx = optax.chain(optax.add_decayed_weights(1 / (c * N), kernels), optax.adam(optax.cosine_decay_schedule(0.1, 2000)))
  system = supervised.make(linear(likelihood=name, likelihood_args=args), tx, N)
  state, _ = train(system, data, 2000)
  theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(X, y)
  ours = predictions.predictive(linear(likelihood=name, likelihood_args=args), {"params": state.params}, KEY, data, 1)
  np.testing.assert_allclose(ours["probs"], theirs.predict_proba(X), atol=2e-4)


def evidence(prior_scale):
  """log p(y_1..N) of the linear model with w ~ N(0, prior_scale^2 I)."""
  covariance = SCALE**2 * np.eye(N) + prior_scale**2 * A @ A.T
  return scipy.stats.multivariate_normal(np.zeros(N), covariance).logpdf(Y)


def test_bayes_by_backprop_finds_the_factorised_optimum_and_bounds_the_evidence():
  """The factorised normal nearest to a posterior N(m, P^-1) has mean m and variances 1 / P_ii."""
  prior = 1.5
  model = linear(weights="normal", prior_scales=(prior,), initial_scale=0.1)
  system = supervised.make(model, adam(0.05, 1500), N, num_samples=32)
  state, _ = train(system, DATA, 1500)
  precision = A.T @ A / SCALE**2 + np.eye(D + 1) / prior**2
  mean = np.linalg.solve(precision, A.T @ Y / SCALE**2)
  scale = np.logaddexp(0, coefficients(state.params["rho"])[:, 0])
  best = 1 / np.sqrt(np.diag(precision))
  np.testing.assert_allclose(scale, best, rtol=0.03)
  np.testing.assert_array_less(abs(coefficients(state.params["net"])[:, 0] - mean), 0.1 * best)
  # E_q[log p(y|w)] and KL in closed form, which the model estimates by draws
  found = {"params": state.params}
  log_py = np.asarray(over_keys(model, found, DATA, "log_prob", 4000), np.float64).sum(1)
  kl = float(model.apply(found, KEY, method="kl"))
  m, s = coefficients(state.params["net"])[:, 0], scale
  square = ((Y - A @ m) ** 2).sum() + ((A**2) @ s**2).sum()
  exact = -0.5 * square / SCALE**2 - N * np.log(SCALE * np.sqrt(2 * np.pi))
  assert abs(log_py.mean() - exact) < 4 * log_py.std() / np.sqrt(len(log_py))
  assert kl == pytest.approx((np.log(prior / s) + 0.5 * ((s**2 + m**2) / prior**2 - 1)).sum(), rel=1e-4)
  gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])  # KL(q || posterior) at the optimum
  assert gap > 0.3
  assert exact - kl < evidence(prior)
  assert exact - kl == pytest.approx(evidence(prior) - gap, abs=0.02)


def test_the_objective_is_the_mean_likelihood_minus_the_kl_over_n():
  model = linear(weights="normal", prior_scales=(1.0, 0.1), prior_share=0.25)
  batch = {k: v[:8] for k, v in DATA.items()}
  variables = model.init(KEY, batch)
  for weight in (1.0, 0.3):
    system = supervised.make(model, optax.sgd(0.0), N, num_samples=2)
    state = jax.jit(system.init)(KEY, batch, {"objective.kl_weight": jnp.float32(weight)})
    _, metrics = jax.jit(system.train_step)(state.replace(params=variables["params"]), KEY, batch)
    keys = jax.random.split(KEY, 2)
    log_py = np.mean([model.apply(variables, key, batch, method="log_prob") for key in keys])
    kl = np.mean([model.apply(variables, key, method="kl") for key in keys])
    assert float(metrics["loss"]) == pytest.approx(weight * kl / N - log_py, rel=1e-5)


def test_the_kl_to_a_mixture_prior_is_unbiased_and_uses_the_predicting_weights():
  """E_q[log q - log p] of one weight by quadrature; the KL is evaluated at the draw that predicts."""
  loc, rho = {"w": jnp.full((1,), 0.3)}, {"w": jnp.full((1,), weights.rho_of(0.2))}
  keys = jax.random.split(KEY, 20_000)
  kl = lambda key: weights.kl(weights.draw(key, loc, rho), loc, rho, (1.0, 0.05), 0.25)
  found = np.asarray(jax.jit(jax.vmap(kl))(keys), np.float64)
  w = np.linspace(-1.5, 2.1, 20_001)
  q = scipy.stats.norm(0.3, 0.2)
  log_p = np.log(0.25 * scipy.stats.norm(0, 1).pdf(w) + 0.75 * scipy.stats.norm(0, 0.05).pdf(w))
  expected = np.trapezoid(q.pdf(w) * (q.logpdf(w) - log_p), w)
  assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(len(found))
  single = lambda key: weights.draw(key, loc, rho)["w"][0]
  assert scipy.stats.kstest(np.asarray(jax.vmap(single)(keys[:4000])), q.cdf).pvalue > 1e-3
  model = linear(weights="normal", prior_scales=(1.0, 0.1))
  variables = model.init(KEY, DATA)
  w = coefficients(model.apply(variables, jax.random.split(KEY)[0], method="draw_weights"))
  mean = np.asarray(model.apply(variables, KEY, DATA, method="predict").mean())
  np.testing.assert_allclose(mean, A @ w, atol=1e-5)
  loc, rho = variables["params"]["net"], variables["params"]["rho"]
  tree = {"Dense_0": {"kernel": w[:-1], "bias": w[-1]}}
  at_w = weights.log_q(tree, loc, rho) - weights.log_prior(tree, (1.0, 0.1), 0.5)
  assert float(model.apply(variables, KEY, method="kl")) == pytest.approx(float(at_w), rel=1e-5)


def test_dropout_keeps_the_mean_and_drops_at_its_rate_before_every_layer():
  x = np.ones((4000, 5), "f")
  first = MLP((50,), dropout=0.3)
  variables = first.init(KEY, x)
  h = first.apply(variables, x, rngs={"dropout": KEY})
  error = np.asarray(h, np.float64).std(0) / np.sqrt(len(x))
  np.testing.assert_array_less(abs(np.mean(h, 0) - first.apply(variables, x)[0]), 4.5 * error)
  one = MLP((1,), kernel_init=nn.initializers.ones, dropout=0.3)
  kept = one.apply(one.init(KEY, x), x, rngs={"dropout": KEY})[:, 0] * 0.7
  counts = np.bincount(np.rint(kept).astype(int), minlength=6) / len(x)
  expected = scipy.stats.binom(5, 0.7).pmf(np.arange(6))
  np.testing.assert_array_less(abs(counts - expected), 4.5 * np.sqrt(expected * (1 - expected) / len(x)))
  deep = MLP((3, 1), lambda h: h, kernel_init=nn.initializers.ones, dropout=0.5)
  variance = np.var(deep.apply(deep.init(KEY, x[:, :1]), x[:, :1], rngs={"dropout": KEY}))
  assert variance == pytest.approx(2 * (9 + 3) - 9, rel=0.15)  # E[m^2] (9 + 3) - 3^2, E[m^2] = 2


def test_dropout_differs_by_example_and_is_off_without_a_key():
  model = predictor.Model((D,), hidden=(20,), dropout=0.5)
  same = {"x": np.tile(X[:1], (50, 1)), "y": Y[:50]}
  variables = model.init(KEY, same)
  draws = np.asarray(over_keys(model, variables, same, "summary", 2)["mean"])[..., 0]
  assert len(np.unique(draws[0])) > 20
  assert (draws[0] != draws[1]).mean() > 0.9
  kept = predictor.Model((D,), hidden=(20,))
  assert len(np.unique(kept.apply(variables, KEY, same, method="summary")["mean"])) == 1


def test_the_predictive_distribution_averages_probabilities_not_logs():
  model = predictor.Model((D,), hidden=(20,), dropout=0.5, likelihood="gaussian")
  variables = model.init(KEY, DATA)
  found = jax.jit(lambda key: predictions.predictive(model, variables, key, DATA, 40))(KEY)
  draw = jax.jit(lambda key: model.apply(variables, key, DATA, method="summary"))
  draws = [draw(key) for key in jax.random.split(KEY, 40)]
  log_py = np.stack([d["log_py"] for d in draws]).astype(np.float64)
  np.testing.assert_allclose(found["log_py"], scipy.special.logsumexp(log_py, 0) - np.log(40), rtol=1e-4)
  mean, variance = (np.stack([d[name] for d in draws]).astype(np.float64) for name in ("mean", "variance"))
  np.testing.assert_allclose(found["mean"], mean.mean(0), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(found["variance"], variance.mean(0) + mean.var(0), rtol=1e-4)
  assert (np.asarray(found["log_py"]) >= log_py.mean(0) - 1e-5).all()  # Jensen


def test_predictions_are_reported_in_the_original_units():
  """log p(y) = log p(y') - log s, and errors are scaled by s."""
  model, loc, scale = linear(), np.float32(30.0), np.float32(12.0)
  variables = model.init(KEY, DATA)
  plain = predictions.predictive(model, variables, KEY, DATA, 1)
  units = DATA | {"y_loc": np.full(N, loc), "y_scale": np.full(N, scale)}
  original = predictions.predictive(model, variables, KEY, units, 1)
  y = predictions.targets(model, units)
  np.testing.assert_allclose(y[:, 0], loc + scale * Y, rtol=1e-6)
  expected = scipy.stats.norm.logpdf(np.asarray(y), original["mean"], np.sqrt(original["variance"]))[:, 0]
  np.testing.assert_allclose(original["log_py"], expected, rtol=1e-4)
  errors_of = lambda p, y: np.asarray(predictions.of_examples(p, y)["square_error"])
  np.testing.assert_allclose(errors_of(original, y), scale**2 * errors_of(plain, Y[:, None]), rtol=1e-3)


@pytest.mark.parametrize("options,sentence", [
  ({"dropout": 1.0}, "dropout = 1.0"),
  ({"weights": "nomal"}, "weights = 'nomal'; it must be one of point, normal"),
  ({"prior_scales": (1.0, 0.1, 0.01)}, "one scale or two"),
  ({"prior_scales": (0.0,)}, "prior_scales and initial_scale must be positive"),
  ({"hidden": (0,)}, "hidden = \\(0,\\)"),
  ({"dropout": 0.1, "remat": True}, "remat must be False"),
  ({"num_targets": 2}, "num_targets = 2, but y of the data has 1 entries"),
  ({"likelihood": "categorical", "likelihood_args": {"num_classes": 3}, "num_targets": 2}, "needs num_targets = 1"),
  ({"net": "conv"}, "the shape of x must be \\[H, W, C\\]"),
  ({"net": "set"}, "net = 'set'"),
])  # fmt: skip
def test_invalid_model_options_raise(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    predictor.Model((D,), **options).init(KEY, DATA)


@pytest.mark.parametrize("options,sentence", [
  ({"num_sample": 3}, "Did you mean 'num_samples'"),
  ({"eval_samples": 0}, "objective.eval_samples = 0"),
  ({"kl_weight": -1.0}, "objective.kl_weight = -1.0"),
])  # fmt: skip
def test_invalid_objective_options_raise(options, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    supervised.make(linear(), optax.adam(1e-3), N, **options)
  with pytest.raises(errors.UserError, match="bernoulli_product"):
    supervised.make(bernoulli_product.Model((D,)), optax.adam(1e-3), N)


def classifier(**changes):
  """The config of a small classifier of digits with `changes`."""
  config = config_args.load(str(tables.ROOT / "configs" / "classifier_mnist.py") + ":test").unlock()
  config.update_from_flattened_dict(changes)
  return config


@pytest.mark.parametrize("changes,sentence", [
  ({"model.args.likelihood_args.num_classes": 7},
   r"'categorical' expects class labels in \[0, 6\]; y of train of 'mnist5k' is int32 in \[0, 9\]"),
  ({"model.args.likelihood": "bernoulli", "model.args.likelihood_args": {}},
   r"'bernoulli' expects class labels in \[0, 1\]"),
  ({"data": build.data_section("noise")}, "'noise' has no y"),
  ({"data": build.data_section("cubic", ("standardize_targets",))},
   "transform 'standardize_targets' maps y out of that range"),
  ({"evaluate.importance_sampling": {"num_samples": 1}}, "evaluate.importance_sampling needs a model with infer"),
])  # fmt: skip
def test_targets_outside_the_likelihoods_support_raise(changes, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    build.build(classifier(**changes))

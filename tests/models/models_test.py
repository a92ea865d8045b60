"""Densities of the models against closed forms, scipy and an independent NumPy evaluator."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn

from dgm_jax.distributions import factorised, normals
from dgm_jax.distributions.chain import Chain
from dgm_jax.evaluate import active_units
from dgm_jax.inference import estimators, log_terms
from dgm_jax.models.vae import dlgm, vae
from dgm_jax.networks import mlp
from dgm_jax.training import programs
from helpers import numpy_evaluator, tables


def test_bernoulli_agrees_with_scipy_and_distrax():
  rng = np.random.default_rng(0)
  logits, x = rng.normal(0, 3, (6, 5)).astype("f"), rng.integers(0, 2, (6, 5)).astype("f")
  expected = scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits.astype(np.float64))).sum(-1)
  d = factorised.bernoulli(logits)
  np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-5)
  np.testing.assert_allclose(d.log_prob(x), distrax.Bernoulli(logits=logits).log_prob(x).sum(-1), rtol=1e-5)
  np.testing.assert_allclose(d.mean(), scipy.special.expit(logits), rtol=1e-5)


def test_diagonal_normal_agrees_with_scipy():
  rng = np.random.default_rng(0)
  params, z = rng.normal(size=(4, 6)).astype("f"), rng.normal(size=(4, 3)).astype("f")
  expected = scipy.stats.norm.logpdf(z, params[:, :3], np.exp(params[:, 3:])).sum(-1)
  np.testing.assert_allclose(normals.diagonal_normal(params).log_prob(z), expected, rtol=1e-5)


def _chain():
  """z1 ~ N(1, 1), z2 | z1 ~ N(2 z1, 0.5^2): jointly normal."""
  one = jnp.ones((1, 1))
  return Chain(distrax.MultivariateNormalDiag(one, one), lambda z: distrax.MultivariateNormalDiag(2 * z, 0.5 * one))


def test_chain_agrees_with_the_joint_normal():
  joint = scipy.stats.multivariate_normal([1, 2], [[1, 2], [2, 4.25]])
  chain = _chain()
  (z1, z2), log_prob = jax.vmap(lambda k: chain.sample_and_log_prob(seed=k))(jax.random.split(jax.random.key(0), 9))
  expected = joint.logpdf(np.stack([z1, z2], -1).reshape(9, 2))
  np.testing.assert_allclose(log_prob[:, 0], expected, rtol=1e-4)
  np.testing.assert_allclose(jax.vmap(lambda a, b: chain.log_prob((a, b)))(z1, z2), log_prob, rtol=1e-4)


def test_chain_conditional_means_are_unbiased():
  keys = jax.random.split(jax.random.key(0), 4000)
  m1, m2 = jax.vmap(lambda k: _chain().conditional_means(seed=k))(keys)
  np.testing.assert_allclose(m1, 1.0)
  assert abs(m2.mean() - 2.0) < 4 * m2.std() / np.sqrt(len(keys))


def test_output_bias_starts_at_the_logit_of_the_mean():
  mean = tuple(np.linspace(0, 1, 24))
  model = vae.Model(tables.SHAPE, mean, latent_dim=4, hidden=(32,))
  bias = model.init(jax.random.key(0), tables.TRAIN)["params"]["decoder"]["Dense_1"]["bias"]
  np.testing.assert_allclose(jax.nn.sigmoid(bias), np.clip(mean, 1e-3, 1 - 1e-3), rtol=1e-4)


class LinearGaussian(nn.Module):
  """p(z) = N(0, I), p(x|z) = N(W z, s^2 I), q(z|x) = the exact posterior if `exact`, otherwise a wider normal."""

  exact: bool
  s: float = 0.5

  def setup(self):
    self.w = self.param("w", nn.initializers.normal(1.0), (3, 2))

  def infer(self, batch):
    precision = jnp.eye(2) + self.w.T @ self.w / self.s**2
    covariance = jnp.linalg.inv(precision) * (1.0 if self.exact else 1.5)
    loc = batch["x"] @ self.w / self.s**2 @ jnp.linalg.inv(precision)
    return distrax.MultivariateNormalFullCovariance(loc, covariance)

  def log_joint(self, batch, z):
    p = distrax.MultivariateNormalDiag(z @ self.w.T, jnp.full(3, self.s))
    return p.log_prob(batch["x"]), normals.standard_normal(2).log_prob(z)

  def __call__(self, batch):
    return self.log_joint(batch, self.infer(batch).mean())


@pytest.mark.parametrize("exact", [True, False])
def test_latent_principle_on_the_linear_gaussian_model(exact):
  """log p(x) = log N(x; 0, W W' + s^2 I): the IWAE bound converges to it, and ELBO = log p(x) - KL."""
  model = LinearGaussian(exact)
  batch = {"x": np.random.default_rng(0).normal(size=(5, 3)).astype("f")}
  variables = model.init(jax.random.key(1), batch)
  w = np.asarray(variables["params"]["w"], np.float64)
  log_px = scipy.stats.multivariate_normal(np.zeros(3), w @ w.T + model.s**2 * np.eye(3)).logpdf(batch["x"])
  log_w = log_terms.log_terms(model, variables, jax.random.key(2), batch, 4000, chunk=500).w
  if exact:
    np.testing.assert_allclose(log_w, np.broadcast_to(log_px, log_w.shape), atol=1e-4)
  else:
    kl = 0.5 * 2 * (1.5 - 1 - np.log(1.5))  # KL(N(m, 1.5 C) || N(m, C)) in 2 dimensions
    error = log_w.std(0) / np.sqrt(4000)
    np.testing.assert_array_less(abs(estimators.elbo(log_w) - (log_px - kl)), 4.5 * error)
    np.testing.assert_allclose(estimators.iwae(log_w), log_px, atol=0.03)


def test_one_layer_dlgm_equals_the_vae():
  v = vae.Model(tables.SHAPE, latent_dim=4, hidden=(32, 16))
  d = dlgm.Model(tables.SHAPE, latent_dims=(4,), hidden=((32, 16),))
  params = v.init(jax.random.key(0), tables.TEST)["params"]
  same = {"params": {"encoders_0": params["encoder"], "decoder": params["decoder"]}}
  z = jax.random.normal(jax.random.key(1), (101, 4))
  for a, b in zip(
    v.apply({"params": params}, tables.TEST, z, method="log_joint"),
    d.apply(same, tables.TEST, (z,), method="log_joint"),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-6)
  q_v, q_d = v.bind({"params": params}).infer(tables.TEST), d.bind(same).infer(tables.TEST)
  np.testing.assert_allclose(q_v.log_prob(z), q_d.log_prob((z,)), rtol=1e-6)


def test_two_layer_dlgm_integrates_to_one():
  """sum over all x of p(x) = 1, with p(x) by importance sampling, on 3 binary pixels."""
  model = dlgm.Model((3,), latent_dims=(2, 2), hidden=((8,), (8,)))
  x = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(-1, 3).astype("f")
  variables = jax.tree.map(lambda a: 0.6 * a, model.init(jax.random.key(0), {"x": x}))  # q near p: stable weights
  log_w = log_terms.log_terms(model, variables, jax.random.key(1), {"x": x}, 50_000).w
  w = np.exp(np.asarray(log_w, np.float64))
  total, error = w.mean(0).sum(), np.sqrt((w.var(0) / len(w)).sum())
  assert error < 0.02
  assert abs(total - 1) < 4 * error


@pytest.mark.parametrize("name", ["vae", "dlgm"])
def test_log_px_agrees_with_the_numpy_evaluator(name):
  """Both estimate log p(x) by importance sampling with different noise: means agree within 4 standard errors."""
  model = {
    "vae": vae.Model(tables.SHAPE, latent_dim=4, hidden=(32,)),
    "dlgm": dlgm.Model(tables.SHAPE, latent_dims=(6, 3), hidden=((32,), (16,))),
  }[name]
  system = tables.SYSTEMS[name if name == "dlgm" else "iwae"]()
  state = tables.init(system)
  chunk = jax.jit(programs.make_train_chunk(system, tables.identity, 64, 200))
  state, _ = chunk(state, jax.random.key(0), tables.TRAIN)
  variables = {"params": state.params}
  log_w = log_terms.log_terms(model, variables, jax.random.key(3), tables.TEST, 2000, 500).w
  ours = np.asarray(estimators.iwae(log_w), np.float64)
  params = jax.device_get(state.params)
  theirs = numpy_evaluator.log_px(params, tables.TEST["x"].reshape(101, -1), 2000, seed=0)
  # standard error of each image's estimate, the log of a mean of weights, by the delta method
  w = np.exp(np.asarray(log_w - log_w.max(0), np.float64))
  error = np.sqrt(2 * (w.var(0) / w.mean(0) ** 2 / len(w)).sum()) / 101
  assert error < 0.05
  assert abs(ours.mean() - theirs.mean()) < 4 * error


def test_active_units_counts_units_with_varying_means():
  """Three units whose means vary over x with variances 1, 0.02 and 0.005: two exceed 0.01."""
  x = np.random.default_rng(0).normal(size=(4000, 3)).astype("f")
  q = distrax.MultivariateNormalDiag(x * np.sqrt([1.0, 0.02, 0.005]), jnp.ones((4000, 3)))
  ((m, v),) = active_units.activities(q, jax.random.key(0), 8)
  np.testing.assert_array_equal((np.var(m, 0) - np.mean(v, 0)) > 0.01, [True, True, False])


def test_activity_of_a_deeper_layer_is_free_of_sampling_noise():
  """E[z2|x] = E[z1|x] = 0 for every x, though E[z2|z1] = z1 varies: sampling noise must not make the unit active."""
  zero, one = jnp.zeros((5000, 1)), jnp.ones((5000, 1))
  q = Chain(distrax.MultivariateNormalDiag(zero, one), lambda z: distrax.MultivariateNormalDiag(z, one))
  _, (m, v) = active_units.activities(q, jax.random.key(0), 8)
  assert np.var(m) > 0.1  # the variance without the correction
  assert abs(np.var(m) - np.mean(v)) < 0.01


def test_mlp_is_glorot_with_linear_output():
  params = mlp.MLP((300, 5)).init(jax.random.key(0), jnp.zeros((1, 200)))["params"]
  kernel = params["Dense_0"]["kernel"]
  assert kernel.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
  assert abs(kernel).max() <= np.sqrt(6 / 500)
  params["Dense_1"]["kernel"] *= 100
  y = mlp.MLP((300, 5)).apply({"params": params}, jnp.ones((1, 200)))
  assert abs(y).max() > 1.5  # tanh would have bounded it by 1


def test_init_scale_draws_all_parameters_from_one_normal():
  """Including biases and the decoder's output bias, although the data's mean is known."""
  model = vae.Model((300,), data_mean=(0.9,) * 300, latent_dim=200, hidden=(400,), net_args={"init_scale": 0.1})
  params = jax.jit(model.init)(jax.random.key(0), {"x": jnp.zeros((2, 300))})["params"]
  leaves = jax.tree.leaves(params)
  assert len(leaves) == 8
  for leaf in leaves:
    assert leaf.std() == pytest.approx(0.1, rel=5 / np.sqrt(2 * leaf.size))
    assert abs(leaf.mean()) < 0.5 / np.sqrt(leaf.size)


@pytest.mark.parametrize(
  "likelihood,net",
  [
    ("bernoulli", "conv"),
    pytest.param("categorical", "residual", marks=pytest.mark.slow),
    pytest.param("bernoulli", "residual", marks=pytest.mark.slow),
    pytest.param("categorical", "conv", marks=pytest.mark.slow),
  ],
)
def test_convolutional_vae_keeps_pixels_in_place(net, likelihood):
  """q(z|x) ignores masked pixels, p(x|z) is that of the observed ones, and flattening keeps the order of pixels."""
  args = {"likelihood_args": {"num_classes": 2}} if likelihood == "categorical" else {}
  model = vae.Model(
    tables.SHAPE, latent_dim=4, hidden=(8,), likelihood=likelihood, net=net, net_args={"channels": (4, 8)}, **args
  )
  x = tables.TEST["x"][:3]
  mask = np.ones_like(x)
  mask[:, 1, 2] = 0
  variables = jax.jit(model.init)(jax.random.key(0), {"x": x})
  bound, z = model.bind(variables), jax.random.normal(jax.random.key(1), (3, 4))
  flipped = np.where(mask > 0, x, 1 - x)
  seen, other = ({"x": value, "mask": mask} for value in (x, flipped))
  np.testing.assert_array_equal(bound.infer(seen).log_prob(z), bound.infer(other).log_prob(z))
  assert abs(bound.infer({"x": x}).log_prob(z) - bound.infer({"x": flipped}).log_prob(z)).max() > 1e-4
  p = np.asarray(bound.reconstruct(z), np.float64)
  expected = np.where(x > 0, np.log(p), np.log1p(-p))
  np.testing.assert_allclose(bound.log_joint({"x": x}, z)[0], expected.sum((1, 2, 3)), rtol=1e-5)
  np.testing.assert_allclose(bound.log_joint(seen, z)[0], (mask * expected).sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("net", ["conv", "residual"])
def test_convolutional_output_bias_starts_at_the_logit_of_the_mean(net):
  mean = tuple(np.linspace(0, 1, 24))
  model = vae.Model(tables.SHAPE, mean, latent_dim=4, net=net, net_args={"channels": (4,)})
  bias = jax.jit(model.init)(jax.random.key(0), tables.TRAIN)["params"]["decoder"]["bias"]
  np.testing.assert_allclose(jax.nn.sigmoid(bias), np.clip(mean, 1e-3, 1 - 1e-3), rtol=1e-4)

"""Discrete-time diffusion: variances of ancestral and DDIM steps, guidance, predictions, the U-Net."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.models.diffusion import diffusion

KEY = jax.random.key(0)


class OfZero(diffusion.Model):
  """Predicts the noise of x_0 = 0, exactly."""

  def predict_noise(self, x_t, t, context=None, weight=1.0):
    return x_t / jnp.sqrt(self.one_minus_a[t - 1])[:, None]


def after_one_step(n=200_000, **options):
  """(the model, x_1 from x_2 = 0.7, n draws, float64)."""
  model = OfZero((1,), num_steps=2, **options).bind({})
  assert model.beta.shape == (2,)  # what setup makes is made outside of the compiled function
  x, _ = jax.jit(lambda key: model._descend(key, jnp.full((n, 1), 0.7), 2))(KEY)
  return model, np.asarray(x, np.float64)


@pytest.mark.parametrize("kind", diffusion.VARIANCES)
def test_ancestral_steps_have_the_variance_of_beta_or_of_the_posterior(kind):
  model, x = after_one_step(ancestral_variance=kind)
  beta, a = np.asarray(model.beta, np.float64), np.asarray(model.a, np.float64)
  right = beta[1] if kind == "beta" else beta[1] * (1 - a[0]) / (1 - a[1])
  assert x.var() == pytest.approx(right, rel=4 * (2 / x.size) ** 0.5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_has_the_posterior_variance_at_eta_1_and_none_at_0(eta):
  model, x = after_one_step(sampler="ddim", eta=eta)
  beta, a = np.asarray(model.beta, np.float64), np.asarray(model.a, np.float64)
  posterior = beta[1] * (1 - a[0]) / (1 - a[1])
  assert x.var() == pytest.approx(eta**2 * posterior, rel=4 * (2 / x.size) ** 0.5, abs=1e-9)
  if eta == 1:  # and the mean of q(x_{t-1} | x_t, x_0 = 0)
    mean = np.sqrt(1 - beta[1]) * (1 - a[0]) / (1 - a[1]) * 0.7
    assert x.mean() == pytest.approx(mean, abs=4 * (posterior / x.size) ** 0.5)


def test_the_posterior_variance_is_that_of_the_bound_s_own_posterior():
  model = diffusion.Model((1,), num_steps=20, ancestral_variance="posterior").bind({})
  for t in (2, 7, 20):
    _, right = model.posterior(jnp.zeros((1, 1)), jnp.zeros((1, 1)), jnp.array([t]))
    np.testing.assert_allclose(model.step_variance(jnp.array(t)), right[0], rtol=1e-5)


def test_ddim_in_few_steps_has_the_moments_of_many():
  """x_0 is 0 in every draw of the exact model: from any number of steps."""
  for steps in (0, 5):
    model = OfZero((2,), num_steps=50, sampler="ddim", draw_steps=steps, schedule="cosine", decoder="gaussian")
    x = model.apply({}, KEY, 4, mean=True, method="generate")
    np.testing.assert_allclose(x, 0.5, atol=1e-3)


def test_guidance_of_the_noise_is_linear_from_without_to_with_the_class():
  model = diffusion.Model((3,), num_steps=10, hidden=(8,), time_dim=4, num_classes=2)
  x, c, t = np.random.default_rng(0).random((4, 3)).astype("f"), np.eye(2, dtype="f")[[0, 1, 1, 1]], jnp.full(4, 6)
  variables = jax.jit(model.init)(KEY, {"x": x, "context": c})
  noise = lambda c, w: np.asarray(model.apply(variables, x, t, c, w, method="predict_noise"))
  without, given = noise(0 * c, 1.0), noise(c, 1.0)
  np.testing.assert_allclose(noise(c, 0.0), without, atol=1e-6)
  np.testing.assert_allclose(noise(c, 2.5), without + 2.5 * (given - without), atol=1e-5)
  assert np.abs(given - without).max() > 0.01
  elbo = jax.jit(lambda c: model.apply(variables, KEY, {"x": x, "context": c}, method="evaluate")["elbo"])
  assert np.abs(elbo(c) - elbo(c[::-1])).max() > 1e-3


@pytest.mark.parametrize("prediction", diffusion.PREDICTIONS)
def test_every_prediction_gives_the_noise(prediction):
  model = diffusion.Model((3,), num_steps=100, hidden=(8,), time_dim=4, prediction=prediction)
  x = np.random.default_rng(0).random((4, 3)).astype("f")
  bound = model.bind(jax.jit(model.init)(KEY, {"x": x}))
  t, e = jnp.array([1, 14, 27, 60]), np.random.default_rng(1).normal(size=(4, 3)).astype("f")
  x_t, at = bound.diffuse(2 * x - 1, t, e), bound._at(t[:, None])
  noise = bound.predict_noise(x_t, t)
  data = (x_t - at.sigma * noise) / at.alpha
  of_net = {"noise": noise, "v": at.alpha * noise - at.sigma * data, "x": data}[prediction]
  from dgm_jax.networks import time_net

  given = time_net.sinusoids(t / 100, 4)
  np.testing.assert_allclose(bound.mlp_net(jnp.concatenate([x_t, given], -1)), of_net, atol=1e-3)


@pytest.mark.parametrize("options,named", [
  ({"sampler": "euler"}, "sampler = 'euler'; it must be one of ancestral, ddim"),
  ({"eta": 2.0}, "eta = 2.0; it must be between 0 and 1"),
  ({"draw_steps": 200}, "draw_steps = 200; it must be 0 to num_steps = 100"),
  ({"guidance": 3.0}, "guidance = 3.0 weighs predictions with and without the class, and this model has none"),
])  # fmt: skip
def test_options_that_cannot_be_are_named(options, named):
  with pytest.raises(errors.UserError, match=named):
    jax.eval_shape(diffusion.Model((3,), **options).init, KEY, {"x": np.zeros((2, 3), "f")})

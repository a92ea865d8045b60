"""log p of single examples: its value, kind and error, by every method, against closed forms."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

from dgm_jax.core import errors, system
from dgm_jax.data import pipeline
from dgm_jax.evaluate import scores
from dgm_jax.models.linear import factor_analysis

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
X = (3 + 2 * RNG.normal(size=(40, 2))).astype("f")


class Density(nn.Module):
  """x_d ~ N(0, 1)."""

  data_shape: tuple[int, ...] = (2,)

  def log_prob(self, batch):
    return jax.scipy.stats.norm.logpdf(batch["x"].reshape(len(batch["x"]), -1)).sum(1)

  def generate(self, key, n, mean=False):
    return jax.random.normal(key, (n, 2))


def experiment(model, names=("standardize",), x=X, eval_step=None):
  made = types.SimpleNamespace(eval_step=eval_step)
  return types.SimpleNamespace(model=model, system=made, transforms=pipeline.make(names, {"x": x}))


def score(made, x=X, params=None, **options):
  arrays = {"x": x, "index": np.arange(len(x), dtype=np.int32)}
  return scores.make(made, **options)(system.TrainState(0, params or {}, (), {}, {}), KEY, arrays, lambda n: None)


def test_a_density_is_exact_and_refers_to_x_before_the_transforms():
  found = score(experiment(Density()))
  assert (found.name, found.kind, found.method) == ("log_px", "exact", "density")
  np.testing.assert_allclose(found.log_p, stats.norm(X.mean(0), X.std(0)).logpdf(X).sum(1), rtol=1e-4)
  assert not found.error.any()


def test_a_model_with_a_density_and_an_encoder_is_scored_by_its_density():
  model = factor_analysis.Model((2,), latent_dim=1)
  params = model.init(jax.random.key(1), {"x": X})["params"]
  found = score(experiment(model, ()), params=params)
  np.testing.assert_allclose(found.log_p, model.bind({"params": params}).log_prob({"x": X}), rtol=1e-5)
  assert found.method == "density"


def test_the_error_of_several_draws_of_the_noise_is_their_spread():
  x = RNG.integers(0, 4, (300, 2)).astype(np.uint8)
  made = experiment(Density(), ("dequantize:levels=4",), x)
  one = score(made, x)
  assert one.kind == "bound" and np.isnan(one.error).all()
  few, many = score(made, x, num_draws=20), score(made, x, num_draws=4000)
  z = (few.log_p - many.log_p) / few.error
  assert 0.85 < float(jnp.std(z)) < 1.2
  assert abs(float(jnp.mean(z))) < 4 / 300**0.5 + 0.3  # the log of a mean is biased downwards
  cells = [stats.norm.cdf((x + 1) / 4) - stats.norm.cdf(x / 4)]  # x + u over 4 levels, u ~ U(0, 1)
  np.testing.assert_allclose(many.log_p, np.log(cells[0]).sum(1), atol=0.02)


def test_a_bound_is_the_mean_of_its_draws_with_their_error():
  noisy = lambda state, key, batch: {"elbo": batch["x"][:, 0] + 0.5 * jax.random.normal(key, batch["x"].shape[:1])}
  found = score(experiment(types.SimpleNamespace(), eval_step=noisy), num_samples=25, batch_size=7)
  right = (X[:, 0] - X[:, 0].mean()) / X[:, 0].std() - np.log(X.std(0)).sum()
  assert (found.kind, found.method) == ("bound", "bound")
  assert abs(float(jnp.mean(found.error)) / 0.1 - 1) < 0.1
  z = (found.log_p - right) / 0.1
  assert 0.7 < float(jnp.std(z)) < 1.3 and abs(float(jnp.mean(z))) < 4 / len(X) ** 0.5
  assert np.isnan(score(experiment(types.SimpleNamespace(), eval_step=noisy), num_samples=1).error).all()


class Conditional(nn.Module):
  def log_prob(self, key, batch):
    raise NotImplementedError

  def summary(self, key, batch):
    raise NotImplementedError


def test_log_p_of_y_given_x_is_that_of_the_mean_probability():
  step = lambda state, key, batch: {"log_py": jnp.log(jax.random.uniform(key, batch["x"].shape[:1]))}
  found = score(experiment(Conditional(), eval_step=step), num_samples=3000)
  assert (found.name, found.kind) == ("log_py", "estimate")
  np.testing.assert_allclose(found.error, 1 / 3**0.5 / 3000**0.5, rtol=0.1)
  assert float(jnp.max(jnp.abs(found.log_p + jnp.log(2.0)) / found.error)) < 4.5
  plain = lambda state, key, batch: {"log_py": batch["x"][:, 0]}
  fixed = score(experiment(Conditional(), eval_step=plain), num_samples=2)
  assert fixed.kind == "exact" and not fixed.error.any()


@pytest.mark.parametrize("options,named", [
  ({"num_samples": -1}, "num_samples = -1; it must be 0 or more"),
  ({"num_draws": 0}, "num_draws = 0; it must be 1 or more"),
  ({"num_samples": 5}, "this model knows its density"),
  ({"classes": "all"}, "classes = 'all'"),
])  # fmt: skip
def test_mistakes_are_one_sentence(options, named):
  with pytest.raises(errors.UserError, match=named):
    score(experiment(Density()), **options)


def test_a_model_without_log_p_says_so():
  step = lambda state, key, batch: {"distortion": batch["x"][:, 0]}
  with pytest.raises(errors.UserError, match=r"This model has no log p\(x\): evaluating it gives distortion"):
    score(experiment(types.SimpleNamespace(), eval_step=step))
  with pytest.raises(errors.UserError, match=r"num_draws and classes are for models that know their density"):
    score(experiment(types.SimpleNamespace(), eval_step=step), num_draws=2)

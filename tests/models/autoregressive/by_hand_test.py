"""MADE and NADE against densities in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal

from dgm_jax.core import errors
from dgm_jax.models.autoregressive import made, nade
from dgm_jax.principles import maximum_likelihood


def test_made_without_weights_is_a_product_of_bernoullis():
  mean = (0.1, 0.5, 0.8)
  model = made.Model((3,), hidden=(), data_mean=mean)
  x = jnp.asarray([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
  variables = model.init(jax.random.key(0), {"x": x})  # direct weights start at 0
  expected = np.log(np.where(x > 0, mean, 1 - np.asarray(mean))).sum(1)
  np.testing.assert_allclose(model.apply(variables, {"x": x}, method="log_prob"), expected, rtol=1e-5)


def test_nade_is_the_sum_over_entries_written_out():
  d, h, n = 5, 4, 7
  model = nade.Model((d,), num_hidden=h)
  rng = np.random.default_rng(0)
  x = (rng.random((n, d)) < 0.5).astype("f")
  params = model.init(jax.random.key(0), {"x": jnp.asarray(x)})
  w, c, v, b = (rng.normal(size=shape) for shape in ((d, h), (h,), (d, h), (d,)))
  values = {"kernel": w[:, None], "bias": c, "out": v[..., None], "out_bias": b[:, None]}
  params = {**params, "params": {k: jnp.asarray(a, jnp.float32) for k, a in values.items()}}
  total = np.zeros(n)
  for t in range(d):
    hidden = 1 / (1 + np.exp(-(c + x[:, :t] @ w[:t])))
    p = 1 / (1 + np.exp(-(b[t] + hidden @ v[t])))
    total += np.log(np.where(x[:, t] > 0, p, 1 - p))
  np.testing.assert_allclose(model.apply(params, {"x": jnp.asarray(x)}, method="log_prob"), total, rtol=1e-5)


def test_linear_made_trained_on_normals_is_their_normal():
  """Its maximum is the normal with the sample's mean and covariance, for any order (Cholesky's factors)."""
  rng = np.random.default_rng(1)
  x = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) + [1.0, -2.0, 0.5]).astype("f")
  model = made.Model((3,), hidden=(), likelihood="gaussian", ordering=(2, 0, 1))
  system = maximum_likelihood.make(model, optax.adam(optax.cosine_decay_schedule(0.1, 1500)))
  batch = {"x": jnp.asarray(x)}

  def run(state):
    step = lambda state, _: (system.train_step(state, jax.random.key(0), batch)[0], None)
    return jax.lax.scan(step, state, None, 1500)[0]

  state = jax.jit(run)(system.init(jax.random.key(0), batch, {}))
  expected = multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(x)
  # the scale of a conditional is a function of the entries before it, whose slope is 0 up to the sample's noise
  found = np.asarray(system.eval_step(state, jax.random.key(0), batch)["log_px"])
  assert expected.mean() - 1e-3 <= found.mean() <= expected.mean() + 0.03
  assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_one_entry_alone_is_refused():
  with pytest.raises(errors.UserError, match="one entry only"):
    made.Model((1,)).init(jax.random.key(0), {"x": jnp.zeros((2, 1))})

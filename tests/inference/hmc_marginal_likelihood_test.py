"""log p(x) from HMC draws of the posterior, on a model with known p(x) and posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions.normals import standard_normal
from dgm_jax.evaluate import posterior_samples as evaluation
from dgm_jax.inference import hmc_marginal_likelihood
from helpers import linear_gaussian as lg

N = 4000  # examples, all of them the same x


class Model(lg.Model):
  def simulate(self, key, n):
    z = standard_normal(self.latent_dim).sample(seed=key, sample_shape=(n,))
    return {"x": self.decode(z).mean()}, z


PLAIN = lg.model(3, s=0.6)
MODEL = Model(PLAIN.w, PLAIN.b, 0.6)
X = lg.draws(MODEL, 1)
EXACT = MODEL.exact(X)


def log_joint(z):
  return sum(MODEL.log_joint({"x": jnp.asarray(X, jnp.float32)}, z))


@pytest.fixture(scope="module")
def found():
  arrays = {"x": np.broadcast_to(X, (N, 3)).astype("f")}
  settings = {"num_samples": 20, "num_warmup": 60, "num_leapfrog": 6, "num_importance": 10, "num_starts": 2}
  return evaluation.evaluate(lg.experiment(MODEL), lg.state(), lg.KEY, arrays, num_examples=N, batch_size=N, **settings)


def difference(found, name):
  return np.asarray(found["values"][f"posterior_{name}"], np.float64) - EXACT.log_px


def test_the_estimator_of_appendix_d_is_unbiased_for_one_over_p(found):
  """E[exp(log p - upper)] = 1 for draws of the posterior, hence E[upper] >= log p."""
  above = difference(found, "upper")
  assert abs(lg.in_errors(np.exp(-above), 1.0)) < 4
  assert lg.in_errors(above, 0.0) > 4
  assert above.mean() < 0.3


def test_importance_sampling_from_the_fit_is_unbiased_for_px(found):
  below = difference(found, "lower")
  assert abs(lg.in_errors(np.exp(below), 1.0)) < 4
  assert lg.in_errors(below, 0.0) < -4
  assert below.mean() > -0.3


def test_results_are_the_means_of_the_values(found):
  values = {name: np.asarray(a, np.float64) for name, a in found["values"].items()}
  assert found["posterior_upper"] == pytest.approx(values["posterior_upper"].mean(), abs=1e-4)
  assert found["posterior_gap"] == pytest.approx(
    difference(found, "upper").mean() - difference(found, "lower").mean(), abs=1e-4
  )
  assert found["posterior_lower_stderr"] == pytest.approx(values["posterior_lower"].std() / np.sqrt(N), rel=1e-2)
  assert found["posterior_acceptance"] == pytest.approx(0.9, abs=0.03)
  assert found["posterior_examples"] == N


def test_chains_have_the_moments_of_the_posterior():
  run = jax.jit(lambda key, z: hmc_marginal_likelihood.chain(key, log_joint, z, 60, 10, 6, 0.9))
  draws, _ = run(lg.KEY, np.random.default_rng(0).normal(size=(N, 3)).astype("f"))
  assert (np.abs(lg.in_errors(draws[-1], EXACT.mean[0])) < 4).all()
  centred = (draws[-1] - EXACT.mean) @ np.linalg.inv(np.linalg.cholesky(EXACT.covariance)).T
  assert (np.abs(lg.in_errors(centred**2, 1.0)) < 4).all()
  assert abs(lg.in_errors(centred[:, 0] * centred[:, 1], 0.0)) < 4


def test_the_fit_has_the_mean_and_covariance_of_numpy():
  draws = np.random.default_rng(0).normal(size=(20, 2, 3)) @ np.array([[1, 0, 0], [0.5, 1, 0], [0, 0.2, 2]])
  mean, covariance = hmc_marginal_likelihood.fit(jnp.asarray(draws, jnp.float32))
  np.testing.assert_allclose(mean, draws.mean(0), atol=1e-5)
  np.testing.assert_allclose(covariance, [np.cov(draws[:, b].T) for b in range(2)], atol=1e-4)


def test_a_chain_starts_where_the_joint_is_largest():
  starts = np.full((3, 2, 3), 9.0, "f")
  starts[2, 0] = starts[1, 1] = EXACT.mean[0]
  z = hmc_marginal_likelihood.most_likely(log_joint, jnp.asarray(starts))
  np.testing.assert_allclose(z, np.broadcast_to(EXACT.mean, (2, 3)), rtol=1e-6)


def test_invalid_options_raise_user_errors():
  with pytest.raises(errors.UserError, match=r"posterior_samples\.num_samples = 1; it must be 2"):
    evaluation.check(num_samples=1)
  with pytest.raises(errors.UserError, match="Did you mean 'num_starts'"):
    evaluation.check(num_start=1)

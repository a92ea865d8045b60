"""The collapse evaluation against closed forms, and the values per example of several evaluations."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from matplotlib import image

from dgm_jax.core import errors, figures
from dgm_jax.distributions import posteriors
from dgm_jax.evaluate import active_units, ais, collapse, gaps, importance_sampling, quadrature
from dgm_jax.inference import aggregate_posterior
from dgm_jax.models.vae import dlgm, vae
from helpers import linear_gaussian as lg
from helpers import tables

MODEL = lg.model(2, orthogonal=True)
N = 1500
X = lg.draws(MODEL, N).astype("f")


@pytest.fixture(scope="module")
def page():
  return collapse.evaluate(lg.experiment(MODEL), lg.state(), lg.KEY, {"x": X}, num_samples=4, batch_size=400, chunk=170)


def test_mutual_information_and_marginal_kl_sum_to_the_rate(page):
  v = page["values"]
  assert page["collapse_mutual_information"] + page["collapse_marginal_kl"] == pytest.approx(
    page["collapse_rate"], abs=1e-5
  )
  np.testing.assert_allclose(
    v["collapse_mutual_information"] + v["collapse_marginal_kl"], v["collapse_rate"], atol=1e-4
  )


def test_kl_per_unit_has_its_closed_form(page):
  exact = MODEL.exact(X)
  variance = np.diag(exact.covariance)
  expected = 0.5 * (exact.mean**2 + variance - 1 - np.log(variance)).mean(0)
  np.testing.assert_allclose(page["values"]["units/kl"], expected, rtol=1e-4)
  assert abs(page["collapse_rate"] - expected.sum()) < 5 * page["collapse_rate_stderr"]
  np.testing.assert_allclose(page["values"]["units/activity_1"], exact.mean.var(0), rtol=1e-4)


def test_the_aggregate_is_the_mixture_over_all_examples():
  """Against scipy, in chunks that do not divide N, without the padding."""
  exact, z = MODEL.exact(X[:57]), np.random.default_rng(0).normal(size=(9, 2))
  scale = np.sqrt(np.diag(exact.covariance))
  each = scipy.stats.norm(exact.mean[None], scale).logpdf(z[:, None]).sum(-1)
  batches, counted = aggregate_posterior.in_chunks({"x": X[:57]}, 10)
  assert counted.sum() == 57
  got = aggregate_posterior.make_aggregate(MODEL.bind({}), batches, counted)(jnp.asarray(z, jnp.float32))
  np.testing.assert_allclose(got, scipy.special.logsumexp(each, 1) - np.log(57), rtol=1e-4)


def test_the_aggregate_posterior_of_exact_inference_is_the_prior(page):
  """x ~ p(x) and q = p(z|x): q(z) -> N(0, I), so the marginal KL vanishes and MI = KL(p(x,z) || p(x) p(z)).

  MI = sum_l 1/2 log(1 + lambda_l / s^2), lambda the squared norms of W's orthogonal columns; the bias with N = 1500
  examples is of order 1 / N for each of some dozens of distinguishable z.
  """
  exact = 0.5 * np.log1p((np.asarray(MODEL.w) ** 2).sum(0) / MODEL.s**2).sum()
  assert -0.02 < page["collapse_marginal_kl"] < 0.02
  error = page["collapse_mutual_information_stderr"]
  assert page["collapse_mutual_information"] == pytest.approx(exact, abs=5 * error + 0.02)
  assert error < 0.03


def test_a_known_marginal_kl():
  """With q shifted by 0.7 in both units, q(z) = N(0.7, I) and the marginal KL is 0.49."""
  shifted = lg.model(2, orthogonal=True, shift=0.7)
  got = collapse.evaluate(lg.experiment(shifted), lg.state(), lg.KEY, {"x": X}, num_samples=4)
  assert got["collapse_marginal_kl"] == pytest.approx(0.49, abs=5 * got["collapse_marginal_kl_stderr"] + 0.02)


def test_information_is_log_n_for_separate_codes():
  narrow = lg.model(2, orthogonal=True, stretch=1e-3)
  got = collapse.evaluate(lg.experiment(narrow), lg.state(), lg.KEY, {"x": X[:8]})
  assert got["collapse_mutual_information"] == pytest.approx(np.log(8), abs=1e-4)


def run(model, num_samples=1):
  x = tables.TEST["x"][:30]
  state = lg.state(jax.jit(model.init)(lg.KEY, {"x": x})["params"])
  return collapse.evaluate(lg.experiment(model), state, lg.KEY, {"x": x}, num_samples=num_samples)


def test_hierarchies_have_the_terms_of_the_rate_but_no_kl_per_unit():
  got = run(dlgm.Model(tables.SHAPE, latent_dims=(3, 2), hidden=((8,), (4,))))
  assert got["collapse_mutual_information"] + got["collapse_marginal_kl"] == pytest.approx(
    got["collapse_rate"], abs=1e-4
  )
  assert "units/kl" not in got["values"]
  assert [got["values"][f"units/activity_{l}"].shape for l in (1, 2)] == [(3,), (2,)]


def test_other_priors_and_posteriors_have_no_closed_form():
  mixture = run(vae.Model(tables.SHAPE, latent_dim=2, hidden=(8,), prior="mixture"))
  planar = run(vae.Model(tables.SHAPE, latent_dim=2, hidden=(8,), posterior="planar"))
  assert "planar" in posteriors.WITHOUT_LOG_PROB
  assert "collapse_units_by_kl" not in mixture
  assert "collapse_mutual_information" in mixture
  assert "collapse_mutual_information" not in planar
  assert "collapse_rate" in planar


@pytest.mark.parametrize("name", ["num_samples", "num_examples", "batch_size", "chunk", "threshold"])
def test_invalid_options_raise_user_errors(name):
  with pytest.raises(errors.UserError, match=f"evaluate.collapse.{name} = -1"):
    collapse.check(**{name: -1})


OPTIONS = {
  importance_sampling: {"num_samples": 50, "batch_size": 6},
  quadrature: {"num_points": 40, "batch_size": 6},
  ais: {"num_temperatures": 4, "num_chains": 3, "num_leapfrog": 1, "batch_size": 6},
  gaps: {"log_px": "quadrature", "log_px_options": {"num_points": 40}, "num_steps": 2, "elbo_samples": 4},
}


@pytest.mark.parametrize("evaluation", OPTIONS, ids=lambda e: e.__name__)
def test_the_transforms_jacobian_is_added_to_every_density(evaluation):
  """y = 2 x has log |dy/dx| = D log 2: all log-densities increase by it, all gaps are unchanged."""

  def doubled(key, batch):
    del key
    return {"x": 2 * batch["x"], "log_det": 3 * jnp.log(2.0) + jnp.zeros(batch["x"].shape[:-1])}

  def values(x, transform):
    experiment = types.SimpleNamespace(model=MODEL, transforms=types.SimpleNamespace(evaluate=transform))
    return evaluation.evaluate(experiment, lg.state(), lg.KEY, {"x": x}, **OPTIONS[evaluation])["values"]

  plain, moved = values(2 * X[:6], tables.identity), values(X[:6], doubled)
  assert plain
  for name, v in plain.items():
    density = name.endswith(("log_px", "elbo", "elbo_local"))
    np.testing.assert_allclose(moved[name], v + density * 3 * np.log(2), rtol=2e-3, atol=1e-3)
    assert v.shape == (6,)


def test_the_monte_carlo_error_is_the_spread_of_repeated_estimates():
  model = lg.model(2, shift=0.3, stretch=1.5)
  program = importance_sampling.make_log_px(lg.experiment(model), 200, 400, 200)
  got = program(lg.state(), lg.KEY, {"x": np.repeat(X[:1], 4000, 0)})
  spread = np.asarray(got["log_px"], np.float64).std()
  assert np.sqrt(np.mean(np.square(got["log_px_error"], dtype=np.float64))) == pytest.approx(spread, rel=0.1)
  assert 1 < got["ess"].min() < 200


def test_activities_are_reported_by_layer_and_as_a_histogram(tmp_path):
  layers = [jnp.array([0.5, 1e-3, -1e-5]), jnp.array([0.2])]
  got = active_units.report(layers, 0.01)
  assert (got["active_units"], got["active_units_by_layer"]) == (2, "1+1")
  np.testing.assert_array_equal(got["values"]["units/activity_1"], layers[0])
  figures.save_histogram(tmp_path / "a.png", got["values"], "log10 A_u")
  assert image.imread(tmp_path / "a.png").std() > 0

"""posterior = flow and prior = flow with every layer: log q of draws, the inverse, the moments, one line of config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import errors
from dgm_jax.distributions import posteriors, priors
from dgm_jax.distributions.bijectors import flows
from dgm_jax.inference import log_terms
from dgm_jax.models.vae import vae

B, L, N, KEY = 2, 3, 8000, jax.random.key(0)
NET = {"hidden": (8,)}
SPLINE = {"transform": "spline", "transform_args": {"num_bins": 4, "bound": 3.0}}
LAYERS = {
  "coupling": NET,
  "coupling spline": NET | SPLINE,
  "autoregressive": NET | SPLINE,
  "planar": {},
  "radial": {},
  "sylvester": {"columns": 2, "num_reflections": 3},
}


def made(row, module, **options):
  options = {"layer": row.partition(" ")[0], "layer_args": LAYERS[row], "num_layers": 2} | options
  return module.make("flow", L, **options) if module is posteriors else module.make("flow", L, (), (0, 1), **options)


def noisy(variables, scale=0.4):
  g = np.random.default_rng(1)
  return jax.tree.map(lambda a: a + jnp.asarray(scale * g.normal(size=a.shape), a.dtype), variables)


@pytest.mark.parametrize("row", [
  pytest.param(row, marks=pytest.mark.slow) if row.startswith(("coupling", "autoregressive")) else row for row in LAYERS
])  # fmt: skip
def test_log_q_is_that_of_the_draws_and_depends_on_the_context(row):
  kind = made(row, posteriors, context=2)
  h = jnp.asarray(np.random.default_rng(0).normal(0, 0.5, (B, kind.num_outputs)))
  variables = noisy(kind.init(KEY, h), 0.15 if "hidden" in LAYERS[row] else 0.4)
  q = kind.apply(variables, h)
  z, log_q = jax.jit(lambda key: q.sample_and_log_prob(seed=key, sample_shape=(N,)))(KEY)
  assert z.shape == (N, B, L) and log_q.shape == (N, B)
  r = jax.scipy.stats.norm.logpdf(z, jnp.median(z, 0), 0.4 * z.std(0)).sum(-1)
  weights = np.exp(np.asarray(r - log_q, np.float64))
  assert (abs(weights.mean(0) - 1) < 5 * weights.std(0) / N**0.5).all()
  if row.partition(" ")[0] in flows.WITHOUT_INVERSE:
    assert kind.without_log_prob
    with pytest.raises(errors.NotAvailableError):
      q.log_prob(z[0])
  else:
    np.testing.assert_allclose(q.log_prob(z[:50]), log_q[:50], rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(q.log_prob(z[0]), log_q[0], rtol=1e-3, atol=2e-3)
  draw = lambda h: kind.apply(variables, h).sample(seed=KEY)
  of_context = jax.jacobian(draw)(h)[0, :, 0, 2 * L :]
  assert np.abs(of_context).max() > 1e-4


@pytest.mark.parametrize("row", [pytest.param("coupling spline", marks=pytest.mark.slow), "autoregressive", "radial"])
def test_a_prior_draws_from_its_density(row):
  p = made(row, priors, permutation="lu")
  variables = noisy(p.init(KEY, method=lambda p: p(None).log_prob(jnp.zeros((B, L)))), 0.3)
  d = p.apply(variables, None)
  z = jax.jit(lambda key: d.sample(seed=key, sample_shape=(N,)))(KEY)
  log_p = jax.jit(d.log_prob)(z)
  e, log_det = p.apply(
    variables, method=lambda p: p.flow().forward_and_log_det(z)
  )  # the cheap direction is to the noise
  np.testing.assert_allclose(log_p, jax.scipy.stats.norm.logpdf(e).sum(-1) + log_det, rtol=1e-4, atol=1e-4)
  r = jax.scipy.stats.norm.logpdf(z, jnp.median(z, 0), 0.4 * z.std(0)).sum(-1)
  weights = np.exp(np.asarray(r - log_p, np.float64))
  assert abs(weights.mean() - 1) < 5 * weights.std() / N**0.5


def test_flows_as_posterior_and_prior_are_a_line_of_config_and_p_sums_to_one():
  x = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(-1, 3).astype("f")
  flow = {"layer": "coupling", "layer_args": NET, "num_layers": 2}
  model = vae.Model(
    (3,),
    latent_dim=2,
    hidden=(4,),
    posterior="flow",
    posterior_args=flow | {"context": 2},
    prior="flow",
    prior_args=flow,
  )
  variables = jax.jit(model.init)(KEY, {"x": x})
  flat = jax.tree.map(lambda a: 0.4 * a, variables["params"]["encoder"])
  variables = {"params": variables["params"] | {"encoder": flat}}
  terms = jax.jit(lambda key: log_terms.log_terms(model, variables, key, {"x": x}, 5000, 500))(KEY)
  sums = np.exp(np.asarray(terms.w, np.float64)).sum(1)
  assert abs(sums.mean() - 1) < 5 * sums.std() / len(sums) ** 0.5


def test_the_trees_of_the_former_flows_are_unchanged():
  old = priors.make("flow", 4, (), (0, 1), num_layers=2, hidden=8)
  params = old.init(KEY, method=lambda p: p(None).log_prob(jnp.zeros((B, 4))))["params"]
  assert set(params) == {"nets_0", "nets_1"}
  kind = posteriors.make("iaf", 4)
  names = {"z", "context", "hidden_bias", "out", "out_context", "out_bias"}
  assert set(kind.init(KEY, jnp.zeros((1, kind.num_outputs)))["params"]) == {f"{n}_{t}" for n in names for t in (0, 1)}


@pytest.mark.parametrize("options,named", [
  ({"posterior_args": {"context": 0}}, "context = 0 of posterior 'flow' must be 1 or more"),
  ({"latent_dim": 1}, "latent_dim = 1 of posterior 'flow' with couplings must be 2 or more"),
  ({"posterior_args": {"layer": "maf"}}, "layer = 'maf' of a flow; it must be one of coupling, autoregressive"),
  ({"posterior_args": {"layer": "sylvester"}, "prior": "vamp"}, "prior 'vamp' needs log q at any z"),
  ({"prior": "flow", "prior_args": {"layer": "planar"}}, "layer = 'planar' of prior 'flow' has no inverse"),
  ({"prior": "flow", "prior_args": {"permutation": "lu"}}, "layer_args and permutation of prior 'flow'"),
  ({"prior": "flow", "prior_args": {"layer_args": {"hidden": (8,)}}}, "of prior 'flow' are for a flow of layers"),
  ({"prior": "flow", "prior_args": {"layer": "coupling", "hidden": 8}}, "hidden = 8 of prior 'flow' is for the Real"),
  ({"posterior_args": {"layer": "sylvester", "layer_args": {"columns": 0}}}, "columns = 0 of a Sylvester flow must"),
  (
    {"posterior_args": {"layer": "sylvester", "layer_args": {"num_reflections": -1}}},
    "num_reflections = -1 of a Sylvester flow must be 1 or more",
  ),
])  # fmt: skip
def test_mistakes_are_one_sentence(options, named):
  model = vae.Model((3,), **({"latent_dim": 2, "hidden": (4,), "posterior": "flow"} | options))
  with pytest.raises(errors.UserError, match=named):
    jax.eval_shape(model.init, KEY, {"x": jnp.zeros((2, 3))})

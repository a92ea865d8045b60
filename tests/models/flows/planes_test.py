"""Densities on planes integrate to 1, by the evaluation that runs end with, and are no better than the entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import data
from dgm_jax.configs import flow_plane
from dgm_jax.core import config_args
from dgm_jax.evaluate import normalisation
from dgm_jax.models.flows import flow
from dgm_jax.principles import maximum_likelihood
from dgm_jax.training import build, experiment

# every net and every plane once; the compilation of a net takes seconds
PAIRS = list(zip(flow_plane.NETS, (*flow_plane._SETS[:-1], "plane/moons"), strict=True))
FAST = ("spline_coupling", "maf")


@pytest.mark.parametrize(
  "net,plane", [pytest.param(net, plane, marks=[pytest.mark.slow] * (net not in FAST)) for net, plane in PAIRS]
)
def test_the_density_of_each_net_integrates_to_1_on_a_plane(net, plane):
  config = config_args.load(f"flow_plane:net={net},data={plane},test")
  options = config.evaluate.normalisation.to_dict()
  assert config_args.load(f"flow_plane:net={net},data={plane},quick").evaluate.normalisation.num_points == 1000
  made = build.build(config)
  state = jax.jit(experiment.make_init(made, 0))()
  g = np.random.default_rng(0)
  scale = 0.03 if net.startswith("mixture") else 0.15  # the scales of logistics grow with the other entry
  shift = lambda a: a + jnp.asarray(scale * g.normal(size=a.shape), a.dtype)  # else every flow is the identity
  state = state.replace(params=jax.tree.map(shift, state.params))
  options |= {"num_points": 400, "radius": 24.0} if scale < 0.1 else {"num_points": 250}  # these are broad at first
  found = normalisation.evaluate(made, state, jax.random.key(0), made.splits.test, **options)
  assert found["normalisation"] == pytest.approx(1, abs=2e-3)
  assert found["normalisation_points"] == options["num_points"] ** 2


NET = {"hidden": (32, 32), "activation": "relu"}
SPLINE = NET | {"transform": "spline", "transform_args": {"num_bins": 8, "bound": 4.0}}
TRAINED = {
  "spline coupling": ("plane/moons", flow.Model((2,), "coupling", 3, SPLINE, permutation="lu", norm="act")),
  "spline autoregressive": (
    "plane/eight_gaussians",
    flow.Model((2,), "autoregressive", 2, SPLINE, permutation="lu", norm="act"),
  ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_no_trained_flow_is_better_than_the_entropy_on_fresh_draws(name):
  """E log p(x) <= -H, and near it after some training: a log-determinant that is too large would show."""
  plane, model = TRAINED[name]
  splits = data.load(plane, train_size=20_000, valid_size=0, test_size=10_000)
  scale = np.float32(2.0)
  x, fresh = (jnp.asarray(a["x"]) / scale for a in (splits.train, splits.test))
  made = maximum_likelihood.make(model, optax.adam(3e-3))

  @jax.jit
  def run(key):
    state = made.init(key, {"x": x[:500]}, {})
    batches = x[: 78 * 256].reshape(78, 256, 2)
    step = lambda state, i: made.train_step(state, key, {"x": batches[i % 78]})
    state, _ = jax.lax.scan(step, state, jnp.arange(300))
    return made.eval_step(state, key, {"x": fresh})["log_px"] - 2 * jnp.log(scale)

  log_px = np.asarray(run(jax.random.key(0)), np.float64)
  error = log_px.std(ddof=1) / len(log_px) ** 0.5
  entropy = splits.about["entropy"]
  assert log_px.mean() <= -entropy + 4 * error
  assert log_px.mean() >= -entropy - 0.4, "too far from the data to prove anything"

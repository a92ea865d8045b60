"""The densities of flow_plane integrate to 1 on every plane, by the evaluation that its runs end with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.configs import flow_plane
from dgm_jax.core import config_args
from dgm_jax.evaluate import normalisation
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

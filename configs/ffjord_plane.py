"""FFJORD on points of the plane, whose density is known (Grathwohl et al., ICLR 2019).

Paper: https://arxiv.org/abs/1810.01367, which has pictures of planes and no numbers of them; the regularisers are of
Finlay et al. (2020), https://arxiv.org/abs/2002.02798.  KL(data || model) is the NLL, test/nll, minus the entropy of
the plane: python -m dgm_jax reproduce gallery --figure=continuous.

  python -m dgm_jax.main --config=configs/ffjord_plane.py --workdir=runs/moons
  python -m dgm_jax.main --config=configs/ffjord_plane.py:regularise,data=plane/pinwheel,quick --workdir=runs/pinwheel

Arguments (after the colon, separated by commas):
  data=NAME       plane/moons if not given; another plane, or `array` of your own numbers; standardised
  regularise      kinetic energy and Jacobian norm, 0.01 each: straighter paths
  gradient=unrolled|adjoint   of the steps, or of the equation in constant memory
  steps=S         Runge-Kutta steps in training, 8 if not given
  hidden=H        units of each of three hidden layers, 64 if not given
  quick           2,000 steps
  test            seconds: 40 steps of a small network

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import flow_matching_plane
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, data=flow_matching_plane.SETS, regularise=False, gradient=("unrolled", "adjoint"), steps=8, hidden=64,
    quick=False, test=False,
  )  # fmt: skip
  config = flow_matching_plane.of_plane(a, 2000, 10_000)
  args = {"hidden": (8, 8) if a.test else (a.hidden,) * 3, "time_dim": 8, "gradient": a.gradient}
  args |= {"train_steps": 2 if a.test else a.steps, "solver": "rk4", "solver_steps": 5 if a.test else 50}
  args |= {"draw_solver": "rk4", "draw_steps": 5 if a.test else 25}
  args |= {"kinetic_weight": 0.01, "jacobian_weight": 0.01} if a.regularise else {}
  config.model = {"name": "continuous_flow", "args": args}
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})

"""Flow matching on points of the plane, whose density is known (Lipman et al., ICLR 2023).

Paper: https://arxiv.org/abs/2210.02747, "Flow Matching for Generative Modeling", which has pictures of a checkerboard
and no numbers of it.  KL(data || model) is the NLL, test/nll, by the differential equation with the exact trace, minus
the entropy of the plane: python -m dgm_jax reproduce gallery --figure=continuous.

  python -m dgm_jax.main --config=configs/flow_matching_plane.py --workdir=runs/moons
  python -m dgm_jax.main --config=configs/flow_matching_plane.py:coupling=optimal_transport,quick --workdir=runs/ot
  python -m dgm_jax.main --config=configs/flow_matching_plane.py:path=variance_preserving --workdir=runs/vp

Arguments (after the colon, separated by commas):
  data=NAME       plane/moons if not given; another plane, or `array` of your own numbers; standardised
  path=optimal_transport|variance_preserving
  prediction=velocity|x|noise   what the network predicts
  coupling=independent|optimal_transport   of data and noise in a batch
  hidden=H        units of each of three hidden layers, 128 if not given
  quick           4,000 steps
  test            seconds: 40 steps of a small network

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=paths, the two paths and couplings.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

PLANES = (
  "moons",
  "circles",
  "eight_gaussians",
  "ring",
  "grid",
  "checkerboard",
  "pinwheel",
  "spirals",
  "swiss_roll",
  "sine",
)
SETS = base.sets(*(f"plane/{name}" for name in PLANES))


def of_plane(a: SimpleNamespace, quick: int = 4000, full: int = 20_000) -> ConfigDict:
  """A continuous model of points of the plane; config.model is left to the caller.

  Args:
    a: the arguments `data`, `quick` and `test`.
    quick, full: numbers of steps.
  """
  config = base.maximum_likelihood(a)
  config.data = data_section(a.data, ("standardize",))
  if a.test and a.data != "array":
    config.data.update(train_size=1000, valid_size=200, test_size=200)
  config.evaluate = ConfigDict({"probability_flow": {"num_examples": 0, "batch_size": 200 if a.test else 2000}})
  if a.data != "array":
    config.evaluate.normalisation = {"num_points": 50 if a.test else 200, "radius": 6.0}
  config.optim.update(name="adam", lr=1e-3, schedule="cosine", clip_norm=5.0)
  if not a.test:
    config.optim.ema_decay = 0.999
    config.batch_size, config.num_steps = 512, quick if a.quick else full
    config.log_every, config.eval_batch_size = 500, 2500
    config.checkpoint_every = config.eval_every = config.num_steps // 2
  return config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, data=SETS, path=("optimal_transport", "variance_preserving"), prediction=("velocity", "x", "noise"),
    coupling=("independent", "optimal_transport"), hidden=128, quick=False, test=False,
  )  # fmt: skip
  config = of_plane(a)
  args = {"hidden": (8, 8) if a.test else (a.hidden,) * 3, "time_dim": 8 if a.test else 32}
  args |= {"path": a.path, "prediction": a.prediction, "coupling": a.coupling}
  args |= {"solver": "rk4", "solver_steps": 5 if a.test else 50, "draw_steps": 5 if a.test else 50}
  config.model = {"name": "flow_matching", "args": args}
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_paths() -> list[dict]:
  """The two paths with independent pairs, and straight lines with those of optimal transport."""
  both = product({"arg.path": ["optimal_transport", "variance_preserving"]})
  return [*both, {"arg.path": "optimal_transport", "arg.coupling": "optimal_transport"}]

"""Gaussian VAE on Frey faces: Mattei & Frellsen, "Leveraging the Exact Likelihood of DLVMs" (NeurIPS 2018).

Paper: https://arxiv.org/abs/1802.04826: p(x|z) = N(x; m(z), diag s^2(z)), whose likelihood is unbounded unless s^2 is
kept above a floor.  The paper has figures and no table of NLLs.

  python -m dgm_jax.main --config=configs/gaussian_vae_frey.py --config.data.manual_dir=FOLDER --workdir=runs/frey
  python -m dgm_jax.main --config=configs/gaussian_vae_frey.py:quick,floor=0 --workdir=runs/blow_up

From the paper: 5 latent variables, 200 hidden units, Adam at 1e-4, batch 10, path-derivative gradients (here
objective.gradient = "stl").  The number of updates and the floor are not from the paper.

Arguments (after the colon, separated by commas):
  floor=S         lower bound of the variances, 0.0625 = 2^-4 if not given; their upper bound is then 1.  0: no bounds
  data=NAME       frey_faces if not given; any data set of grey levels, which are scaled to [0, 1]
  quick           half a minute on 2 cores: 4,000 steps of batch 100 on mnist5k, Adam at 1e-3
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): three seeds each with and without the floor.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, floor=0.0625, data="frey_faces", quick=False, test=False)
  errors.require(0 <= a.floor < 1, f"Config argument floor = {a.floor} must be between 0 and 1, or 0 for none.")
  config = base.default()
  config.data = data_section(base.data_name(a), ("scale",))
  config.model.args = {
    "latent_dim": 5,
    "hidden": (32,) if a.test else (200,),
    "likelihood": "gaussian_bounded" if a.floor else "gaussian",
    "likelihood_args": {"min_scale": a.floor**0.5, "max_scale": 1.0} if a.floor else {},
  }
  config.objective.gradient = "stl"
  config.optim.lr, config.optim.eps = 1e-4, 1e-8
  config.evaluate.importance_sampling.num_samples = 1000
  if a.test:
    base.shrink(config)
  elif a.quick:
    base.quicken(config, num_steps=4000)
    config.optim.lr = 1e-3
  else:
    config.batch_size, config.num_steps = 10, 200_000
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds each with the floor and without."""
  return product({"arg.floor": [0.0625, 0.0], "seed": range(3)})

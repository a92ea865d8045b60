"""Diffusion on MNIST: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models" (NeurIPS 2020).

Paper: https://arxiv.org/abs/2006.11239, after Sohl-Dickstein et al. (2015), https://arxiv.org/abs/1503.03585; neither
prints an NLL of binary MNIST.  `elbo` sums all T steps: a bound on the log-probability of the binarised digits.

  python -m dgm_jax.main --config=configs/diffusion_mnist.py --workdir=runs/diffusion

Arguments (after the colon, separated by commas):
  objective=elbo|simple   what is trained: the ELBO at a random step, or the paper's unweighted squared error
  schedule=linear|cosine  of the noise
  steps=T         100 if not given; the paper has 1000
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  choices = {"objective": ("elbo", "simple"), "schedule": ("linear", "cosine")}
  a = parse(arg, **choices, steps=100, data="mnist", quick=False, test=False)
  config = base.own_bound(a)
  args = {"num_steps": a.steps, "hidden": (1024, 1024), "schedule": a.schedule, "objective": a.objective}
  if a.test:
    args |= {"num_steps": 20, "hidden": (32,)}
  config.model = {"name": "diffusion", "args": args | {"decoder": "discretised", "num_levels": 2}}
  return config.lock()

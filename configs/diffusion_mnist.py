"""Diffusion on MNIST: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models" (NeurIPS 2020).

Paper: https://arxiv.org/abs/2006.11239, after Sohl-Dickstein et al. (2015), https://arxiv.org/abs/1503.03585; neither
prints an NLL of binary MNIST.  `elbo` sums all T steps: a bound on the log-probability of the binarised digits.

  python -m dgm_jax.main --config=configs/diffusion_mnist.py --workdir=runs/diffusion

Arguments (after the colon, separated by commas):
  objective=elbo|simple   what is trained: the ELBO at a random step, or the paper's unweighted squared error
  schedule=linear|cosine  of the noise
  steps=T         100 if not given; the paper has 1000
  net=mlp|unet    two layers of 1,024 units; or three levels of 32, 64 and 128 channels
  prediction=noise|v|x          what the network predicts
  sampler=ancestral|ddim        of draws; ddim in 50 steps (Song, Meng & Ermon, 2021, https://arxiv.org/abs/2010.02502)
  variance=beta|posterior       of ancestral steps
  classes         p(x|y)
  guidance=W      of draws with classes; 1 if not given, 0 is the model without classes
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  choices = {"objective": ("elbo", "simple"), "schedule": ("linear", "cosine"), "net": ("mlp", "unet")}
  choices |= {"prediction": ("noise", "v", "x"), "sampler": ("ancestral", "ddim"), "variance": ("beta", "posterior")}
  a = parse(arg, **choices, steps=100, classes=False, guidance=1.0, data="mnist", quick=False, test=False)
  config = base.own_bound(a)
  if a.classes:
    config.data.transforms = (*config.data.transforms, "condition")
  args = {"num_steps": a.steps, "hidden": (1024, 1024), "schedule": a.schedule, "objective": a.objective}
  args |= {"net": a.net, "prediction": a.prediction, "sampler": a.sampler, "ancestral_variance": a.variance}
  args |= {"num_classes": 10 * a.classes, "guidance": a.guidance}
  args |= {"draw_steps": min(50, a.steps)} if a.sampler == "ddim" else {}
  if a.test:
    args |= {"num_steps": 20, "hidden": (32,), "channels": (4, 8)}
    args |= {"draw_steps": 10} if a.sampler == "ddim" else {}
  config.model = {"name": "diffusion", "args": args | {"decoder": "discretised", "num_levels": 2}}
  return config.lock()

"""Convolutional VAE on MNIST: Salimans, Kingma & Welling, "Markov Chain Monte Carlo and Variational Inference" (2015).

Paper: https://arxiv.org/abs/1410.6460, table 1, convolutional network without leapfrog steps, statically binarised
MNIST: test NLL 83.20 nats, bound 86.66.

  python -m dgm_jax.main --config=configs/conv_vae_mnist.py --workdir=runs/conv_vae_mnist

The network of the paper: three convolutions of 5 x 5 with stride 2, of 16, 32 and 32 channels, and a dense layer of 300
units, softplus, mirrored in the decoder.  The 32 latent units, the batch of 100 and the 500 epochs are not from the
paper.

Arguments (after the colon, separated by commas):
  net=conv|residual   residual: 2 blocks of 3 x 3 at each of the three sizes, of 16, 32 and 32 channels, ELU
  k=N             samples, 1 if not given; with more than one the bound is that of the IWAE
  data=NAME       binarized_mnist if not given, which is binary already; other data sets of images are binarised again
                  at each step, see dgm_jax/data/README.md
  quick           6,000 steps of batch 100 on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): three seeds for each of three learning rates; --name=net, three seeds for each
network.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, net=("conv", "residual"), k=1, data="binarized_mnist", quick=False, test=False)
  name, residual = base.data_name(a), a.net == "residual"
  config = base.default()
  config.data = data_section(name, base.binarize(name, "dynamic"))
  channels = (4, 8) if a.test else (16, 32, 32)
  net_args = {
    "channels": channels,
    "activation": "elu" if residual else "softplus",
    "kernel_size": 3 if residual else 5,
  }
  config.model.args = {
    "latent_dim": 8 if a.test else 32,
    "hidden": (32,) if a.test else (300,),
    "net": a.net,
    "net_args": net_args,
  }
  config.objective.update(bound="iwae" if a.k > 1 else "elbo", num_samples=a.k, eval_samples=a.k)
  if a.test:
    base.shrink(config)
  elif a.quick:
    base.quicken(config)
  else:
    config.num_epochs = 500
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds for each of three learning rates, lanes of one program."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3], "seed": range(3)})


def sweep_net() -> list[dict]:
  """Three seeds each of the plain and of the residual network."""
  return product({"arg.net": ["conv", "residual"], "seed": range(3)})

"""VAE on MNIST: Kingma & Welling (2014) with the network, optimiser and schedule of Burda et al. (2016).

Paper: https://arxiv.org/abs/1509.00519, table 1, k = 1: test NLL 86.76 nats with 1 stochastic layer (19 active
units), 85.33 with 2.

  python -m dgm_jax.main --config=configs/vae_mnist.py --workdir=runs/vae_mnist

Arguments (after the colon, separated by commas): those of configs/iwae_mnist.py; k is 1 if not given, and with k > 1
the ELBO is averaged over k samples.

Sweeps (python -m dgm_jax sweep): four seeds for each of three learning rates; --name=beta, three seeds for each of four
weights of the KL.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, k=1, layers=(1, 2), **iwae_mnist.ARGUMENTS)
  return iwae_mnist.burda2016(a, "elbo", a.layers).lock()


def sweep() -> list[dict]:
  """Four seeds for each of three learning rates, lanes of one program."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3], "seed": range(4)})


def sweep_beta() -> list[dict]:
  """Three seeds for each weight of log p(z) - log q(z|x), lanes of one program."""
  return product({"objective.beta": [0.25, 0.5, 1.0, 2.0], "seed": range(3)})

"""VAE on MNIST: Kingma & Welling (2014) with the network, optimiser and schedule of Burda et al. (2016).

Paper: https://arxiv.org/abs/1509.00519, table 1, k = 1: test NLL 86.76 nats with 1 stochastic layer (19 active
units), 85.33 with 2.

  python -m dgm_jax.main --config=configs/vae_mnist.py --workdir=runs/vae_mnist

Arguments (after a colon, by commas): k, layers=1|2, data=NAME, reading=paper|code, constant, quick, test; see
configs/iwae_mnist.py.  With k > 1 the ELBO is averaged over k samples.

Sweeps (scripts/sweep.py): four seeds of three learning rates; --name=beta, three seeds of four weights of the KL.
"""

from configs import iwae_mnist
from dgm_jax.sweeps.axes import product


def get_config(arg: str = ""):
  """The config; `arg` as above."""
  config = iwae_mnist.get_config(arg, default_k=1)
  config.objective.bound = "elbo"
  return config


def sweep() -> list[dict]:
  """Four seeds of three learning rates, lanes of one program."""
  return iwae_mnist.sweep()


def sweep_beta() -> list[dict]:
  """Three seeds of each weight of log p(z) - log q(z|x), lanes of one program."""
  return product({"objective.beta": [0.25, 0.5, 1.0, 2.0], "seed": range(3)})

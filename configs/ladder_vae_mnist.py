"""Ladder VAE on MNIST: Soenderby, Raiko, Maaloee, Soenderby & Winther, "Ladder Variational Autoencoders" (NIPS 2016).

Paper: https://arxiv.org/abs/1602.02282, five stochastic layers, 5000 samples: test NLL 82.12 nats, and 81.74 after
fine-tuning with k = 10.

  python -m dgm_jax.main --config=configs/ladder_vae_mnist.py --workdir=runs/ladder_vae_mnist

The weight of the KL grows linearly from 0 during the first 200 of 2,000 epochs.  The paper uses batch normalisation in
all networks, here there is none: expect a higher NLL.  The constant learning rate is not from the paper.

Arguments (after the colon, separated by commas):
  k=N             importance samples, 1 if not given
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           minutes on 2 cores: 6,000 steps of batch 100 on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, k=1, data="mnist", quick=False, test=False)
  config = base.default()
  config.data = data_section(base.data_name(a), transforms=("binarize:dynamic",))
  args = {
    "latent_dims": (64, 32, 16, 8, 4),
    "hidden": ((512, 512), (256, 256), (128, 128), (64, 64), (32, 32)),
    "likelihood": "bernoulli",
  }
  if a.test:
    args |= {"latent_dims": (8, 4), "hidden": ((32,), (16,))}
  config.model = {"name": "ladder_vae", "args": args}
  config.objective.update(bound="iwae", num_samples=a.k, eval_samples=50)
  if a.test:
    base.shrink(config)
    config.optim.update(iwae_mnist.STAGES)  # the test covers a schedule, too
  elif a.quick:
    base.quicken(config)
    config.optim.update(iwae_mnist.QUICK_STAGES)
    config.objective.beta_steps = 600
  else:
    config.batch_size, config.num_epochs = 256, 2000
    config.objective.beta_steps = 200 * (base.NUM_TRAIN["mnist"] // config.batch_size)
  return config.lock()

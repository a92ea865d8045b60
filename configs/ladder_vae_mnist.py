"""Ladder VAE on MNIST: Soenderby, Raiko, Maaloee, Soenderby & Winther, "Ladder Variational Autoencoders" (NIPS 2016).

Paper: https://arxiv.org/abs/1602.02282, five stochastic layers, 5000 samples: test NLL 82.12 nats, and 81.74 after
fine-tuning with k = 10.

  python -m dgm_jax.main --config=configs/ladder_vae_mnist.py --workdir=runs/ladder_vae_mnist

KL grows from nothing during the first 200 of 2,000 epochs.  The paper normalises batches in all networks, and here none
does: expect a higher NLL.  The constant learning rate is ours.

Arguments (after a colon, by commas):
  k=N             importance samples, 1 if not given
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           minutes on 2 cores: 6,000 steps of batch 100 on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, k=1, data="mnist", quick=False, test=False)
  words = [word for word in ("quick", "test") if word in a.given] or ["constant"]
  config = iwae_mnist.get_config(",".join([f"k={a.k}", *words, *([f"data={a.data}"] if "data" in a.given else [])]))
  args = {
    "latent_dims": (64, 32, 16, 8, 4),
    "hidden": ((512, 512), (256, 256), (128, 128), (64, 64), (32, 32)),
    "likelihood": "bernoulli",
  }
  if a.test:
    args |= {"latent_dims": (8, 4), "hidden": ((32,), (16,))}
  with config.unlocked():
    config.model = ConfigDict({"name": "ladder_vae", "args": args})
  if not a.test:
    config.objective.eval_samples = 50
    config.objective.beta_steps = 600
  if not (a.quick or a.test):
    config.batch_size, config.num_epochs = 256, 2000
    config.objective.beta_steps = 200 * (60_000 // config.batch_size)
  return config

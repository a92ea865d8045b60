"""MIWAE on MNIST: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets".

Paper: https://arxiv.org/abs/1812.02633 (ICML 2019), figure 1 and table 1: a convolutional model of statically binarised
digits, half of whose pixels are missing in training.  Figure 1 prints no NLL.

  python -m dgm_jax.main --config=configs/miwae_mnist.py --workdir=runs/miwae_mnist
  python -m dgm_jax.main --config=configs/miwae_mnist.py:k=1,hide=nothing --workdir=runs/vae_static

Settings are those of github.com/federicobergamin/MIWAE-PyTorch: 50 latent units, convolutions of 5 x 5 with stride 2,
of 16, 32 and 32 channels, a dense layer of 256, ReLU, k = 50, batches of 32, learning rate 3e-4, 500 epochs.
Validation and test images are complete: their likelihoods include all pixels.  The bias of the decoder starts at the
mean of the complete training images.

Arguments (after the colon, separated by commas):
  k=N             importance samples, 50 if not given; 1 is the MVAE, and with hide=nothing the VAE
  hide=mcar|mar_top|nothing   missing in the training images: half of the pixels at random; pixels of the top half,
                  depending on the bottom half; nothing
  data=NAME       mnist if not given; any data set of grey levels, see dgm_jax/data/README.md
  quick           some minutes on 2 cores for k = 20: 8 epochs of mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): the four models of figure 1.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import data_section

_HIDDEN = {"mcar": ("mcar:rate=0.5,training",), "mar_top": ("mar_top:training=true",), "nothing": ()}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, k=50, hide=tuple(_HIDDEN), data="mnist", quick=False, test=False)
  k = min(a.k, 3) if a.test else a.k
  config = base.default()
  config.data = data_section(base.data_name(a), ("binarize:static", *_HIDDEN[a.hide]))
  channels = (4, 8) if a.test else (16, 32, 32)
  config.model.args = {
    "latent_dim": 8 if a.test else 50,
    "hidden": (32,) if a.test else (256,),
    "net": "conv",
    "net_args": {"channels": channels, "activation": "relu", "kernel_size": 5},
  }
  config.objective.update(bound="iwae" if k > 1 else "elbo", num_samples=k, eval_samples=50)
  if a.test:
    base.shrink(config)
  elif a.quick:
    config.batch_size, config.num_epochs, config.log_every, config.checkpoint_every = 32, 8, 25, 250
    config.evaluate.importance_sampling.num_samples = 1000
  else:
    config.batch_size, config.num_epochs, config.optim.lr = 32, 500, 3e-4
  return config.lock()


def sweep() -> list[dict]:
  """MIWAE and MVAE with half of the pixels, IWAE and VAE with all."""
  return [{"arg.k": k, "arg.hide": hide} for hide in ("mcar", "nothing") for k in (50, 1)]

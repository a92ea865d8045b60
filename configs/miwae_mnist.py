"""MIWAE on MNIST: Mattei & Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets".

Paper: https://arxiv.org/abs/1812.02633 (ICML 2019), figure 1 and table 1: a convolutional model of statically binarised
digits, half of whose pixels are missing in training.  Figure 1 prints no NLL.

  python -m dgm_jax.main --config=configs/miwae_mnist.py --workdir=runs/miwae_mnist
  python -m dgm_jax.main --config=configs/miwae_mnist.py:k=1,hide=nothing --workdir=runs/vae_static

Settings are those of github.com/federicobergamin/MIWAE-PyTorch, 50 latent units, convolutions of 5 x 5 with stride 2 of
16, 32 and 32 channels, a dense layer of 256, ReLU, k = 50, batches of 32, rate 3e-4, 500 epochs.  Held-out and test
images are complete: their likelihoods are of all pixels.  The bias of the decoder starts at the mean of the complete
training images.

Arguments (after a colon, by commas):
  k=N             importance samples, 50 if not given; 1 is the MVAE, and with hide=nothing the VAE
  hide=mcar|mar_top|nothing   of the training images: half of the pixels; of the top half, by the bottom half; nothing
  data=NAME       mnist if not given; any data set of grey levels, see dgm_jax/data/README.md
  quick           some minutes on 2 cores for k = 20: 8 epochs of mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (scripts/sweep.py): the four models of figure 1.
"""

from ml_collections import ConfigDict

from configs import conv_vae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import data_section

HIDDEN = {"mcar": ("mcar:rate=0.5,training",), "mar_top": ("mar_top:training=true",), "nothing": ()}


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, k=50, hide=tuple(HIDDEN), data="mnist", quick=False, test=False)
  small = a.quick or a.test
  config = conv_vae_mnist.get_config(f"k={min(a.k, 3) if a.test else a.k},{'test' if a.test else 'data=mnist'}")
  with config.unlocked():
    name = "mnist5k" if small and "data" not in a.given else a.data
    config.data = data_section(name, ("binarize:static", *HIDDEN[a.hide]))
    config.model.args.net_args.activation = "relu"
    if not a.test:
      config.model.args.update(latent_dim=50, hidden=(256,))
      config.batch_size, config.num_epochs, config.optim.lr = 32, 500, 3e-4
      config.objective.eval_samples = 50
    if a.quick:
      config.num_epochs, config.log_every, config.checkpoint_every, config.optim.lr = 8, 25, 250, 1e-3
      config.evaluate.importance_sampling.num_samples = 1000
  return config.lock()


def sweep() -> list[dict]:
  """MIWAE and MVAE of half the pixels, IWAE and VAE of all."""
  return [{"arg.k": k, "arg.hide": hide} for hide in ("mcar", "nothing") for k in (50, 1)]

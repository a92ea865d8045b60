"""PixelCNN++ on CIFAR-10: Salimans, Karpathy, Chen & Kingma, "PixelCNN++" (ICLR 2017).

Paper: https://arxiv.org/abs/1701.05517; test NLL in bits per dimension on all of CIFAR-10: 2.92, with 160 features, 5
blocks a scale and days of several GPUs; Gated PixelCNN 3.03, PixelCNN 3.14.  cifar10/small has 4,000 images: its
numbers are comparable with nothing published.  Colours are integers 0 .. 255 with mixtures of ten discretised
logistics; log p is exact.

  python -m dgm_jax.main --config=configs/pixelcnn_cifar10.py --config.data.manual_dir=FOLDER --workdir=runs/cifar
  python -m dgm_jax.main --config=configs/pixelcnn_cifar10.py:data=cifar10/full,features=160,blocks=5 --workdir=FOLDER

Arguments (after the colon, separated by commas):
  net=plusplus    PixelCNN++; plain, gated, row_lstm: PixelCNN, Gated PixelCNN and PixelRNN, whose features belong to
                  colours
  features=H      of a layer, 48 if not given
  blocks=B        of each of three scales (plusplus), or layers; 2 if not given
  classes         class-conditional, p(x|y)
  data=NAME       cifar10/small if not given; other images, or `array` of your own
  quick           minutes: 200 steps of a small network on cifar10/small
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  nets = ("plusplus", "gated", "plain", "row_lstm")
  a = parse(arg, net=nets, features=48, blocks=2, classes=False, data="cifar10/small", quick=False, test=False)
  config, name = base.maximum_likelihood(a), base.data_name(a, "mnist5k" if a.test else "cifar10/small")
  config.data = data_section(name, ("flip", "condition") if a.classes else ("flip",))
  small = {"features": 6, "blocks": 1} if a.test else {"features": 24, "blocks": 1} if a.quick else {}
  args = {"net": a.net, "features": a.features, "blocks": a.blocks} | small
  args |= {"kernel_size": 3, "first_kernel_size": 7, "scales": 3, "num_classes": 10 if a.classes else 0}
  args["dropout"] = 0.5 if a.net == "plusplus" else 0.0
  args |= {"likelihood": "logistic_levels", "likelihood_args": {"num_components": 10, "num_levels": 256}}
  config.model = {"name": "pixelcnn", "args": args}
  config.optim.update(name="adam", lr=1e-3, schedule="cosine", ema_decay=0.999)
  config.evaluate.exact_likelihood.batch_size = config.eval_batch_size = 50
  if a.quick:
    config.batch_size, config.num_steps, config.checkpoint_every = 32, 200, 200
  elif not a.test:
    config.batch_size, config.num_epochs, config.log_every = 32, 40, 25
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})

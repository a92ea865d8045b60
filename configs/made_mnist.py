"""MADE on MNIST: Germain et al., "MADE: Masked Autoencoder for Distribution Estimation" (ICML 2015).

Paper: https://arxiv.org/abs/1502.03509; test NLL in nats on binarized_mnist (Larochelle's fixed draw), table 6: 8,000
units, 1 mask 88.40 ± 0.45; two layers, 32 masks 86.64 ± 0.44; figure 2: 500 units, 1 to 64 masks, 93 to 97.

  python -m dgm_jax.main --config=configs/made_mnist.py --workdir=runs/made
  python -m dgm_jax.main --config=configs/made_mnist.py:hidden=8000,masks=32,layers=2 --workdir=runs/made_32

Arguments (after the colon, separated by commas):
  hidden=H        units of a hidden layer, 500 if not given
  layers=L        hidden layers, 1 if not given
  masks=N         draws of the masks and of the order of the pixels, 1 if not given: the natural order
  data=NAME       binarized_mnist if not given; other images are binarised by fixed draws, or `array` of your own
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=masks, numbers of masks of figure 2.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, hidden=500, layers=1, masks=1, data="binarized_mnist", quick=False, test=False)
  config, name = base.maximum_likelihood(a), base.data_name(a)
  config.data = data_section(name, base.binarize(name, "static"))
  args = {"hidden": (32 if a.test else a.hidden,) * a.layers, "num_masks": a.masks}
  args |= {"ordering": "natural" if a.masks == 1 else "random", "mask_seed": 0}
  config.model = {"name": "made", "args": args | {"activation": "relu", "direct": True, "likelihood": "bernoulli"}}
  config.optim.update(name="adam", lr=1e-3)
  if a.masks == 1 and not a.test:
    config.evaluate.normalisation = {"chunk": 1024}
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_masks() -> list[dict]:
  """The numbers of masks of figure 2."""
  return product({"arg.masks": [1, 2, 4, 8, 16, 32, 64]})

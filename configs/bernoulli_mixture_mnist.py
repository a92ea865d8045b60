"""Mixture of Bernoullis on MNIST, by EM: clusters of digits.

Paper: https://arxiv.org/abs/1502.03509 (Germain et al., 2015), table of test NLL in nats on binarised MNIST (read
second-hand: not verified): 168.95 for C = 10 components, 137.64 for C = 500.

  python -m dgm_jax.main --config=configs/bernoulli_mixture_mnist.py:c=10 --workdir=runs/mixture
  python -m dgm_jax.main --config=configs/bernoulli_mixture_mnist.py:c=500,online --workdir=runs/online

An M-step ends each pass over the data; figures/clusters_*.png are the components by weight.  The numbers of a data set
that is binarised once are those of the binarisation: static, by default.

Arguments (after a colon, by commas):
  c=N             components, 10 if not given
  online          an M-step for each batch of 500 (Cappe & Moulines, 2009)
  data=NAME       binarized_mnist if not given, mnist, or mnist5k
  quick           seconds on 2 cores: mnist5k
  test            seconds: a few steps on mnist5k

Sweeps (scripts/sweep.py): ten starts, lanes of one program; --name=c, components for BIC to choose from.
"""

from ml_collections import ConfigDict, config_dict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_SIZES = {"binarized_mnist": 50_000, "mnist": 60_000, "mnist5k": 4_000}  # training examples
DATA = tuple(_SIZES)
_LARGEST = 10_000  # examples of a step; all these numbers divide among steps of so many


def by_em(data: str, transforms: tuple[str, ...], passes: int, online: bool, test: bool) -> ConfigDict:
  """A config of `passes` over a data set of images by the principle em; its model has yet to be given."""
  config = iwae_mnist.get_config("test" if test else "constant").unlock()
  config.data = data_section(data, transforms=transforms)
  config.principle = "em"
  config.objective = ConfigDict({"update": "online" if online else "batch", "decay": 0.6, "delay": 10.0, "block": 1000})
  config.optim = ConfigDict()  # there is nothing to optimise
  config.batch_size = 500 if online else min(_SIZES[data], _LARGEST)
  config.evaluate = ConfigDict({"selection": {"batch_size": 500}})
  if test:
    config.num_steps, config.batch_size = 40, 100 if online else 400
  else:
    steps = _SIZES[data] // config.batch_size
    config.num_epochs, config.num_steps = passes, config_dict.placeholder(int)
    config.log_every = config.checkpoint_every = steps
    config.checkpoint_every *= max(1, passes // 10)
  return config


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, c=10, online=False, data=DATA, quick=False, test=False)
  data = "mnist5k" if (a.quick or a.test) and "data" not in a.given else a.data
  transforms = () if data == "binarized_mnist" else ("binarize:static",)
  config = by_em(data, transforms, passes=50, online=a.online, test=a.test)
  config.model = ConfigDict({"name": "bernoulli_mixture", "args": {"num_components": a.c}})
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})


def sweep_c() -> list[dict]:
  """Components, three starts each."""
  return product({"arg.c": [5, 10, 20, 50, 100], "seed": range(3)})

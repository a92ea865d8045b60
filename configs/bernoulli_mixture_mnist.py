"""Mixture of Bernoullis on MNIST, by EM: clusters of digits.

Paper: https://arxiv.org/abs/1502.03509 (Germain et al., 2015), table of test NLL in nats on binarised MNIST (as cited
elsewhere, not verified): 168.95 for C = 10 components, 137.64 for C = 500.

  python -m dgm_jax.main --config=configs/bernoulli_mixture_mnist.py:c=10 --workdir=runs/mixture
  python -m dgm_jax.main --config=configs/bernoulli_mixture_mnist.py:c=500,online --workdir=runs/online

An M-step ends each pass over the data; figures/clusters_*.png are the components by weight.  mnist and mnist5k are
binarised once (static), and the results depend on this binarisation.

Arguments (after the colon, separated by commas):
  c=N             components, 10 if not given
  online          an M-step for each batch of 500 (Cappe & Moulines, 2009)
  data=NAME       binarized_mnist if not given, mnist, mnist5k, or array: your own images or binary data
  quick           seconds on 2 cores: mnist5k
  test            seconds: a few steps on mnist5k

Sweeps (python -m dgm_jax sweep): ten starts, lanes of one program; --name=c, numbers of components to compare by BIC.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, c=10, online=False, data=base.sets("binarized_mnist", "mnist", "mnist5k"), quick=False, test=False)
  name = base.data_name(a)
  data = data_section(name, base.binarize(name, "static"))
  config = base.by_em(data, base.NUM_TRAIN.get(name, 0), passes=50, test=a.test, online=a.online)
  config.model = {"name": "bernoulli_mixture", "args": {"num_components": a.c}}
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})


def sweep_c() -> list[dict]:
  """Three starts for each number of components."""
  return product({"arg.c": [5, 10, 20, 50, 100], "seed": range(3)})

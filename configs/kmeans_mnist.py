"""k-means on MNIST: Lloyd's algorithm, started by k-means++.

Paper: https://dl.acm.org/doi/10.5555/1283383.1283494 (Arthur & Vassilvitskii, 2007), which has no number on MNIST; the
distortion is the mean of |x - centre|^2 over grey levels in [0, 1], scikit-learn's inertia over N.  There is no p(x),
and no NLL.

  python -m dgm_jax.main --config=configs/kmeans_mnist.py:c=10 --workdir=runs/kmeans

Arguments (after the colon, separated by commas):
  c=N             centres, 10 if not given
  online          centres move after each batch of 500
  data=NAME       mnist if not given, mnist5k, or array: your own numbers or images, standardised
  quick           seconds on 2 cores: mnist5k
  test            seconds: a few steps on mnist5k

Sweeps (python -m dgm_jax sweep): ten starts, lanes of one program.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, c=10, online=False, data=base.sets("mnist", "mnist5k"), quick=False, test=False)
  name = base.data_name(a)
  data = data_section(name, transforms=base.real(name))
  config = base.by_em(data, base.NUM_TRAIN.get(name, 0), passes=50, test=a.test, online=a.online)
  config.model = {"name": "kmeans", "args": {"num_components": a.c}}
  config.evaluate = ConfigDict({"means": {"batch_size": 500}})
  return config.lock()


def sweep() -> list[dict]:
  """Ten starts."""
  return product({"seed": range(10)})

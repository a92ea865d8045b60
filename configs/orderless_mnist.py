"""Orderless NADE on MNIST: Uria, Murray & Larochelle, "A Deep and Tractable Density Estimator" (ICML 2014).

Paper: https://arxiv.org/abs/1310.1757; test NLL in nats on binarized_mnist, two layers of 500 units: 89.17 with one
order, 87.96 averaged over 2, 85.10 over 128; one layer and one order 92.17.  A number takes 784 passes for each order.

  python -m dgm_jax.main --config=configs/orderless_mnist.py --workdir=runs/orderless
  python -m dgm_jax.main --config=configs/orderless_mnist.py:hide=mcar,quick --workdir=runs/orderless_missing

Arguments (after the colon, separated by commas):
  hidden=H        units of each of two layers, 500 if not given
  orders=N        orders averaged in p(x), 1 if not given
  hide=no|mcar    mcar: half of the pixels are missing, in training and evaluation
  data=NAME       binarized_mnist if not given; other images are binarised by fixed draws, or `array` of your own
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k

A sweep (python -m dgm_jax sweep): learning rates, lanes of one program.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, hidden=500, orders=1, hide=("no", "mcar"), data="binarized_mnist", quick=False, test=False)
  config, name = base.maximum_likelihood(a), base.data_name(a)
  config.data = data_section(name, base.binarize(name, "static") + ("mcar",) * (a.hide == "mcar"))
  args = {"hidden": (16,) if a.test else (a.hidden, a.hidden), "activation": "relu"}
  config.model = {"name": "orderless", "args": args | {"orders": a.orders, "order_seed": 0, "likelihood": "bernoulli"}}
  config.optim.update(name="adam", lr=1e-3)
  if a.orders == 1 and a.hide == "no" and a.data != "array" and not a.test:  # own data may have missing entries
    config.evaluate.normalisation = {"chunk": 1024}
  if not a.test:
    config.batch_size = 100 if a.quick else 1000  # as in the paper: 200 times 1000 updates
    config.num_steps = 4000 if a.quick else 200_000
    config.eval_every = config.num_steps // 4  # an evaluation takes as long as hundreds of steps
    config.figures_every = config.num_steps // 2
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})

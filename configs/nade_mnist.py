"""NADE on MNIST: Larochelle & Murray, "The Neural Autoregressive Distribution Estimator" (AISTATS 2011).

Paper: https://proceedings.mlr.press/v15/larochelle11a.html; test NLL 88.86 nats on binarized_mnist with 500 units; in
later runs (Uria, Murray & Larochelle, 2014) 88.33 with ReLU, 88.35 with sigmoid.

  python -m dgm_jax.main --config=configs/nade_mnist.py --workdir=runs/nade

Arguments (after the colon, separated by commas):
  hidden=H        units, 500 if not given
  f=sigmoid|relu  their activation
  ordering=NAME   natural, reversed or random, of the pixels
  data=NAME       binarized_mnist if not given; other images are binarised by fixed draws, or `array` of your own
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=orders, four random orders.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  orders = ("natural", "reversed", "random")
  a = parse(
    arg, hidden=500, f=("sigmoid", "relu"), ordering=orders, data="binarized_mnist", quick=False, test=False
  )  # fmt: skip
  config, name = base.maximum_likelihood(a), base.data_name(a)
  config.data = data_section(name, base.binarize(name, "static"))
  args = {"num_hidden": 16 if a.test else a.hidden, "activation": a.f, "ordering": a.ordering, "order_seed": 0}
  config.model = {"name": "nade", "args": args | {"likelihood": "bernoulli"}}
  config.optim.update(name="adam", lr=1e-3)
  if not a.test:
    config.evaluate.normalisation = {"chunk": 1024}
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_orders() -> list[dict]:
  """Four random orders of the pixels."""
  return product({"arg.ordering": ["random"], "model.args.order_seed": range(4)})

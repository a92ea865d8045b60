"""The toy y = x^3 + noise of Hernandez-Lobato & Adams, "Probabilistic Backpropagation" (ICML 2015), section 5.3.

Paper: https://arxiv.org/abs/1502.05336, and https://arxiv.org/abs/1612.01474 (Lakshminarayanan et al., 2017), figure 1:
20 x ~ U[-4, 4), noise N(0, 9), one hidden layer of 100 units; how wide are the bands where there are no data?  No
numbers are published; the noise alone has NLL log(3 sqrt(2 pi e)) = 2.52.

  python -m dgm_jax.main --config=configs/cubic_toy.py:method=net --workdir=runs/cubic
  python -m dgm_jax reproduce lakshminarayanan2017 --figure=1

Arguments (after the colon, separated by commas):
  method=NAME     net      N(y; m(x), s(x)^2), maximum likelihood; several seeds are a deep ensemble
                  mse      N(y; m(x), 1) of standardised y: squared errors; an ensemble's bands are its members' spread
                  dropout  MC dropout: N(y; m(x), s^2), 10 % of the units dropped
                  bayes    Bayes by backprop with the known variance of the noise, prior N(0, 1)
  data=cubic      the toy; for your own table there is configs/uci_regression.py
  quick           no effect: a full run is quick
  test            seconds: a few steps

Full batches, 2,000 steps of Adam.  Sweep (python -m dgm_jax sweep): five members of an ensemble.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.configs.uci_regression import regression_args
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, method=("net", "mse", "dropout", "bayes"), data=base.sets("cubic"), quick=False, test=False)
  errors.require(
    a.data == "cubic",
    "The config cubic_toy knows the noise of its toy y = x^3; for your own table take uci_regression:data=array.",
  )
  data = data_section("cubic", transforms=("standardize", "standardize_targets"))
  args = regression_args("net" if a.method == "mse" else a.method, width=100)
  if a.method == "mse":
    args |= {"likelihood": "gaussian_fixed", "likelihood_args": {"scale": 1.0}}
  if a.method == "dropout":
    args["dropout"] = 0.1
  if a.method == "bayes":  # the noise's 3 over the standard deviation of y, about 25: E[x^6] = 585
    args |= {"likelihood": "gaussian_fixed", "likelihood_args": {"scale": 0.12}}
  config = base.supervised(data, args, draws=1 if a.method in ("net", "mse") else 500)
  config.optim.lr = 1e-2
  if a.test:
    base.shrink(config, batch_size=20)
  else:
    config.batch_size, config.num_steps, config.log_every = 20, 2000, 500
  return config.lock()


def sweep() -> list[dict]:
  """Five members of a deep ensemble, lanes of one program."""
  return product({"seed": range(5)})

"""The toy y = x^3 + noise of Hernandez-Lobato & Adams, "Probabilistic Backpropagation" (ICML 2015), section 5.3.

Paper: https://arxiv.org/abs/1502.05336, and https://arxiv.org/abs/1612.01474 (Lakshminarayanan et al., 2017), figure 1:
20 x ~ U[-4, 4), noise N(0, 9), one hidden layer of 100 units; how wide are the bands where there are no data?  No
numbers are published; the noise alone has NLL log(3 sqrt(2 pi e)) = 2.52.

  python -m dgm_jax.main --config=configs/cubic_toy.py:method=net --workdir=runs/cubic
  python -m experiments.reproduce lakshminarayanan2017 --figure=1

Arguments (after a colon, by commas):
  method=NAME     net      N(y; m(x), s(x)^2), maximum likelihood; several seeds are a deep ensemble
                  mse      N(y; m(x), 1) of standardised y: squared errors; its ensemble's bands are the members' spread
                  dropout  MC dropout: N(y; m(x), s^2), 10 % of the units dropped
                  bayes    Bayes by backprop, of the noise that is known, prior N(0, 1)
  quick           what it says is quick: the same
  test            seconds: a few steps

Full batches, 2,000 steps of Adam.  Sweep (scripts/sweep.py): five members.
"""

from ml_collections import ConfigDict

from configs.uci_regression import regression_args, supervised
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, method=("net", "mse", "dropout", "bayes"), quick=False, test=False)
  data = data_section("cubic", transforms=("standardize", "standardize_targets"))
  args = regression_args("net" if a.method == "mse" else a.method, 100)
  if a.method == "mse":
    args |= {"likelihood": "gaussian_fixed", "likelihood_args": {"scale": 1.0}}
  if a.method == "dropout":
    args["dropout"] = 0.1
  if a.method == "bayes":  # 3 in units of y is a tenth of its standard deviation: E[x^6] = 585
    args |= {"likelihood": "gaussian_fixed", "likelihood_args": {"scale": 0.12}}
  config = supervised(data, args, 1 if a.method in ("net", "mse") else 500, a.test)
  config.optim.lr = 1e-2
  config.batch_size = 20
  if not a.test:
    config.num_steps, config.log_every = 2000, 500
  return config.lock()


def sweep() -> list[dict]:
  """Five members of a deep ensemble, lanes of one program."""
  return product({"seed": range(5)})

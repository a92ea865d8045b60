"""Regression of UCI tables: the protocol of Hernandez-Lobato & Adams, "Probabilistic Backpropagation" (ICML 2015).

Paper: https://arxiv.org/abs/1502.05336 (the protocol), https://arxiv.org/abs/1506.02142 (Gal & Ghahramani, 2016, MC
dropout) and https://arxiv.org/abs/1612.01474 (Lakshminarayanan et al., 2017, deep ensembles): 20 random splits of 90
and 10 %, one hidden layer of 50 ReLU units (protein: 100), 40 epochs.  Published, over the splits:

             concrete RMSE     NLL             red wine RMSE    NLL
  PBP        5.667 +- 0.093    3.161 +- 0.019  0.635 +- 0.008   0.968 +- 0.014   +- standard error
  MC dropout 5.23 +- 0.53      3.04 +- 0.09    0.62 +- 0.04     0.93 +- 0.06     +- standard deviation
  ensembles  6.03              3.06            0.64             0.94             M = 5

  python -m dgm_jax.main --config=configs/uci_regression.py:data=concrete,split=3 --workdir=runs/uci
  python -m dgm_jax reproduce lakshminarayanan2017 --table=1

Arguments (after the colon, separated by commas):
  data=NAME       concrete if not given; red or wine (the same rows), white, boston, energy, ...: the tables of numbers
                  of dgm_jax/data/README.md; or array: your own table, whose column --config.data.target=NAME is y
  method=NAME     net      N(y; m(x), s(x)^2), maximum likelihood; several seeds are a deep ensemble (dgm_jax ensemble)
                  dropout  MC dropout: N(y; m(x), s^2) with one learned s, units dropped, weight decay, 400 epochs
                  bayes    Bayes by backprop: the same likelihood, w ~ q(w), prior N(0, 1), 400 epochs
                  linear   Bayes by backprop without hidden units
  split=N         number of the random split, 0 if not given; the published splits are others
  quick           no effect: a full run is quick
  test            seconds: a few steps on the toy y = x^3

x and y are standardised by the training split; RMSE and NLL are those of y in its own units.  Learning rates, batch
sizes and the epochs of dropout and bayes are not from the papers.  Sweeps (python -m dgm_jax sweep): five members of an
ensemble; --name=splits, 20 splits.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

TABLES = ("concrete", "red", "wine", "white", "boston", "energy", "kin8nm", "naval", "power", "protein", "yacht")
METHODS = ("net", "dropout", "bayes", "linear")


def regression_args(method: str, width: int) -> dict:
  """config.model.args for one of METHODS, with a hidden layer of `width` units."""
  args = {"hidden": () if method == "linear" else (width,), "net": "mlp", "dropout": 0.0, "weights": "point"}
  if method == "net":
    return args | {"likelihood": "gaussian_softplus"}
  args |= {"likelihood": "gaussian_shared"}
  if method == "dropout":
    return args | {"dropout": 0.05}
  return args | {"weights": "normal", "prior_scales": (1.0,), "prior_share": 0.5, "initial_scale": 0.02}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, data=base.sets(*TABLES), method=METHODS, split=0, quick=False, test=False)
  name = "array" if a.data == "array" else "cubic" if a.test else f"uci/{a.data}"
  data = data_section(name, transforms=("standardize", "standardize_targets"))
  data.split_seed = a.split
  args = regression_args(a.method, 100 if a.data == "protein" else 50)
  config = base.supervised(data, args, draws=1 if a.method == "net" else 1000)
  config.optim.lr = 1e-2
  if a.method == "dropout":
    config.optim.weight_decay = 1e-3
  if a.test:
    base.shrink(config, batch_size=20)
  else:
    config.batch_size = 32
    config.num_epochs, config.log_every = (40, 100) if a.method == "net" else (400, 1000)
  return config.lock()


def sweep() -> list[dict]:
  """Five members of a deep ensemble, lanes of one program."""
  return product({"seed": range(5)})


def sweep_splits() -> list[dict]:
  """The 20 splits, each with its own seed."""
  return [{"arg.split": i, "seed": i} for i in range(20)]

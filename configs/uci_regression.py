"""Regression of UCI tables: the protocol of Hernandez-Lobato & Adams, "Probabilistic Backpropagation" (ICML 2015).

Paper: https://arxiv.org/abs/1502.05336 (the protocol), https://arxiv.org/abs/1506.02142 (Gal & Ghahramani, 2016, MC
dropout) and https://arxiv.org/abs/1612.01474 (Lakshminarayanan et al., 2017, deep ensembles): 20 random splits of 90
and 10 %, one hidden layer of 50 ReLU units (protein: 100), 40 epochs.  Published, over the splits:

             concrete RMSE     NLL             red wine RMSE    NLL
  PBP        5.667 +- 0.093    3.161 +- 0.019  0.635 +- 0.008   0.968 +- 0.014   +- standard error
  MC dropout 5.23 +- 0.53      3.04 +- 0.09    0.62 +- 0.04     0.93 +- 0.06     +- standard deviation
  ensembles  6.03              3.06            0.64             0.94             M = 5

  python -m dgm_jax.main --config=configs/uci_regression.py:data=concrete,split=3 --workdir=runs/uci
  python -m experiments.reproduce lakshminarayanan2017 --table=1

Arguments (after a colon, by commas):
  data=NAME       concrete if not given; red or wine (the same rows), white, boston, energy, ...: the tables of numbers
                  of dgm_jax/data/README.md
  method=NAME     net      N(y; m(x), s(x)^2), maximum likelihood; several seeds are a deep ensemble (dgm_jax ensemble)
                  dropout  MC dropout: N(y; m(x), s^2) with one learned s, units dropped, weight decay, 400 epochs
                  bayes    Bayes by backprop: the same likelihood, w ~ q(w), prior N(0, 1), 400 epochs
                  linear   Bayes by backprop without hidden units
  split=N         which random split, 0 if not given; the published indices are not these
  quick           what the protocol says is quick: the same
  test            seconds: a few steps on the toy y = x^3

x and y are standardised by the training split; RMSE and NLL are of y in its own units.  Rates, batches and the epochs
of dropout and bayes are ours.  Sweeps (scripts/sweep.py): five members; --name=splits, 20 splits.
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.principles.supervised import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers
from dgm_jax.training.build import data_section

TABLES = ("concrete", "red", "wine", "white", "boston", "energy", "kin8nm", "naval", "power", "protein", "yacht")
METHODS = ("net", "dropout", "bayes", "linear")


def supervised(data: ConfigDict, args: dict, draws: int, test: bool) -> ConfigDict:
  """What the configs of principle `likelihood` share; not locked.

  Args:
    data: config.data.
    args: of the model.
    draws: of w in a prediction of the final evaluation.
    test: seconds.
  """
  config = iwae_mnist.get_config("constant").unlock()
  config.data = data
  config.model = ConfigDict({"name": "predictor", "args": args})
  config.principle = "supervised"
  config.objective = ConfigDict(Options(eval_samples=min(draws, 10))._asdict())
  config.optim = ConfigDict(optimisers.Options()._asdict())
  config.eval_batch_size, config.checkpoint_every = 1000, 0
  predictive = {"num_samples": draws, "batch_size": 500, "num_bins": 15, "rotation": 0.0, "shifted": ""}
  config.evaluate = ConfigDict({"predictive": predictive})
  if test:
    config.batch_size, config.num_steps, config.log_every = 20, 40, 10
    config.checkpoint_every, config.eval_every, config.figures_every = 20, 20, 40
    config.objective.eval_samples = min(draws, 2)
    config.evaluate.predictive.num_samples = min(draws, 5)
  return config


def regression_args(method: str, width: int) -> dict:
  """config.model.args of a method, with one hidden layer."""
  args = {"hidden": () if method == "linear" else (width,), "net": "mlp", "dropout": 0.0, "weights": "point"}
  if method == "net":
    return args | {"likelihood": "gaussian_softplus"}
  args |= {"likelihood": "gaussian_shared"}
  if method == "dropout":
    return args | {"dropout": 0.05}
  return args | {"weights": "normal", "prior_scales": (1.0,), "prior_share": 0.5, "initial_scale": 0.02}


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, data=TABLES, method=METHODS, split=0, quick=False, test=False)
  data = data_section("cubic" if a.test else f"uci/{a.data}", transforms=("standardize", "standardize_targets"))
  data.split_seed = a.split
  config = supervised(
    data, regression_args(a.method, 100 if a.data == "protein" else 50), 1 if a.method == "net" else 1000, a.test
  )
  config.optim.lr = 1e-2
  if a.method == "dropout":
    config.optim.weight_decay = 1e-3
  if not a.test:
    config.batch_size, config.num_epochs = 32, 40 if a.method == "net" else 400
    config.log_every = 100 if a.method == "net" else 1000
  return config.lock()


def sweep() -> list[dict]:
  """Five members of a deep ensemble, lanes of one program."""
  return product({"seed": range(5)})


def sweep_splits() -> list[dict]:
  """The 20 splits, a seed each."""
  return [{"arg.split": i, "seed": i} for i in range(20)]

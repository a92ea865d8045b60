"""MADE with mixtures of normals on UCI tables: the density estimators of Uria et al., RNADE, on red and white wine.

Paper: https://arxiv.org/abs/1310.1757 (Uria, Murray & Larochelle, "A Deep and Tractable Density Estimator", ICML 2014);
test NLL in nats of standardised columns, over ten folds of 90 and 10 %:

                              red wine   white wine
  Gaussian                    13.18      13.20
  mixture of factor analysers 10.19      10.73
  RNADE, fixed order          9.36       10.23
  RNADE, two hidden layers    9.63       10.23

  python -m dgm_jax.main --config=configs/made_uci.py:data=red,fold=3 --workdir=runs/made_red

`log_px_transformed` has the units of the table, `nll` those of the columns before they are standardised.

Arguments (after the colon, separated by commas):
  data=NAME       red if not given; white, banknote, breast, concrete, yeast, or array: your own table of numbers
  components=C    normals for each conditional, 10 if not given
  hidden=H        units of a hidden layer, 100 if not given
  layers=L        hidden layers, 1 if not given
  masks=N         draws of the masks and of the order of the columns, 1 if not given: the natural order
  fold=I          0 to 9: which tenth of the rows is the test set, 0 if not given; the published folds are others
  quick           no effect: a full run takes a minute
  test            seconds: a few steps of a small network on the grey levels of mnist5k

A tenth of the rows are for validation: a run keeps the checkpoint that is best on them.  The units are tanh, whose
bounded values keep the conditionals of outlying rows in range, as linear connections from the inputs would not.

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=folds, ten folds, lanes of
one program.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_TABLES = ("red", "white", "banknote", "breast", "concrete", "yeast")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  sizes = {"components": 10, "hidden": 100, "layers": 1, "masks": 1, "fold": 0}
  a = parse(arg, data=base.sets(*_TABLES), quick=False, test=False, **sizes)
  a.quick = False
  config, own = base.maximum_likelihood(a), a.data == "array"
  if own:
    config.data = data_section("array", ("standardize",))
  elif a.test:
    config.data = data_section("mnist5k", ("scale",))
  else:
    config.data = data_section(f"uci/{a.data}", ("standardize",))
    config.data.update(folds=10, fold=a.fold, valid_fraction=0.1)
  args = {"hidden": (16 if a.test else a.hidden,) * a.layers, "num_masks": a.masks}
  args |= {"ordering": "natural" if a.masks == 1 else "random", "mask_seed": 0, "activation": "tanh", "direct": False}
  likelihood = {"likelihood": "gaussian_mixture", "likelihood_args": {"num_components": 2 if a.test else a.components}}
  config.model = {"name": "made", "args": args | likelihood}
  config.optim.update(name="adam", lr=3e-3, weight_decay=1.0)
  if not own and not a.test:
    config.batch_size, config.num_steps, config.log_every, config.eval_every = 100, 2000, 50, 50
    config.keep_best, config.checkpoint_every, config.figures_every = "valid/log_px", 1000, 2000
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_folds() -> list[dict]:
  """The ten folds, each with its own seed."""
  return [{"arg.fold": i, "seed": i} for i in range(10)]

"""MADE on sets of binary vectors: Germain et al., "MADE: Masked Autoencoder for Distribution Estimation" (ICML 2015).

Paper: https://arxiv.org/abs/1502.03509; test NLL in nats, table 4, with the splits of Larochelle & Murray (2011):

            mushrooms   dna      nips
  MADE      9.68        83.63    280.25
  ... with mask sampling 9.69    79.66    275.92   (supplement)

  python -m dgm_jax.main --config=configs/made_binary.py:data=dna --workdir=runs/made_dna
  python -m dgm_jax.main --config=configs/made_binary.py:data=nips,masks=32 --workdir=runs/made_nips

Arguments (after the colon, separated by commas):
  data=NAME       mushrooms if not given; dna, nips, nltcs, plants, ...: the sets binary/NAME of dgm_jax/data/README.md,
                  or array: your own binary table
  hidden=H        units of a hidden layer, 500 if not given
  layers=L        hidden layers, 1 if not given
  masks=N         draws of the masks and of the order of the columns, 1 if not given: the natural order
  quick           no effect: a full run takes a minute or so
  test            seconds: a few steps of a small network on mnist5k, binarised

A run ends after 30 epochs without a better validation set, as in the paper, and keeps the checkpoint that was best on
it: `evaluate --checkpoint=best` has its test NLL, results.json that of the last epoch.  Adam replaces Adadelta.

Sweeps (python -m dgm_jax sweep): learning rates and weight decay, lanes of one program; --name=masks, numbers of masks.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

ROWS = {"mushrooms": 2000, "dna": 1400, "nips": 400, "nltcs": 16181, "plants": 17412, "baudio": 15000}
ROWS |= {"bnetflix": 15000, "jester": 9000, "accidents": 12758, "pumsb_star": 12262, "dna_debd": 1600}
ROWS |= {"moviereview": 1600, "bbc": 1670, "voting": 1214}  # of the training sets


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, hidden=500, layers=1, masks=1, data=base.sets(*ROWS), quick=False, test=False)
  a.quick = False
  config = base.maximum_likelihood(a)
  if a.data == "array":
    config.data = data_section("array")
  else:
    config.data = data_section("mnist5k", ("binarize:static",)) if a.test else data_section(f"binary/{a.data}")
  args = {"hidden": (32 if a.test else a.hidden,) * a.layers, "num_masks": a.masks}
  args |= {"ordering": "natural" if a.masks == 1 else "random", "mask_seed": 0}
  config.model = {"name": "made", "args": args | {"activation": "relu", "direct": True, "likelihood": "bernoulli"}}
  config.optim.update(name="adam", lr=3e-3, weight_decay=0.1)
  if a.masks == 1 and not a.test:
    config.evaluate.normalisation = {"chunk": 1024}
  if a.data in ROWS and not a.test:
    config.log_every = config.eval_every = ROWS[a.data] // 100
    config.num_epochs, config.early_stopping, config.keep_best = 1000, 30, "valid/log_px"
    config.checkpoint_every = config.figures_every = 100 * config.eval_every
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates and weight decay."""
  return product({"optim.lr": [1e-3, 3e-3], "optim.weight_decay": [0.01, 0.1, 0.3]})


def sweep_masks() -> list[dict]:
  """Numbers of masks."""
  return product({"arg.masks": [1, 8, 16, 32]})

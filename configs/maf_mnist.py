"""MAF on MNIST: Papamakarios et al., "Masked Autoregressive Flow for Density Estimation" (NIPS 2017).

Paper: https://arxiv.org/abs/1705.07057; table 2, test log-likelihood in nats of logit(1e-6 + (1 - 2e-6) x), without and
with the class (the latter is log 1/10 sum_y p(x|y)): minus the NLL on that scale, test/log_px_transformed here, a bound
because of the noise.

             Gaussian  MADE     MADE MoG  RealNVP(5)  RealNVP(10)  MAF(5)   MAF(10)  MAF MoG(5)
  without    -1366.9   -1380.8  -1038.5   -1323.2     -1370.7      -1300.5  -1313.1  -1100.3
  with       -1344.7   -1361.9  -1030.3   -1326.3     -1371.3      -1302.9  -1316.8  -1092.3

Settings are the paper's: x + u in [0, 256) divided by 256, two hidden layers of 1,024, batch normalisation after every
layer, Adam with 1e-4 (MADE, with or without MoG: 1e-3) in batches of 100, l2 1e-6, early stopping after 30 epochs; the
last 10,000 training digits are the validation set.  Differences: noise is drawn anew at every use, not once; log-scales
are bounded; the weights of the last layers start at 0.

  python -m dgm_jax.main --config=configs/maf_mnist.py --workdir=runs/maf
  python -m dgm_jax.main --config=configs/maf_mnist.py:condition,base=mog --workdir=runs/maf_mog_given_y
  python -m dgm_jax.main --config=configs/maf_mnist.py:layers=1,norm=none --workdir=runs/made   # the row MADE
  python -m dgm_jax.main --config=configs/maf_mnist.py:layers=0,base=mog --workdir=runs/made_mog

Arguments (after the colon, separated by commas):
  layers=T        5 if not given; 0 with base=mog: the MADE alone
  kind=autoregressive|coupling   of the layers; coupling of halves of the pixels: RealNVP, see realnvp_mnist, too
  hidden=H        units of each of two hidden layers, 1,024 if not given
  base=normal|mog noise: N(0, I), or a MADE whose conditionals are mixtures of ten normals
  norm=batch|act|none   after each layer
  condition       p(x|y)
  data=NAME       mnist if not given, or fashion_mnist, other images of integers, or `array`, a table (standardised)
  quick           4,000 steps of a network of 256 units on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=layers, 1 to 10 layers.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def of_logits(a) -> ConfigDict:
  """A flow of dequantised grey levels on the logit scale; config.model is left to the caller.

  Args:
    a: the arguments `data`, `condition`, `quick` and `test`.
  """
  config, name = base.maximum_likelihood(a), base.data_name(a)
  transforms = ("standardize",) if name == "array" else ("dequantize:levels=256", "logit:alpha=1e-6")
  config.data = data_section(name, (*transforms, *(["condition"] if a.condition else [])))
  if "valid_size" in config.data and not (a.quick or a.test):
    config.data.valid_size = 10_000
  config.evaluate.exact_likelihood.classes = "uniform" if a.condition else ""
  config.evaluate.invertibility = {"num_examples": 20 if a.test else 1000, "layers": True}
  config.optim.update(name="adam", lr=1e-3 if a.test else 1e-4, l2=1e-6)
  if not (a.quick or a.test):
    config.num_epochs, config.log_every, config.eval_every, config.checkpoint_every = 1000, 0, 0, 0
    config.keep_best, config.early_stopping = "valid/log_px", 30
  return config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, layers=5, kind=("autoregressive", "coupling"), hidden=1024, base=("normal", "mog"),
    norm=("batch", "act", "none"), condition=False, data="mnist", quick=False, test=False,
  )  # fmt: skip
  errors.require(a.layers > 0 or a.base == "mog", "layers=0 needs base=mog.")
  config = of_logits(a)
  if a.layers == 0 or (a.layers == 1 and a.kind == "autoregressive" and a.base == "normal"):
    config.optim.lr = 1e-3  # a MADE
  width = 16 if a.test else 256 if a.quick and "hidden" not in a.given else a.hidden
  mixture = {"hidden": (width, width), "likelihood_args": {"num_components": 2 if a.test else 10}}
  if a.layers == 0:
    net = {"likelihood": "gaussian_mixture", "activation": "relu", "direct": False, "num_classes": 10 * a.condition}
    config.model = {"name": "made", "args": net | mixture}
    del config.evaluate["invertibility"]
    return config.lock()
  layer = {"transform": "affine", "hidden": (width, width), "activation": "relu"}
  if a.kind == "autoregressive":
    layer["inverse"] = "jacobi"
  args = {"layer": a.kind, "num_layers": min(a.layers, 2) if a.test else a.layers, "layer_args": layer}
  args |= {"permutation": "none", "norm": a.norm, "base": "normal", "base_args": {}, "num_classes": 10 * a.condition}
  if a.base == "mog":
    args |= {"base": "made", "base_args": mixture}
  config.model = {"name": "flow", "args": args}
  if a.norm == "batch":
    config.evaluate.exact_likelihood.statistics = "train"
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-5, 1e-4, 3e-4]})


def sweep_layers() -> list[dict]:
  """Numbers of layers."""
  return product({"arg.layers": [1, 2, 5, 10]})

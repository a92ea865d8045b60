"""Flows on tables: affine or spline, coupling or autoregressive (Papamakarios et al., 2017; Durkan et al., 2019).

Paper: https://arxiv.org/abs/1906.04032, table 1 of "Neural Spline Flows" (NeurIPS 2019), and of MAF,
https://arxiv.org/abs/1705.07057: test log-likelihood in nats, minus test/nll (the MAF sets are used as published,
without a Jacobian, so that NLL and log_px are those of the tables):

                      power   gas    hepmass  miniboone  bsds300
  Gaussian            -7.74   -3.58  -27.93   -37.24      96.67
  MADE                -3.08    3.56  -20.98   -15.59     148.85
  RealNVP (10)         0.17    8.33  -18.71   -13.84     153.28
  MAF (5)              0.14    9.07  -17.70   -11.75     155.69
  MAF, later          0.45   12.35  -17.03   -10.92     156.95
  RQ-NSF (C)           0.64   13.09  -14.75    -9.67     157.54
  RQ-NSF (AR)          0.66   13.09  -14.01    -9.22     157.31

Settings as in the second paper, at the defaults of its code: 10 layers, LU-decomposed linear maps, two residual blocks
of 256 units, 8 bins on [-3, 3], Adam with 3e-4 and a cosine schedule, gradients clipped at 5.  The paper tunes them for
each set, and has dropout, which is not used here.  With recipe=maf they are those of the first paper: affine maps, two
hidden layers of 100 units (power, gas) or 512, tanh units for gas, batch normalisation after every layer, Adam with
1e-4 (MADE: 1e-3) in batches of 100, l2 1e-6, until 30 epochs are not better on the validation set.  The wines of the
UCI repository are standardised.

  python -m dgm_jax.main --config=configs/flow_uci.py:data=maf/power --config.data.manual_dir=FOLDER --workdir=runs/nsf
  python -m dgm_jax.main --config=configs/flow_uci.py:transform=affine,kind=autoregressive,data=uci/red --workdir=runs/x
  python -m dgm_jax.main --config=configs/flow_uci.py:recipe=maf,kind=autoregressive,quick --workdir=runs/maf_of_wine
  python -m dgm_jax.main --config=configs/flow_uci.py:condition=alcohol+pH,quick --workdir=runs/given

Arguments (after the colon, separated by commas):
  recipe=nsf|maf  the settings of which paper, see above; maf takes affine maps
  transform=spline|affine|mixture   mixture: of logistics
  kind=coupling|autoregressive
  layers=T        10 if not given, 5 with recipe=maf, whose MADE is layers=1; 0 with base=mog: MADE MoG
  hidden=H        units of the hidden layers, see above
  base=normal|mog of recipe=maf: noise N(0, I), or a MADE whose conditionals are mixtures of ten normals
  data=NAME       uci/white if not given, other tables uci/..., maf/power, maf/gas, maf/hepmass, maf/miniboone,
                  maf/bsds300, or `array`, your own table; standardised except maf/...
  condition=A+B   columns that the others are given, p(x|A, B), by name or index from 0; standardised
  quick           4,000 steps of a network of 64 units
  test            seconds: a few steps of a small network on the grey levels of mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=kinds, all four flows of the paper.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def _of_maf(a, config: ConfigDict, name: str) -> None:
  """Sets model and training as in Papamakarios et al. (2017)."""
  layers = a.layers if "layers" in a.given else 5
  errors.require(layers > 0 or a.base == "mog", "layers=0 needs base=mog.")
  of_paper = 64 if a.quick else 100 if name in ("maf/power", "maf/gas") else 512
  width = 8 if a.test else a.hidden if "hidden" in a.given else of_paper
  net = {"hidden": (width, width), "activation": "tanh" if name == "maf/gas" else "relu"}
  mixture = net | {"likelihood": "gaussian_mixture", "likelihood_args": {"num_components": 2 if a.test else 10}}
  if layers == 0:
    config.model = {"name": "made", "args": mixture | {"direct": False}}
  else:
    norm = "batch" if layers > 1 or a.base == "mog" else "none"
    args = {"layer": a.kind, "num_layers": min(layers, 2) if a.test else layers, "permutation": "none", "norm": norm}
    args |= {"base": "made", "base_args": mixture} if a.base == "mog" else {"base": "normal"}
    config.model = {"name": "flow", "args": args | {"layer_args": net | {"transform": "affine"}}}
    config.evaluate.exact_likelihood.statistics = "train" if norm == "batch" else ""
    config.evaluate.invertibility = {"num_examples": 20 if a.test else 1000, "layers": True}
  config.optim.update(name="adam", lr=1e-4 if layers > 1 and not a.test else 1e-3, l2=1e-6)
  if not (a.test or a.quick):
    config.batch_size = 100
    config.num_epochs, config.log_every, config.eval_every, config.checkpoint_every = 1000, 0, 0, 0
    config.keep_best, config.early_stopping = "valid/log_px", 30


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  transforms, kinds = ("spline", "affine", "mixture"), ("coupling", "autoregressive")
  a = parse(
    arg, recipe=("nsf", "maf"), transform=transforms, kind=kinds, layers=10, hidden=256, base=("normal", "mog"),
    data="uci/white", condition="", quick=False, test=False,
  )  # fmt: skip
  of_maf = a.recipe == "maf"
  errors.require(of_maf or a.base == "normal", "base=mog is of recipe=maf.")
  errors.require(
    not of_maf or "transform" not in a.given or a.transform == "affine", "recipe=maf takes transform=affine alone."
  )
  config = base.maximum_likelihood(a)
  small = a.test and "data" not in a.given
  name = "mnist5k" if small else a.data
  steps = () if name.startswith("maf/") else ("dequantize", "logit:alpha=0.05") if small else ("standardize",)
  config.data = data_section(name, (*([f"condition:columns={a.condition}"] if a.condition else []), *steps))
  if of_maf:
    _of_maf(a, config, name)
    return config.lock()
  width = 8 if a.test else 64 if a.quick and "hidden" not in a.given else a.hidden
  layer = {"hidden": (width,) * (1 if a.test else 5), "activation": "relu", "residual": True}
  layer["transform"] = {"mixture": "logistic_mixture"}.get(a.transform, a.transform)
  layer["transform_args"] = {
    "spline": {"num_bins": 3 if a.test else 8, "bound": 3.0},
    "affine": {"max_log_scale": 7.0},
    "mixture": {"num_components": 2 if a.test else 8},
  }[a.transform]
  args = {"layer": a.kind, "num_layers": 2 if a.test else a.layers, "layer_args": layer}
  config.model = {"name": "flow", "args": args | {"permutation": "lu", "norm": "none", "base": "normal"}}
  config.optim.update(name="adam", lr=1e-3 if a.test else 3e-4, schedule="cosine", clip_norm=5.0)
  config.evaluate.invertibility = {"num_examples": 20 if a.test else 1000, "layers": True}
  if not a.test:
    config.batch_size, config.num_steps = 64, 4000 if a.quick else 200_000
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [1e-4, 3e-4, 1e-3]})


def sweep_kinds() -> list[dict]:
  """Affine and spline, coupling and autoregressive."""
  return product({"arg.transform": ["affine", "spline"], "arg.kind": ["coupling", "autoregressive"]})

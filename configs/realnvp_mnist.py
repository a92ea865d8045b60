"""RealNVP of vectors on MNIST, as in "Masked Autoregressive Flow for Density Estimation" (Papamakarios et al., 2017).

Paper: https://arxiv.org/abs/1705.07057; table 2, test log-likelihood in nats (minus NLL) of logit(1e-6 + (1 - 2e-6) x),
as test/log_px_transformed, without and with the class: 5 layers -1323.2 and -1326.3, 10 layers -1370.7 and -1371.3; the
other rows stand in configs/maf_mnist.py.  The couplings are those of Dinh et al., "Density Estimation Using Real NVP"
(ICLR 2017), https://arxiv.org/abs/1605.08803, of halves of the pixels here.

Settings and differences as in configs/maf_mnist.py; here one network gives log-scale and shift, with relu.

  python -m dgm_jax.main --config=configs/realnvp_mnist.py --workdir=runs/realnvp
  python -m dgm_jax.main --config=configs/realnvp_mnist.py:layers=10,condition --workdir=runs/realnvp_given_y

Arguments (after the colon, separated by commas):
  layers=T        5 if not given
  hidden=H        units of each of two hidden layers, 1,024 if not given
  transform=affine|additive|spline   of the transformed half; additive: NICE
  norm=batch|act|none   after each layer
  condition       p(x|y)
  data=NAME       mnist if not given, or fashion_mnist, other images of integers, or `array`, a table (standardised)
  quick           4,000 steps of a network of 256 units on mnist5k
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program.
"""

from ml_collections import ConfigDict

from dgm_jax.configs.maf_mnist import of_logits
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  transforms = ("affine", "additive", "spline")
  a = parse(
    arg, layers=5, hidden=1024, transform=transforms, norm=("batch", "act", "none"), condition=False, data="mnist",
    quick=False, test=False,
  )  # fmt: skip
  config = of_logits(a)
  width = 16 if a.test else 256 if a.quick and "hidden" not in a.given else a.hidden
  layer = {"transform": a.transform, "hidden": (width, width), "activation": "relu"}
  if a.transform == "spline":
    layer["transform_args"] = {"num_bins": 3 if a.test else 8, "bound": 5.0}
  args = {"layer": "coupling", "num_layers": min(a.layers, 2) if a.test else a.layers, "layer_args": layer}
  args |= {"permutation": "none", "norm": a.norm, "base": "normal", "num_classes": 10 * a.condition}
  config.model = {"name": "flow", "args": args}
  if a.norm == "batch":
    config.evaluate.exact_likelihood.statistics = "train"
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-5, 1e-4, 3e-4]})

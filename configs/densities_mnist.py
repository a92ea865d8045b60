"""Densities of MNIST in one table, from PixelCNN to diffusion: grey levels 0 .. 255, or static binary digits.

Paper: https://arxiv.org/abs/2210.02747 (flow matching), https://arxiv.org/abs/2107.00630 (variational diffusion),
https://arxiv.org/abs/1810.01367, which has FFJORD's NLL of MNIST: 0.99 bits per dimension with several scales, 1.05
with one, MAF 1.89, RealNVP 1.06.  50,000 training, 10,000 validation and 10,000 test digits; each number says what it
is: exact, a bound, or an estimate with the errors of its solver and of its trace.

  python -m dgm_jax.main --config=configs/densities_mnist.py:model=flow_matching --workdir=runs/flow_matching
  python -m dgm_jax.main --config=configs/densities_mnist.py:model=pixelcnn --workdir=runs/pixelcnn
  python -m dgm_jax reproduce lipman2023 --table=digits

Arguments (after the colon, separated by commas):
  model=NAME      of grey levels:
                  flow_matching, vdm   see configs/flow_matching_mnist.py and configs/vdm_mnist.py
                  ffjord          a continuous flow of a perceptron, trained by maximum likelihood
                  pixelcnn        Gated PixelCNN with mixtures of discretised logistics
                  made_mog        MADE with mixtures of ten normals, on the logit scale
                  maf             MAF of five layers, on the logit scale
                  of static binary digits:
                  pixelcnn_binary, made_binary, iwae_binary
  minutes=M       of training, at most 120 if not given; 0 for no limit
  quick           minutes, on mnist5k
  test            seconds, on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=models, all models.
"""

from collections.abc import Callable
from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import (
  base,
  flow_matching_mnist,
  iwae_mnist,
  made_mnist,
  maf_mnist,
  pixelcnn_mnist,
  vdm_mnist,
)
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product


def _ffjord(a: SimpleNamespace) -> ConfigDict:
  """A continuous flow of a perceptron of digits in [-1, 1]."""
  config = flow_matching_mnist.continuous(SimpleNamespace(**vars(a), net="mlp"), ("dequantize:levels=256",))
  config.principle = "maximum_likelihood"
  del config.evaluate["means"]
  args = flow_matching_mnist.network("mlp", a.test) | {"bounds": (0.0, 1.0), "draw_steps": 2 if a.test else 25}
  args |= {"train_solver": "rk4", "train_steps": 1 if a.test else 6, "kinetic_weight": 0.01, "jacobian_weight": 0.01}
  config.model = {"name": "continuous_flow", "args": args}
  if not a.test:  # a step takes 24 passes, and log p of the validation set minutes
    config.num_steps = 1000 if a.quick else 50 * a.minutes or 30_000
    config.eval_every = config.num_steps
  return config


def _of(module: object, argument: str = "") -> Callable[[SimpleNamespace], ConfigDict]:
  """The config of another file with these arguments, and `data` where it is given."""

  def make(a: SimpleNamespace) -> ConfigDict:
    small = ["test"] * a.test + ["quick"] * a.quick
    data = [f"data={a.data}"] if "data" in a.given else []
    return module.get_config(",".join([*filter(None, [argument]), *data, *small])).unlock()

  return make


def _continuous(module: object) -> Callable[[SimpleNamespace], ConfigDict]:
  def make(a: SimpleNamespace) -> ConfigDict:
    return _of(module, f"minutes={a.minutes}")(a)

  return make


_MODELS = {
  "flow_matching": _continuous(flow_matching_mnist),
  "vdm": _continuous(vdm_mnist),
  "ffjord": _ffjord,
  "pixelcnn": _of(pixelcnn_mnist, "grey,net=gated,blocks=6"),
  "made_mog": _of(maf_mnist, "layers=0,base=mog"),
  "maf": _of(maf_mnist),
  "pixelcnn_binary": _of(pixelcnn_mnist),
  "made_binary": _of(made_mnist),
  "iwae_binary": _of(iwae_mnist, "k=50"),
}
GREY = tuple(name for name in _MODELS if not name.endswith("_binary"))
BINARY = tuple(name for name in _MODELS if name.endswith("_binary"))


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, model=tuple(_MODELS), data=base.sets("mnist"), minutes=120, quick=False, test=False)
  small = a.quick or a.test
  if a.model == "iwae_binary":
    a.data, a.given = a.data if "data" in a.given else "mnist5k" if small else "binarized_mnist", a.given | {"data"}
  config = _MODELS[a.model](a)
  if a.model == "iwae_binary":
    config.data.transforms = base.binarize(config.data.name, "static")
  if config.data.name == "mnist":
    config.data.valid_size = 10_000
  if not small and a.minutes:
    config.max_minutes = float(a.minutes)
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_models() -> list[dict]:
  """All models."""
  return product({"arg.model": list(_MODELS)})

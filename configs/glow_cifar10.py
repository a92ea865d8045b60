"""Multi-scale flows of images on CIFAR-10: Kingma & Dhariwal, "Glow" (NeurIPS 2018), and RealNVP (Dinh et al., 2017).

Paper: https://arxiv.org/abs/1807.03039; test NLL in bits per dimension on all of CIFAR-10, test/bits_per_dim, a bound
because of the noise: Glow 3.35 (L = 3 levels of K = 32 steps, 512 channels, batches of 512, Adam with 1e-3, warm-up),
RealNVP 3.49 (https://arxiv.org/abs/1605.08803).  `paper` sets these sizes, which need a GPU.  cifar10/small has 4,000
images: its numbers are comparable with nothing published; uniform colours have 8 bits.

Differences: the 1 x 1 convolutions are LU-decomposed and start as random permutations, log-scales are 7 tanh(a / 7),
the networks have no actnorm of their own, and the last level is N(0, I); net=realnvp has the same small networks in
place of residual ones.

  python -m dgm_jax.main --config=configs/glow_cifar10.py --config.data.manual_dir=FOLDER --workdir=runs/glow
  python -m dgm_jax.main --config=configs/glow_cifar10.py:paper --config.remat=True --workdir=FOLDER
  python -m dgm_jax.main --config=configs/glow_cifar10.py:net=realnvp,steps=3 --workdir=runs/realnvp

Arguments (after the colon, separated by commas):
  net=glow        or realnvp: three couplings by chessboards before each squeeze, channels are not mixed, x on the logit
                  scale (0.05 + 0.9 x)
  levels=L        3 if not given; height and width are divided by 2^L
  steps=K         of each level, 8 if not given
  hidden=H        channels of the convolutions, 128 if not given
  transform=affine|additive|spline   of the couplings
  mixer=lu|random|reverse   of the channels: invertible 1 x 1 convolutions, or permutations
  classes         class-conditional, p(x|y)
  data=NAME       cifar10/small if not given (cifar10/full with `paper`); other images, or `array` of your own
  paper           the sizes of the paper
  quick           minutes: 200 steps of a small network on cifar10/small
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): learning rates, lanes of one program; --name=mixers, figure 3 of the paper.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

_SMALL = {"test": (2, 1, 4), "quick": (3, 2, 32), "paper": (3, 32, 512)}  # levels, steps, hidden


def _sizes(a) -> dict[str, int]:
  """num_levels, num_steps and hidden: the arguments, or those of test, quick and paper where they are not given."""
  names, given = ("levels", "steps", "hidden"), [getattr(a, name) for name in ("levels", "steps", "hidden")]
  for flag, sizes in _SMALL.items():
    if getattr(a, flag):
      given = [v if n in a.given and flag != "test" else s for n, v, s in zip(names, given, sizes, strict=True)]
      break
  return dict(zip(("num_levels", "num_steps", "hidden"), given, strict=True))


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(
    arg, net=("glow", "realnvp"), levels=3, steps=8, hidden=128, transform=("affine", "additive", "spline"),
    mixer=("lu", "random", "reverse"), classes=False, data="cifar10/small", paper=False, quick=False, test=False,
  )  # fmt: skip
  config = base.maximum_likelihood(a)
  name = base.data_name(a, "mnist5k" if a.test else "cifar10/small")
  name = "cifar10/full" if a.paper and "data" not in a.given else name
  steps = ["dequantize:levels=256", *(["logit:alpha=0.05"] if a.net == "realnvp" else [])]
  config.data = data_section(name, ("flip", *steps, *(["condition"] if a.classes else [])))
  args = _sizes(a) | {"transform": a.transform, "mixer": "none" if a.net == "realnvp" else a.mixer}
  if a.transform == "spline":
    args["transform_args"] = {"num_bins": 4, "bound": 5.0}
  args |= {"num_boards": 3 * (a.net == "realnvp"), "base": "normal", "num_classes": 10 if a.classes else 0}
  config.model = {"name": "image_flow", "args": args}
  config.optim.update(name="adam", lr=1e-3, schedule="staged", warmup=0.02, clip_norm=50.0)
  config.evaluate.exact_likelihood.batch_size = config.eval_batch_size = 100
  config.evaluate.invertibility = {"num_examples": 20 if a.test else 100, "layers": False}
  if a.quick:
    config.batch_size, config.num_steps, config.checkpoint_every = 32, 200, 200
  elif not a.test:
    config.batch_size, config.num_epochs, config.log_every = 512 if a.paper else 64, 1800 if a.paper else 100, 25
  return config.lock()


def sweep() -> list[dict]:
  """Learning rates."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3]})


def sweep_mixers() -> list[dict]:
  """How channels are mixed, and additive and affine couplings."""
  return product({"arg.mixer": ["reverse", "random", "lu"], "arg.transform": ["additive", "affine"]})

"""IWAE on MNIST: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders" (ICLR 2016).

Paper: https://arxiv.org/abs/1509.00519, table 1: test NLL in nats (active units), 5000 samples, dynamic binarisation:

             1 stochastic layer   2 stochastic layers
  k = 1      86.76 (19)           85.33 (16+5)
  k = 5      85.54 (22)           83.89 (21+5)
  k = 50     84.78 (25)           82.90 (26+7)

  python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5,layers=1 --workdir=runs/iwae_k5
  python -m dgm_jax.main --config=configs/iwae_mnist.py:k=5 --config.objective.gradient=dreg --workdir=runs/dreg_k5

Arguments (after the colon, separated by commas):
  k=N             importance samples, 50 if not given
  layers=1|2      stochastic layers
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  reading=paper|code   where the paper and its released code differ.  paper: Adam with beta1 = 0.9 and learning rates
                  1e-3 * 10^(-i/7), all 60,000 images.  code: beta1 = 0.99, second moments that start at 1, learning
                  rates rounded to two digits, the last 400 training images held out.
  constant        a constant learning rate instead of the 8 stages of 3^i epochs
  quick           about two minutes on 2 cores: 6,000 steps of batch 100 on mnist5k; test NLL about 100 nats
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): four seeds for each of three learning rates; --name=k, three seeds for each number of
importance samples in the table; --name=table1, the six cells of the table.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section

# The schedule of Burda et al. (2016): stage i = 0..7 lasts 3^i of the (3^8 - 1) / 2 epochs, at a rate of 10^(-i/7) lr.
_NUM_STAGES = 8
STAGES = {
  "boundaries": tuple((3**i - 1) / (3**_NUM_STAGES - 1) for i in range(1, _NUM_STAGES)),
  "scales": tuple(10 ** (-i / 7) for i in range(1, _NUM_STAGES)),
}
# A schedule for `quick`, chosen on the validation split of mnist5k.
QUICK_STAGES = {"lr": 3e-3, "boundaries": (0.3, 0.6, 0.85), "scales": (0.4, 0.1, 0.03)}
# Arguments of burda2016 other than k, for `parse`.
ARGUMENTS = {"data": "mnist", "reading": ("paper", "code"), "constant": False, "quick": False, "test": False}


def burda2016(a: SimpleNamespace, bound: str, layers: int = 1) -> ConfigDict:
  """The models, optimiser and schedule of Burda et al. (2016), see above.

  Args:
    a: the arguments `k` and ARGUMENTS.
    bound: "elbo" or "iwae".
    layers: number of stochastic layers, 1 or 2.
  """
  config, name = base.default(), base.data_name(a)
  config.data = data_section(name, transforms=("binarize:dynamic",))
  if layers == 2:
    args = {"latent_dims": (100, 50), "hidden": ((200, 200), (100, 100)), "likelihood": "bernoulli"}
    config.model = {"name": "dlgm", "args": args}
  config.objective.update(bound=bound, num_samples=a.k, eval_samples=a.k)
  config.batch_size = 20
  stages = STAGES
  if a.reading == "code":
    config.optim.update(name="iwae_adam", b1=0.99)
    stages = stages | {"scales": tuple(round(10 * scale, 1) / 10 for scale in stages["scales"])}
    if name == "mnist":
      config.data.valid_size = 400
  if a.quick:
    base.quicken(config)
    stages = QUICK_STAGES
  if not a.constant:
    config.optim.update(stages)
  if a.test:
    small = {"latent_dim": 8, "hidden": (32,)} if layers == 1 else {"latent_dims": (8, 4), "hidden": ((32,), (16,))}
    config.model.args.update(small)
    base.shrink(config)
  return config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, k=50, layers=(1, 2), **ARGUMENTS)
  return burda2016(a, "iwae", a.layers).lock()


def sweep() -> list[dict]:
  """Four seeds for each of three learning rates, lanes of one program."""
  return product({"optim.lr": [3e-4, 1e-3, 3e-3], "seed": range(4)})


def sweep_k() -> list[dict]:
  """Three seeds for each number of importance samples."""
  return product({"arg.k": [1, 5, 50], "seed": range(3)})


def sweep_table1() -> list[dict]:
  """The cells of table 1 of the paper."""
  return product({"arg.layers": [1, 2], "arg.k": [1, 5, 50]})

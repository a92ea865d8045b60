"""VAE with planar flows on MNIST: Rezende & Mohamed, "Variational Inference with Normalizing Flows" (ICML 2015).

Paper: https://arxiv.org/abs/1505.05770, table 2, statically binarised MNIST: -log p(x), test NLL in nats by 200
importance samples, with the diagonal normal and with flows of K planar layers, averages over 100 seeds:

  K = 0 (diagonal)   10     20     40     80
  89.9               87.5   86.5   85.7   85.1

  python -m dgm_jax.main --config=configs/planar_vae_mnist.py:flow=10 --workdir=runs/planar_10

From the paper: 40 latent variables, 400 maxout units of window 4, RMSprop with momentum 0.9 at 1e-5 for 500,000 updates
of batch 100, log p(x, z) weighted by min(1, 0.01 + t / 10,000).  Not from the paper: one hidden layer in each network,
and the decay of 0.9 of RMSprop's squared gradients.

Arguments (after the colon, separated by commas):
  flow=K          planar layers, 10 if not given; 0 for the diagonal normal alone
  data=NAME       binarized_mnist if not given, which is binary already; other data sets of images are binarised again
                  at each step, see dgm_jax/data/README.md
  quick           half a minute on 2 cores: 5,000 steps of batch 100 on mnist5k, 100 maxout units, Adam
  test            seconds: a few steps of a small network on mnist5k

Sweeps (python -m dgm_jax sweep): three seeds for each of the five numbers of layers.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, flow=10, data="binarized_mnist", quick=False, test=False)
  errors.require(a.flow >= 0, f"Config argument flow = {a.flow}: the number of planar layers must be 0 or more.")
  name = base.data_name(a)
  config = base.default()
  config.data = data_section(name, base.binarize(name, "dynamic"))
  config.model.args = {
    "latent_dim": 8 if a.test else 40,
    "hidden": (32,) if a.test else (400,) if a.quick else (1600,),
    "net_args": {"activation": "maxout"},
    "posterior": "planar" if a.flow else "diagonal",
    "posterior_args": {"num_layers": a.flow} if a.flow else {},
  }
  config.objective.temper_steps = 10_000
  config.optim.eps = 1e-8
  config.evaluate.importance_sampling.num_samples = 200
  if a.test:
    base.shrink(config)
    config.objective.temper_steps = 10
  elif a.quick:
    base.quicken(config, num_steps=5000)
    config.objective.temper_steps = 1000
    config.optim.boundaries, config.optim.scales = (0.6, 0.85), (0.3, 0.1)
  else:
    config.num_steps = 500_000
    config.optim.update(name="rmsprop", lr=1e-5, b1=0.9, b2=0.9)
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds for each flow in the table of the paper."""
  return product({"arg.flow": [0, 10, 20, 40, 80], "seed": range(3)})

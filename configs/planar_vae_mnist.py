"""VAE with planar flows on MNIST: Rezende & Mohamed, "Variational Inference with Normalizing Flows" (ICML 2015).

Paper: https://arxiv.org/abs/1505.05770, table 2, statically binarised MNIST: -log p(x), test NLL in nats by 200
importance samples, of the diagonal normal and of flows of K planar layers, averages over 100 seeds:

  K = 0 (diagonal)   10     20     40     80
  89.9               87.5   86.5   85.7   85.1

  python -m dgm_jax.main --config=configs/planar_vae_mnist.py:flow=10 --workdir=runs/planar_10

The paper's recipe: 40 latent variables, 400 maxout units of window 4, RMSprop with momentum 0.9 at 1e-5 for 500,000
updates of batch 100, log p(x, z) weighed by min(1, 0.01 + t / 10,000).  That there is one hidden layer in each net, and
the decay 0.9 of RMSprop's squares, are not from the paper.

Arguments (after a colon, by commas):
  flow=K          planar layers, 10 if not given; 0 for the diagonal normal alone
  data=NAME       binarized_mnist if not given, binarised once and for all; other data sets of images are binarised anew
                  at each step, see dgm_jax/data/README.md
  quick           half a minute on 2 cores: 5,000 steps of batch 100 on mnist5k, 100 maxout units, Adam
  test            seconds: a few steps of a small network on mnist5k

Sweeps (scripts/sweep.py): three seeds of the five flows.
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, flow=10, data="binarized_mnist", quick=False, test=False)
  errors.require(a.flow >= 0, f"Config argument flow = {a.flow}: the number of planar layers must be 0 or more.")
  small = "test," if a.test else "quick," if a.quick else ""
  config = iwae_mnist.get_config(f"{small}constant,k=1")
  name = "mnist5k" if small and "data" not in a.given else a.data
  with config.unlocked():
    config.data = data_section(name, () if name == "binarized_mnist" else ("binarize:dynamic",))
    config.objective.bound, config.objective.temper_steps = "elbo", 10_000
    config.model.args = {
      "latent_dim": 8 if a.test else 40,
      "hidden": (32,) if a.test else (400,) if a.quick else (1600,),
      "net_args": {"activation": "maxout"},
      "posterior": "planar" if a.flow else "diagonal",
      "posterior_args": {"num_layers": a.flow} if a.flow else {},
    }
    config.batch_size = 100
    config.optim.update({"name": "rmsprop", "lr": 1e-5, "b1": 0.9, "b2": 0.9, "eps": 1e-8})
    if not small:
      config.num_steps = 500_000
      config.evaluate.importance_sampling.num_samples = 200
  if small:
    config.optim.update({"name": "adam", "b2": 0.999, "lr": 1e-3})
  if a.quick:
    config.num_steps, config.objective.temper_steps, config.evaluate.importance_sampling.num_samples = 5000, 1000, 200
    config.optim.boundaries, config.optim.scales = (0.6, 0.85), (0.3, 0.1)
  if a.test:
    config.batch_size, config.objective.temper_steps = 50, 10
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds of each flow of the paper's table."""
  return product({"arg.flow": [0, 10, 20, 40, 80], "seed": range(3)})

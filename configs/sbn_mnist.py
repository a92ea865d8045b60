"""Sigmoid belief network on MNIST: Mnih & Rezende, "Variational Inference for Monte Carlo Objectives" (ICML 2016).

Paper: https://arxiv.org/abs/1602.06725, three layers of 200 binary units, binarized_mnist, k = 50: test NLL 91.9 nats
with VIMCO, 92.5 with reweighted wake-sleep.

  python -m dgm_jax.main --config=configs/sbn_mnist.py --workdir=runs/sbn_mnist

Adam, its constant learning rate and the 500 epochs are ours.

Arguments (after a colon, by commas):
  gradient=vimco|rws|gumbel_softmax   how q is trained, vimco if not given: the score function with the other samples as
                  a baseline; reweighted wake-sleep; or the derivative of relaxed draws
  k=N             importance samples, 50 if not given
  data=NAME       binarized_mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           minutes on 2 cores: 6,000 steps of batch 100 on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(arg, gradient=("vimco", "rws", "gumbel_softmax"), k=50, data="binarized_mnist", quick=False, test=False)
  words = [word for word in ("quick", "test") if word in a.given] or ["constant"]
  named = "data" in a.given or words == ["constant"]
  config = iwae_mnist.get_config(",".join([f"k={a.k}", *words, *([f"data={a.data}"] if named else [])]))
  args = {"latent_dims": (16, 8) if a.test else (200, 200, 200), "likelihood": "bernoulli"}
  with config.unlocked():
    config.model = ConfigDict({"name": "sigmoid_belief_net", "args": args})
    if config.data.name == "binarized_mnist":
      config.data.transforms = ()
  if a.gradient == "rws":
    config.objective.bound = "rws"
  else:
    config.objective.gradient = a.gradient
  if not (a.quick or a.test):
    config.batch_size, config.num_epochs = 24, 500
  return config

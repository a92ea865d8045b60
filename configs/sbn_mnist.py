"""Sigmoid belief network on MNIST: Mnih & Rezende, "Variational Inference for Monte Carlo Objectives" (ICML 2016).

Paper: https://arxiv.org/abs/1602.06725, three layers of 200 binary units, binarized_mnist, k = 50: test NLL 91.9 nats
with VIMCO, 92.5 with reweighted wake-sleep.

  python -m dgm_jax.main --config=configs/sbn_mnist.py --workdir=runs/sbn_mnist

Adam, its constant learning rate and the 500 epochs are not from the paper.

Arguments (after the colon, separated by commas):
  gradient=vimco|rws|gumbel_softmax   how q is trained, vimco if not given: by the score function with the other samples
                  as a baseline; by reweighted wake-sleep; or by the derivative of relaxed draws
  k=N             importance samples, 50 if not given
  data=NAME       binarized_mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           minutes on 2 cores: 6,000 steps of batch 100 on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base, iwae_mnist
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, gradient=("vimco", "rws", "gumbel_softmax"), k=50, data="binarized_mnist", quick=False, test=False)
  name = base.data_name(a)
  config = base.default()
  config.data = data_section(name, base.binarize(name, "dynamic"))
  args = {"latent_dims": (16, 8) if a.test else (200, 200, 200), "likelihood": "bernoulli"}
  config.model = {"name": "sigmoid_belief_net", "args": args}
  config.objective.update(num_samples=a.k, eval_samples=a.k)
  if a.gradient == "rws":
    config.objective.bound = "rws"
  else:
    config.objective.update(bound="iwae", gradient=a.gradient)
  if a.test:
    base.shrink(config)
    config.optim.update(iwae_mnist.STAGES)  # the test covers a schedule, too
  elif a.quick:
    base.quicken(config)
    config.optim.update(iwae_mnist.QUICK_STAGES)
  else:
    config.batch_size, config.num_epochs = 24, 500
  return config.lock()

"""Conditional VAE on MNIST: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional
Generative Models" (NeurIPS 2015), with the class as the condition.

Paper: https://papers.nips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html; it conditions on a part of
the image and prints no NLL given the class.  Here nll is -log p(x | class).  If both models were perfect, it would be
at most log 10 = 2.3 nats below the nll of configs/vae_mnist.py.

  python -m dgm_jax.main --config=configs/cvae_mnist.py --workdir=runs/cvae

Arguments (after the colon, separated by commas): those of configs/iwae_mnist.py except layers, with k=1 if not given,
and
  prior=standard_normal|conditional   p(z), or p(z | class)
"""

from ml_collections import ConfigDict

from dgm_jax.configs import iwae_mnist
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, k=1, prior=("standard_normal", "conditional"), **iwae_mnist.ARGUMENTS)
  config = iwae_mnist.burda2016(a, "elbo" if a.k == 1 else "iwae")
  config.data.transforms = (*config.data.transforms, "condition")
  config.model.name = "conditional_vae"
  config.model.args.update(num_classes=10, prior=a.prior)
  return config.lock()

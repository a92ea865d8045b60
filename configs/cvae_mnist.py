"""Conditional VAE on MNIST: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional
Generative Models" (NeurIPS 2015), with the class as the condition.

Paper: https://papers.nips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html; it conditions on a part of
the image and prints no NLL given the class.  Here nll is -log p(x | class): below that of configs/vae_mnist.py by at
most log 10 = 2.3 nats were both models perfect.

  python -m dgm_jax.main --config=configs/cvae_mnist.py --workdir=runs/cvae

Arguments (after a colon, by commas): those of configs/iwae_mnist.py but layers (k is 1 if not given), and
  prior=standard_normal|conditional   p(z), or p(z | class)
"""

from ml_collections import ConfigDict

from configs import iwae_mnist
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  words = {"constant": False, "quick": False, "test": False}
  choices = {"prior": ("standard_normal", "conditional"), "reading": ("paper", "code")}
  a = parse(arg, k=1, data="mnist", **choices, **words)
  others = [f"{k}={getattr(a, k)}" for k in sorted(a.given - {"prior", "k", *words})]
  config = iwae_mnist.get_config(",".join([f"k={a.k}", *others, *(w for w in words if getattr(a, w))])).unlock()
  config.objective.bound = "elbo" if a.k == 1 else "iwae"
  config.data.transforms = (*config.data.transforms, "condition")
  config.model.name = "conditional_vae"
  config.model.args.update(num_classes=10, prior=a.prior)
  return config.lock()

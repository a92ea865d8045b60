"""M2 on MNIST: Kingma, Rezende, Mohamed & Welling, "Semi-supervised Learning with Deep Generative Models" (NIPS 2014).

Paper: https://arxiv.org/abs/1406.5298; it prints error rates with 100 to 3000 labels, and no NLL.  Results: `accuracy`
of q(y|x), and `elbo`, the bound U(x) of an unlabelled digit.

  python -m dgm_jax.main --config=configs/m2_mnist.py --workdir=runs/m2

M1+M2 trains M2 on the latent variables of another VAE.  Train M1 (configs/vae_mnist.py), write the means of its q(z|x)
and the labels with numpy.savez("m1.npz", x_train=..., y_train=..., x_test=..., y_test=...), and train M2 on these:

  python -m dgm_jax.main --config=configs/m2_mnist.py:data=array --config.data.path=m1.npz --workdir=runs/m1_m2

Arguments (after the colon, separated by commas):
  per_class=N     labelled examples of each class, 10 if not given
  alpha=A         weight of the classifier for a labelled example, 0.1 N / (labelled examples) if not given: 60 with
                  the 6,000 images and 10 labels per class of mnist
  data=NAME       mnist if not given; any data set with labels of 10 classes, see dgm_jax/data/README.md.  array: real
                  numbers, which are standardised and get a Gaussian likelihood
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, per_class=10, alpha=0.0, data="mnist", quick=False, test=False)
  config = base.own_bound(a)
  name = config.data.name
  features = name == "array"
  config.data.transforms = ("standardize" if features else "binarize:dynamic", f"labelled:per_class={a.per_class}")
  examples_per_class = 400 if name == "mnist5k" else 6000  # of mnist, taken for all others, too
  args = {
    "num_classes": 10,
    "latent_dim": 50,
    "hidden": (500,),
    "alpha": a.alpha if "alpha" in a.given else 0.1 * examples_per_class / max(a.per_class, 1),
    "likelihood": "gaussian_bounded" if features else "bernoulli",
  }
  if a.test:
    args |= {"latent_dim": 4, "hidden": (32,)}
  config.model = {"name": "semi_supervised_vae", "args": args}
  config.optim.lr = 3e-4
  return config.lock()

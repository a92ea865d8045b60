"""VQ-VAE on MNIST: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning" (NeurIPS 2017).

Paper: https://arxiv.org/abs/1711.00937; it prints no NLL of MNIST.  `elbo` is log p(x|z_q) - M log K of binarised
digits, for M positions with one of K codes each: with a uniform prior over the codes an exact bound, log p(x) >= elbo.

  python -m dgm_jax.main --config=configs/vq_vae_mnist.py --workdir=runs/vq_vae
  python -m dgm_jax.main --config=vq_vae_mnist:prior=lstm --config.init_from=runs/vq_vae --workdir=runs/vq_lstm

Arguments (after the colon, separated by commas):
  positions=M     codes per image, 32 if not given
  codes=K         size of the codebook, 64 if not given
  prior=uniform|made|nade|lstm|transformer   of the codes; others than uniform are all that is trained, from a run with
                  the uniform one: --config.init_from=RUN
  data=NAME       mnist if not given; any data set of images, see dgm_jax/data/README.md
  quick           4,000 steps on mnist5k
  test            seconds: a few steps of a small network on mnist5k
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core.config_args import parse

_PRIORS = ("uniform", "made", "nade", "lstm", "transformer")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, positions=32, codes=64, prior=_PRIORS, data="mnist", quick=False, test=False)
  config = base.own_bound(a)
  args = {"num_positions": a.positions, "num_codes": a.codes, "code_dim": 8, "hidden": (400,), "beta": 0.25}
  if a.test:
    args |= {"num_positions": 4, "num_codes": 8, "code_dim": 2, "hidden": (32,)}
  if a.prior != "uniform":
    args |= {"prior": a.prior, "train": "prior"}
  config.model = {"name": "vq_vae", "args": args | {"likelihood": "bernoulli"}}
  return config.lock()

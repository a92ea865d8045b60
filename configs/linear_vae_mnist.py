"""Linear VAE on MNIST: Lucas, Tucker, Grosse & Norouzi, "Don't Blame the ELBO!" (NeurIPS 2019).

Paper: https://arxiv.org/abs/1911.02469: p(x|z) = N(W z + b, s^2 I), q(z|x) = N(V x + c, D), D diagonal and the same for
all x.  The best ELBO is the log-likelihood of probabilistic PCA; the paper shows NLLs only in figures.

  python -m dgm_jax.main --config=configs/linear_vae_mnist.py:d=20 --workdir=runs/linear_vae
  python -m dgm_jax.main --config=configs/linear_vae_mnist.py:hidden=200,variance=0.1 --workdir=runs/fixed_variance

Arguments (after the colon, separated by commas):
  d=N             latent dimensions, 50 if not given
  variance=S      a fixed s^2; 0, the default, for a learned one
  hidden=H        two hidden layers of H tanh units in the encoder and in the decoder, and scales of q(z|x) that depend
                  on x; 0, the default, for the linear VAE
  data=NAME       mnist if not given; any data set of grey levels, which are scaled to [0, 1], or array: your own
                  numbers or images, standardised
  quick           seconds on 2 cores: 4,000 steps of batch 100 on mnist5k
  test            seconds: a few steps on mnist5k

Sweeps (python -m dgm_jax sweep): three seeds for each of five latent dimensions.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training.build import data_section


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  a = parse(arg, d=50, variance=0.0, hidden=0, data="mnist", quick=False, test=False)
  errors.require(a.variance >= 0, f"Config argument variance = {a.variance} must be positive, or 0 for a learned one.")
  errors.require(a.hidden >= 0, f"Config argument hidden = {a.hidden} must be 0 or more.")
  config = base.default()
  name = base.data_name(a)
  config.data = data_section(name, base.real(name))
  config.model.args = {
    "latent_dim": a.d,
    "hidden": (a.hidden,) * 2 if a.hidden else (),
    "likelihood": "gaussian_fixed" if a.variance else "gaussian_shared",
    "likelihood_args": {"scale": a.variance**0.5} if a.variance else {},
    "posterior": "diagonal" if a.hidden else "diagonal_shared",
  }
  config.objective.kl = "analytic"
  config.optim.update(lr=3e-3, eps=1e-8, schedule="cosine")
  config.evaluate.importance_sampling.num_samples = 500
  if a.test:
    base.shrink(config)
    config.optim.lr = 3e-2
  elif a.quick:
    base.quicken(config, num_steps=4000)
  else:
    config.num_steps = 50_000
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds for each number of latent dimensions."""
  return product({"arg.d": [5, 10, 20, 50, 100], "seed": range(3)})

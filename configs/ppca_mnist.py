"""Probabilistic PCA, factor analysis and Bayesian PCA on MNIST, with exact likelihoods.

Paper: https://doi.org/10.1111/1467-9868.00196 (Tipping & Bishop, 1999), which has no NLL on MNIST.  Here it is that of
grey levels in [0, 1], a density; with shared noise it is minus the best possible ELBO of configs/linear_vae_mnist.py.

  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50 --workdir=runs/ppca
  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50,by=em --workdir=runs/ppca_em
  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50,by=gradient --workdir=runs/ppca_gradient
  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50,noise=each --workdir=runs/factor_analysis

Arguments (after the colon, separated by commas):
  d=N             latent dimensions, 50 if not given, 2 for data=array
  by=closed|em|gradient   one pass and eigenvectors, EM, or Adam on the same likelihood
  noise=shared|each       one variance for all pixels, or one for each: factor analysis, which has no closed form
  relevance       a prior that removes columns which the data do not support: Bayesian PCA (Bishop, 1999), by EM
  data=NAME       mnist if not given, mnist5k, or array: your own numbers or images, standardised
  quick           seconds on 2 cores: mnist5k
  test            seconds: a few steps on mnist5k

Sweeps (python -m dgm_jax sweep): M = 1, 10, 50 and 250 dimensions, whose reconstructions are in figures/.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers
from dgm_jax.training.build import data_section

_PASSES = {"closed": 1, "em": 100, "gradient": 50}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  choices = {"by": tuple(_PASSES), "noise": ("shared", "each"), "data": base.sets("mnist", "mnist5k")}
  a = parse(arg, d=50, relevance=False, quick=False, test=False, **choices)
  plain = a.noise == "shared" and not a.relevance
  by = a.by if "by" in a.given or plain else "em"
  errors.require(
    by != "closed" or plain, "Config argument by=closed is for noise=shared without relevance; choose by=em."
  )
  errors.require(
    not a.relevance or (by == "em" and a.noise == "shared"),
    "Config argument relevance is for by=em with noise=shared.",
  )
  name = base.data_name(a)
  latent_dim = 2 if name == "array" and "d" not in a.given else a.d
  num_examples = base.NUM_TRAIN.get(name, 0)
  data = data_section(name, transforms=base.real(name))
  config = base.by_em(data, num_examples, _PASSES[by], a.test)
  args = {
    "latent_dim": latent_dim,
    "isotropic": a.noise == "shared",
    "closed_form": by == "closed",
    "relevance": a.relevance,
  }
  config.model = {"name": "factor_analysis", "args": args}
  if by == "gradient":
    config.principle, config.objective = "own_bound", ConfigDict()
    config.optim = ConfigDict(optimisers.Options(lr=1e-2, schedule="cosine")._asdict())
    config.batch_size = 100
    if not a.test:
      config.log_every = config.checkpoint_every = num_examples // config.batch_size
  return config.lock()


def sweep() -> list[dict]:
  """The dimensions of Bishop (2006), figure 12.5."""
  return product({"arg.d": [1, 10, 50, 250]})

"""Probabilistic PCA, factor analysis and Bayesian PCA on MNIST, exact.

Paper: https://doi.org/10.1111/1467-9868.00196 (Tipping & Bishop, 1999), which has no NLL on MNIST: here it is of grey
levels in [0, 1], a density, and of shared noise minus the best ELBO that configs/linear_vae_mnist.py can have.

  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50 --workdir=runs/ppca
  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50,by=em --workdir=runs/ppca_em
  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50,by=gradient --workdir=runs/ppca_gradient
  python -m dgm_jax.main --config=configs/ppca_mnist.py:d=50,noise=each --workdir=runs/factor_analysis

Arguments (after a colon, by commas):
  d=N             latent dimensions, 50 if not given
  by=closed|em|gradient   one pass and eigenvectors, EM, or Adam on the same likelihood
  noise=shared|each       one variance for all pixels, or each its own: factor analysis, which has no closed form
  relevance       a prior that takes away columns that the data do not ask for: Bayesian PCA (Bishop, 1999), by EM
  data=NAME       mnist if not given, or mnist5k
  quick           seconds on 2 cores: mnist5k
  test            seconds: a few steps on mnist5k

Sweeps (scripts/sweep.py): M = 1, 10, 50 and 250 dimensions, whose reconstructions are in figures/.
"""

from ml_collections import ConfigDict

from configs.bernoulli_mixture_mnist import by_em
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers


def get_config(arg: str = "") -> ConfigDict:
  """The config; `arg` as above."""
  a = parse(
    arg,
    d=50,
    by=("closed", "em", "gradient"),
    noise=("shared", "each"),
    relevance=False,
    data=("mnist", "mnist5k"),
    quick=False,
    test=False,
  )
  by = a.by if "by" in a.given or (a.noise == "shared" and not a.relevance) else "em"
  errors.require(
    by != "closed" or (a.noise == "shared" and not a.relevance),
    "Config argument by=closed is of noise=shared without relevance; choose by=em.",
  )
  errors.require(not a.relevance or (by == "em" and a.noise == "shared"), "Config argument relevance is of by=em.")
  data = "mnist5k" if (a.quick or a.test) and "data" not in a.given else a.data
  config = by_em(data, ("scale",), passes={"closed": 1, "em": 100, "gradient": 50}[by], online=False, test=a.test)
  args = {"latent_dim": a.d, "isotropic": a.noise == "shared", "closed_form": by == "closed", "relevance": a.relevance}
  config.model = ConfigDict({"name": "factor_analysis", "args": args})
  if by == "gradient":
    config.principle, config.objective = "own_bound", ConfigDict()
    config.optim = ConfigDict(optimisers.Options(lr=1e-2, schedule="cosine")._asdict())
    config.batch_size = 100
    if not a.test:
      config.log_every = config.checkpoint_every = 40 if data == "mnist5k" else 600
  return config.lock()


def sweep() -> list[dict]:
  """The dimensions of Bishop (2006), figure 12.5."""
  return product({"arg.d": [1, 10, 50, 250]})

"""scVI, the VAE of single cells' counts (Lopez et al., 2018), on cells drawn from its likelihood, or small sets.

Paper: https://doi.org/10.1038/s41592-018-0229-2 (arXiv 1709.02082).  Published NLL of CORTEX, 558 genes: scVI
1196.37, ZINB-WaVE 1205.74, FA 1282.89, ZIFA 1311.61; it is minus a one-sample ELBO with a sampled latent library, of
cells that are not the ones here.

  python -m dgm_jax.main --config=configs/scvi_simulated.py --workdir=runs/scvi
  python -m dgm_jax.main --config=configs/scvi_simulated.py:likelihood=nb,k=5 --workdir=runs/scvi_iwae
  python -m dgm_jax.main --config=configs/scvi_simulated.py:data=scrna/starmap --workdir=runs/starmap

Network, dropout, batch normalisation, batches of 128 and Adam (1e-3, eps 0.01, L2 1e-6) are those of scvi-tools; the
weight of the KL of z grows over the first half of the run.  The library is latent, as in the paper; with
library=observed, log p(x | l = sum x) uses each cell's own total: it is no density of x, and never compares with that
of a latent library.

Arguments (after the colon, separated by commas):
  likelihood=NAME  zinb if not given, nb or poisson
  library=NAME     latent if not given, or observed
  dispersion=NAME  gene if not given, gene_batch or gene_cell
  k=N              importance samples of training: 1 is the ELBO with its KL in closed form, more the IWAE bound
  data=NAME        scrna/simulated if not given, scrna/smfish, scrna/starmap, scrna/pbmc68k, scrna/cortex, or array:
                   your own counts; files of cells take scvi_cells
  quick            a minute on 2 cores
  test             seconds: a few steps

Sweeps (python -m dgm_jax sweep): three seeds.
"""

from types import SimpleNamespace

from ml_collections import ConfigDict

from dgm_jax.configs import base
from dgm_jax.configs.base import data_section
from dgm_jax.core.config_args import parse
from dgm_jax.principles.latent.options import Options
from dgm_jax.sweeps.axes import product
from dgm_jax.training import optimisers
from dgm_jax.training.build import model_arguments

LIKELIHOODS = {"zinb": "zero_inflated_negative_binomial", "nb": "negative_binomial", "poisson": "poisson"}
DATA = base.sets("scrna/simulated", "scrna/smfish", "scrna/starmap", "scrna/pbmc68k", "scrna/cortex")
_EPOCHS = 60


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  dispersions = ("gene", "gene_batch", "gene_cell")
  names = {"likelihood": tuple(LIKELIHOODS), "library": ("latent", "observed"), "dispersion": dispersions}
  a = parse(arg, **names, k=1, data=DATA, quick=False, test=False)
  return cells(data_section(base.data_name(a, "scrna/simulated")), a).lock()


def cells(data: ConfigDict, a: SimpleNamespace) -> ConfigDict:
  """An unlocked config of scVI for a data set of cells; `a`: the arguments likelihood, library, dispersion, k ..."""
  config = base.default()
  config.data = data
  args = model_arguments("scvi")
  args.update(likelihood=LIKELIHOODS[a.likelihood], library=a.library, dispersion=a.dispersion)
  config.model = ConfigDict({"name": "scvi", "args": args})
  objective = {"kl": "analytic", "beta_steps": -1} if a.k == 1 else {"bound": "iwae", "num_samples": a.k}
  config.objective = ConfigDict(Options()._asdict() | objective | {"eval_samples": 10, "eval_chunk": 10})
  config.optim = ConfigDict(optimisers.Options(lr=1e-3, eps=0.01, l2=1e-6)._asdict())
  config.batch_size, config.num_epochs, config.log_every, config.checkpoint_every = 128, _EPOCHS, 0, 0
  sampling = {"num_samples": 500, "batch_size": 50, "chunk": 100}
  clusters = {"num_init": 200, "ignore": "NA" if data.name == "scrna/starmap" else ""}
  imputation = {"corruption": "each"}
  config.evaluate = ConfigDict(
    {"importance_sampling": sampling, "cell_clusters": clusters, "count_imputation": imputation}
  )
  if a.test:
    base.shrink(config)
    config.model.args.update(latent_dim=2, hidden=16)
    config.evaluate.cell_clusters.num_init = 2
  elif a.quick:
    base.quicken(config, num_steps=800)
    config.batch_size = 128
  return config


def sweep() -> list[dict]:
  """Three seeds."""
  return product({"seed": range(3)})

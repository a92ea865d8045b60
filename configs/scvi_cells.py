"""scVI (Lopez et al., 2018) of your own cells: .h5ad, .loom, 10x .h5 or a 10x folder.

Paper: https://doi.org/10.1038/s41592-018-0229-2; scANVI: https://doi.org/10.15252/msb.20209620.  The NLL is of cells
held out at random; with an observed library it is -log p(x | l = sum x), which is no density of x: see the config
scvi_simulated.

  python -m dgm_jax.main --config=configs/scvi_cells.py --config.data.path=CELLS.h5ad --workdir=runs/cells
  python -m dgm_jax.main --config=configs/scvi_cells.py:likelihood=nb --config.data.path=CELLS.h5ad --workdir=runs/nb

As in scvi_simulated, the weight of the KL of z grows over the first half of the run; scanvi has no such warm-up.

Options of config.data: layer, batch, labels, unlabelled, size_factor, categorical, continuous, num_genes.  The command
`dgm_jax single-cell` does this, and writes the result to an .h5ad file.

Arguments (after the colon, separated by commas):
  model=NAME       scvi if not given, or scanvi, which needs labels
  likelihood=NAME  zinb if not given, nb or poisson
  library=NAME     observed if not given, latent or size_factor
  dispersion=NAME  gene if not given, gene_batch, gene_label or gene_cell
  k=N              importance samples of training: 1 is the ELBO with its KL in closed form, more the IWAE bound
  data=NAME        cells if not given, or array: counts in another file
  quick            800 steps
  test             seconds: a few steps on scrna/simulated, unless data= is given

Sweeps (python -m dgm_jax sweep): three seeds.
"""

from ml_collections import ConfigDict

from dgm_jax.configs import scvi_simulated
from dgm_jax.configs.base import data_section
from dgm_jax.core import errors
from dgm_jax.core.config_args import parse
from dgm_jax.training.build import model_arguments


def get_config(arg: str = "") -> ConfigDict:
  """Returns the config for the arguments above."""
  names = {"likelihood": tuple(scvi_simulated.LIKELIHOODS), "library": ("observed", "latent", "size_factor")}
  names |= {"dispersion": ("gene", "gene_batch", "gene_label", "gene_cell"), "model": ("scvi", "scanvi")}
  data = ("cells", "scrna/simulated", "array")
  a = parse(arg, **names, k=1, data=data, quick=False, test=False)
  small = a.test and "data" not in a.given
  config = scvi_simulated.cells(data_section("scrna/simulated" if small else a.data), a)
  if a.model == "scanvi":
    errors.require(a.k == 1, f"k = {a.k}: the bound of scanvi has one sample; leave out k.")
    errors.require(a.dispersion != "gene_label", "scanvi does not support dispersion=gene_label, as types are latent.")
    own = {name: value for name, value in model_arguments("scanvi").items() if name not in config.model.args}
    config.model = ConfigDict({"name": "scanvi", "args": config.model.args.to_dict() | own})
    config.principle, config.objective = "own_bound", ConfigDict()
    config.evaluate = ConfigDict({"means": {"batch_size": 200}})
  return config.lock()


def sweep() -> list[dict]:
  """Three seeds."""
  return scvi_simulated.sweep()

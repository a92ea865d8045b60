"""scVI of cells in memory: the class that `dgm_jax.SCVI` names."""

import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from dgm_jax.applications.single_cell import cells_of, runs
from dgm_jax.applications.single_cell.fitted import FittedCells
from dgm_jax.applications.single_cell.trained import TrainedCells
from dgm_jax.core import errors, files, paths
from dgm_jax.data.files import cell_files
from dgm_jax.data.sets.cells import Columns

_KEYS = "_dgm_jax_scvi"  # of adata.uns: what setup_anndata notes
_DISPERSIONS = {"gene": "gene", "gene-batch": "gene_batch", "gene-label": "gene_label", "gene-cell": "gene_cell"}


class SCVI(TrainedCells):
  """scVI (Lopez et al., 2018): q(z|x), denoised expression and differential expression of single cells' counts.

  Methods have the names and meanings of scvi-tools; what differs is said at each.  Trained models are folders of runs
  (no pickle), which dgm_jax.load and `python -m dgm_jax evaluate` read as well.

  Args:
    adata: cells, raw counts in X or a layer; None only for `load`.
    layer: of adata with the counts.
    batch_key, labels_key: columns of obs.
    unlabeled_category: the label of cells without one.
    size_factor_key: column of obs with size factors, which replace the library.
    categorical_covariate_keys, continuous_covariate_keys: further columns of obs, which the decoder knows.
    n_hidden, n_latent, n_layers, dropout_rate: of the networks.
    dispersion: gene, gene-batch, gene-label or gene-cell.
    gene_likelihood: zinb, nb or poisson.
    latent_distribution: normal, or ln: the decoder sees softmax(z).
    use_observed_lib_size: whether l is the cell's total; else a latent variable.
    encode_covariates: whether the encoder knows batch and covariates, too.
    linear: whether the decoder is linear (LDVAE).

  Raises:
    UserError: invalid counts, columns or options; the sentence names the cell, gene or column.
  """

  model_name: ClassVar[str] = "scvi"

  def __init__(
    self,
    adata: Any = None,
    *,
    layer: str | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    unlabeled_category: str | None = None,
    size_factor_key: str | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    n_hidden: int = 128,
    n_latent: int = 10,
    n_layers: int = 1,
    dropout_rate: float = 0.1,
    dispersion: str = "gene",
    gene_likelihood: str = "zinb",
    latent_distribution: str = "normal",
    use_observed_lib_size: bool = True,
    encode_covariates: bool = False,
    linear: bool = False,
  ):
    errors.require(adata is not None, "SCVI needs adata, an AnnData with raw counts; SCVI.load(folder) reads a model.")
    given = {
      "layer": layer,
      "batch_key": batch_key,
      "labels_key": labels_key,
      "unlabeled_category": unlabeled_category,
      "size_factor_key": size_factor_key,
      "categorical_covariate_keys": categorical_covariate_keys,
      "continuous_covariate_keys": continuous_covariate_keys,
    }
    noted = dict(adata.uns.get(_KEYS, {}))
    keys = {**noted, **{k: v for k, v in given.items() if v is not None}}
    self.layer, self.columns = keys.pop("layer", None), _columns(keys)
    self.likelihood = errors.choose("gene_likelihood", gene_likelihood, runs.LIKELIHOODS)
    self.library = "size_factor" if self.columns.size_factor else "observed" if use_observed_lib_size else "latent"
    kind = errors.choose("dispersion", dispersion.replace("_", "-"), _DISPERSIONS)
    errors.choose("latent_distribution", latent_distribution, ("normal", "ln"))
    self.options = {
      "hidden": n_hidden,
      "latent_dim": n_latent,
      "num_layers": n_layers,
      "dropout": float(dropout_rate),
      "dispersion": _DISPERSIONS[kind],
      "latent": "normal" if latent_distribution == "normal" else "logistic_normal",
      "encode_covariates": encode_covariates,
      "linear": linear,
    }
    self.file: cell_files.CellFile | None = cells_of.of_anndata(adata, self.layer)
    self.cells = self.file.cells
    self.workdir: pathlib.Path | None = None
    self.init_from: SCVI | None = None
    self.results: dict[str, Any] = {}
    self._fitted: FittedCells | None = None

  @staticmethod
  def setup_anndata(adata: Any, **keys: Any) -> None:
    """Notes in adata.uns which layer and columns to use, so that SCVI(adata) needs no keys; see the class."""
    known = ("layer", "batch_key", "labels_key", "unlabeled_category", "size_factor_key")
    known += ("categorical_covariate_keys", "continuous_covariate_keys")
    for name in keys:
      errors.choose("key of setup_anndata", name, known)
    adata.uns[_KEYS] = {k: list(v) if isinstance(v, tuple | list) else v for k, v in keys.items() if v is not None}

  def train(
    self,
    max_epochs: int | None = None,
    *,
    train_size: float = 0.9,
    batch_size: int = 128,
    lr: float = 1e-3,
    n_epochs_kl_warmup: int | None = None,
    num_samples: int = 1,
    seed: int = 0,
    workdir: str | pathlib.Path | None = None,
  ) -> dict[str, Any]:
    """Trains, or resumes, a run and evaluates it on the held-out cells; returns its results.

    Args:
      max_epochs: 400, less for more than 20,000 cells, if not given.
      train_size: share of the cells to train on; the others are the test set.
      batch_size, lr: of Adam (eps 0.01, L2 1e-6).
      n_epochs_kl_warmup: epochs over which the weight of the KL of z grows to 1; 400, but at most half of the run.
      num_samples: importance samples; more than one is the IWAE bound.
      seed: of parameters, batches and noise.
      workdir: the run's folder; a new one in the system's temporary folder if not given.
    """
    errors.require(
      self.file is not None, "This model was loaded, and is trained; SCVI(adata, ...).train() trains a new one."
    )
    assert self.file is not None
    self._check_training(num_samples, n_epochs_kl_warmup)
    errors.require(0 < train_size < 1, f"train_size = {train_size}; it must be between 0 and 1.")
    held_out = 1 - train_size
    made = workdir or tempfile.mkdtemp(prefix="dgm_jax_")
    place = paths.folder("workdir", made).absolute()
    settings = runs.schedule(len(self.file.cells), held_out, batch_size, max_epochs, n_epochs_kl_warmup)
    settings |= {"seed": seed, "lr": lr, "num_samples": num_samples, "quiet": True}
    data = runs.data_options(self.columns, self.layer or "") | {"test_fraction": float(round(held_out, 6))}
    data |= {"path": str(place / runs.OWN_DATA), "data_dir": str(place)}
    config = self._make_config(data, settings)
    cells_of.store(place / runs.OWN_DATA, self.file, self.columns, self.layer)
    self.results = runs.train(config, place, f"dgm_jax.SCVI.train(workdir={str(place)!r})")
    self.workdir = place
    _, self._fitted = runs.restored(place)
    return self.results

  def _check_training(self, num_samples: int, warm_up: int | None) -> None:
    """Raises UserError for options that this objective does not have."""
    errors.require(
      num_samples == 1 or warm_up is None,
      "n_epochs_kl_warmup weighs the KL, which the bound of num_samples > 1 does not have; leave out one of them.",
    )

  def _make_config(self, data: dict, settings: dict) -> Any:
    return runs.make_config(self.likelihood, self.library, data, self.options, settings)

  def save(self, folder: str | pathlib.Path, overwrite: bool = False) -> None:
    """Copies the run to a folder, which `overwrite` replaces if it holds a model.  Raises UserError if it cannot be."""
    errors.require(self.workdir is not None, "The model is not trained yet: call train() first.")
    assert self.workdir is not None
    runs.copy(self.workdir, paths.folder("folder", folder), overwrite)

  @classmethod
  def load(cls, folder: str | pathlib.Path, adata: Any = None) -> Self:
    """The model of a run, with the cells that it was trained on, or those of `adata` in their place.

    Raises:
      UserError: there is no such run, or the genes, batches or categories of `adata` are not those of the model.
    """
    place = paths.folder("folder", folder)
    config, fitted = runs.restored(place)
    errors.require(config["model"]["name"] == cls.model_name, f"{place} is a run of {config['model']['name']!r}.")
    data = config["data"]
    split = lambda name: tuple(filter(None, (data.get(name) or "").split(",")))
    of = lambda name: data.get(name) or ""
    self = cls.__new__(cls)
    self.columns = Columns(
      of("batch"), of("labels"), of("unlabelled"), of("size_factor"), split("categorical"), split("continuous")
    )
    self.layer, self.library = of("layer") or None, config["model"]["args"]["library"]
    self.options, self.workdir, self._fitted = config["model"]["args"], place, fitted
    self.likelihood = config["model"]["args"]["likelihood"]
    self.results = files.read_json(place / "results.json") or {}
    self.file, self.init_from, self.cells = None, None, runs.cell_names(data)
    if adata is not None:
      fitted.arrays, self.cells = self._arrays(adata), list(map(str, adata.obs_names))
    return self


def _columns(keys: dict[str, Any]) -> Columns:
  listed = lambda value: () if value is None else (value,) if isinstance(value, str) else tuple(map(str, value))
  rows = lambda name: listed(keys.get(name))  # an .h5ad gives lists back as arrays
  text = lambda name: keys.get(name) or ""
  return Columns(
    text("batch_key"), text("labels_key"), text("unlabeled_category"), text("size_factor_key"),
    rows("categorical_covariate_keys"), rows("continuous_covariate_keys"),
  )  # fmt: skip

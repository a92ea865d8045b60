"""scANVI of cells in memory: the class that `dgm_jax.SCANVI` names."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dgm_jax.applications.single_cell import runs
from dgm_jax.applications.single_cell.model import SCVI
from dgm_jax.core import errors
from dgm_jax.data.sets import cells as cells_set


class SCANVI(SCVI):
  """scANVI (Xu et al., 2021): scVI with types of cells, some of which are known, and a classifier of the others.

  Args:
    adata, **options: as of SCVI; labels_key is needed, unlabeled_category where some types are hidden.
    init_from: a trained SCVI, whose networks are the initial ones and whose keys and options are taken; its genes,
      batches and categories must be those of adata, in the same order.
    classification_ratio: weight of the classifier's log-likelihood of known types.

  Raises:
    UserError: see SCVI; also if there is no labels_key, or fewer than two types are known.
  """

  model_name: ClassVar[str] = "scanvi"

  def __init__(
    self, adata: Any = None, *, init_from: SCVI | None = None, classification_ratio: float = 50.0, **options: Any
  ):
    if init_from is not None:
      errors.require(init_from.is_trained, "init_from is an SCVI that is not trained yet.")
      options = _options_of(init_from) | options
    super().__init__(adata, **options)
    errors.require(bool(self.columns.labels), "SCANVI needs labels_key, the column of obs with the types.")
    self.options["alpha"] = float(classification_ratio)
    if init_from is not None:
      self._require_same_inputs(init_from)
    self.init_from = init_from

  def _require_same_inputs(self, other: SCVI) -> None:
    """Raises UserError unless genes, batches and categories are those of a trained model, in its order.

    Its weights are matched by name and shape: in another order they would be those of other genes.
    """
    assert self.file is not None
    _, about = cells_set.of_columns(self.file, self.columns)
    known, given = other.fitted.about, {"genes": self.file.genes} | about
    for name in ("genes", "batches", "category_names"):
      old, new = list(known.get(name) or ()), list(given.get(name) or ())
      i = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
      at = lambda names, i=i: repr(names[i]) if i < len(names) else "none"
      errors.require(
        old == new,
        f"init_from knows other {name.replace('_', ' ')}, or in another order: number {i + 1} is {at(old)} there, and "
        f"{at(new)} in adata.",
      )
    for option in ("hidden", "latent_dim", "num_layers", "linear", "encode_covariates"):
      errors.require(
        self.options[option] == other.options[option],
        f"init_from has {option} = {other.options[option]!r}, and this model {self.options[option]!r}.",
      )

  def _check_training(self, num_samples: int, warm_up: int | None) -> None:
    errors.require(
      num_samples == 1, f"num_samples = {num_samples}; the bound of SCANVI has one sample, num_samples = 1."
    )
    errors.require(warm_up is None, "SCANVI has no warm-up: leave out n_epochs_kl_warmup.")

  def _make_config(self, data: dict, settings: dict) -> Any:
    config = runs.make_config(self.likelihood, self.library, data, self.options, settings, "scanvi")
    if self.init_from is not None:
      runs.set_section(config, {"init_from": str(self.init_from.workdir)})
    return config

  def predict(self, adata: Any = None, indices: Sequence[int] | None = None, soft: bool = False) -> Any:
    """The most probable type of each cell, [N]; with `soft`, a DataFrame of q(y|z) at z = E_q[z|x], [N, C]."""
    found = self.fitted.types(self._arrays(adata, indices))
    classes = list(self.fitted.about["classes"])
    if soft:
      return errors.import_package("pandas").DataFrame(found, self._index(adata, indices), classes)
    return np.array(classes)[found.argmax(1)]


def _options_of(model: SCVI) -> dict[str, Any]:
  """The keys and options of another model, as arguments of a constructor."""
  of, kinds = model.columns, {"normal": "normal", "logistic_normal": "ln"}
  args = model.options
  keys = {
    "layer": model.layer,
    "batch_key": of.batch or None,
    "labels_key": of.labels or None,
    "unlabeled_category": of.unlabelled or None,
    "size_factor_key": of.size_factor or None,
    "categorical_covariate_keys": list(of.categorical) or None,
    "continuous_covariate_keys": list(of.continuous) or None,
  }
  return keys | {
    "n_hidden": args["hidden"],
    "n_latent": args["latent_dim"],
    "n_layers": args["num_layers"],
    "dropout_rate": args["dropout"],
    "dispersion": args["dispersion"],
    "gene_likelihood": runs.short_name(model.likelihood),
    "latent_distribution": kinds[args["latent"]],
    "use_observed_lib_size": model.library != "latent",
    "encode_covariates": args["encode_covariates"],
    "linear": args["linear"],
  }

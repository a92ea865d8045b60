"""The run of a model of cells: its config, its folder, and what is read back from it."""

import math
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from dgm_jax.applications.single_cell.fitted import FittedCells, joined
from dgm_jax.core import compilation_cache, config_args, errors, files
from dgm_jax.data.files import cell_files
from dgm_jax.data.sets.cells import Columns
from dgm_jax.training import restore
from dgm_jax.training import train as training
from dgm_jax.training.workdir import folder, run_record

LIKELIHOODS = {"zinb": "zero_inflated_negative_binomial", "nb": "negative_binomial", "poisson": "poisson"}
OWN_DATA = "data.npz"  # counts that are given in memory, in the run's folder
_WARM_UP = 400  # epochs, at most half of the run


def short_name(likelihood: str) -> str:
  """zinb, nb or poisson of these or of the model's names."""
  return {full: short for short, full in LIKELIHOODS.items()}.get(likelihood, likelihood)


def max_epochs(num_cells: int) -> int:
  """The default number of epochs, as of scvi-tools: 400, less for more than 20,000 cells."""
  return max(1, min(round(20_000 / num_cells * 400), 400))


def data_options(columns: Columns, layer: str = "") -> dict[str, Any]:
  """config.data for the columns, without the path."""
  texts = {"batch": columns.batch, "labels": columns.labels, "unlabelled": columns.unlabelled}
  texts |= {"size_factor": columns.size_factor, "layer": layer}
  texts |= {"categorical": ",".join(columns.categorical), "continuous": ",".join(columns.continuous)}
  return {name: value for name, value in texts.items() if value}


def set_section(section: Any, values: Mapping[str, Any]) -> None:
  """Sets values of a section of a config.  Raises UserError for an unknown name or another type."""
  for name, value in values.items():
    errors.choose("option", name, list(section.keys()))
    try:
      with section.unlocked():
        section[name] = value
    except (TypeError, ValueError) as e:
      raise errors.UserError(f"{name} = {value!r} is of another type than {section[name]!r}.") from e


def make_config(
  likelihood: str,
  library: str,
  data: Mapping[str, Any],
  model: Mapping[str, Any],
  settings: Mapping[str, Any],
  name: str = "scvi",
) -> Any:
  """The config of a run.

  Args:
    likelihood: zinb, nb or poisson.
    library: observed, latent or size_factor.
    data: options of the data set `cells`.
    model: further arguments of the model.
    settings: seed, num_samples, lr, batch_size, num_steps, beta_steps, log_every, quiet.
    name: scvi or scanvi.
  """
  errors.choose("gene_likelihood", likelihood, LIKELIHOODS)
  k = int(settings["num_samples"])
  config = config_args.load(f"scvi_cells:model={name},likelihood={likelihood},library={library},k={k}")
  set_section(config.data, data)
  set_section(config.model.args, model)
  set_section(config.optim, {"lr": float(settings["lr"])})
  if k == 1 and name == "scvi":
    set_section(config.objective, {"beta_steps": int(settings["beta_steps"])})
  names = ("seed", "batch_size", "num_steps", "log_every")
  set_section(config, {name: int(settings[name]) for name in names})
  with config.unlocked():
    if settings.get("quiet"):
      config.loggers = ()
      for evaluation in {"cell_clusters", "count_imputation"} & set(config.evaluate.keys()):
        del config.evaluate[evaluation]
    elif "cell_clusters" in config.evaluate:
      config.evaluate.cell_clusters.update(num_init=20, seed=int(settings["seed"]))
  return config


def schedule(num_cells: int, test_fraction: float, batch_size: int, epochs: int | None, warm_up: int | None) -> dict:
  """{num_steps, beta_steps, log_every, batch_size}: the KL of z has its full weight at latest from half of the run."""
  errors.require(batch_size >= 1, f"batch_size = {batch_size}; it must be 1 or more.")
  errors.require(epochs is None or epochs >= 1, f"max_epochs = {epochs}; it must be 1 or more.")
  num_train = num_cells - round(test_fraction * num_cells)
  size = min(batch_size, num_train)
  per_epoch = max(1, num_train // size)
  epochs = max_epochs(num_cells) if epochs is None else epochs
  warmed = min(_WARM_UP, math.ceil(epochs / 2)) if warm_up is None else warm_up
  errors.require(warmed >= 0, f"n_epochs_kl_warmup = {warmed}; it must be 0 or more.")
  return {
    "num_steps": epochs * per_epoch,
    "beta_steps": warmed * per_epoch,
    "log_every": per_epoch,
    "batch_size": size,
  }


def copy(workdir: pathlib.Path, target: pathlib.Path, overwrite: bool) -> None:
  """Copies a run to a folder, which is complete or as it was before.

  Raises:
    UserError: `target` is the run, within it or around it, or is not empty: with `overwrite`, if it is no run.
  """
  source, place = workdir.resolve(), target.resolve()
  near = source == place or source in place.parents or place in source.parents
  errors.require(not near, f"{target} is the model's own folder {workdir}, within it or around it; name another one.")
  taken = place.exists() and any(place.iterdir())
  errors.require(overwrite or not taken, f"{target} exists; overwrite=True replaces it.")
  errors.require(
    not taken or (place / "config.json").is_file(),
    f"{target} holds files that are not a model's (it has no config.json); name a new or empty folder.",
  )
  files.make_folder(place.parent)
  with tempfile.TemporaryDirectory(dir=place.parent, prefix=".saving_", ignore_cleanup_errors=True) as beside:
    new, old = pathlib.Path(beside, "new"), pathlib.Path(beside, "old")
    shutil.copytree(source, new)
    files.sync_tree(new)
    if place.exists():
      place.rename(old)
    new.rename(place)
  files.sync(place.parent)


def train(config: Any, workdir: pathlib.Path, call: str) -> dict[str, Any]:
  """Trains, or resumes, the run; returns its results."""
  compilation_cache.use()
  with folder.disk_errors(workdir), run_record.called(call):
    return training.train_and_evaluate(config, workdir)


def cell_names(data: Mapping[str, Any]) -> list[str] | None:
  """The names of the cells of a run, in the order of its file; None if the file is no longer there."""
  path = pathlib.Path(data.get("path") or "")
  if data.get("name") != "cells" or not path.exists():
    return None
  with cell_files.opened(path, data.get("layer") or "") as file:
    return file.cells


def restored(workdir: pathlib.Path) -> tuple[dict[str, Any], FittedCells]:
  """(config, the fitted model with the cells of its data) of a run.  Raises UserError if it is of no model of cells."""
  config, experiment, state = restore.of_run(workdir)
  errors.require(
    config["model"]["name"] in ("scvi", "scanvi"),
    f"{workdir} is a run of model {config['model']['name']!r}; a run of scvi is expected.",
  )
  splits = experiment.splits
  return config, FittedCells(experiment.model, state, dict(splits.about), joined(splits.parts()))

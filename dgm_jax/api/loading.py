"""Loads a trained model: from a run's folder, from a packed file, or by the name of one that comes with the package."""

import os
import pathlib

from ml_collections import ConfigDict

from dgm_jax.api.packing import SUFFIX, unpack
from dgm_jax.api.trained_model import LatentModel
from dgm_jax.core import errors, files, paths
from dgm_jax.training.restore import config_of_run, restore

MODELS = pathlib.Path(__file__).parent / "models"


def names() -> list[str]:
  """Names of the trained models that come with the package."""
  return sorted(p.stem for p in MODELS.glob(f"*{SUFFIX}"))


def load(model: str | os.PathLike[str]) -> LatentModel:
  """A trained model with its parameters.

  Args:
    model: the folder of a run, finished or not, whose latest checkpoint is taken (its data set must be available); a
      file that `pack` wrote (no data set is needed); or the name of a model that comes with the package, see `names`.

  Raises:
    UserError: there is no such model, run or checkpoint; the data differ from the run's; the file is damaged.
  """
  path = paths.named("model", model)
  if path.is_file():
    return unpack(path)
  if path.is_dir():
    return of_run(path)
  if len(path.parts) == 1 and path.name in names():
    return unpack(MODELS / f"{path.name}{SUFFIX}")
  found = errors.unknown("trained model", str(model), names())
  raise errors.UserError(f"{found} It is neither the folder of a run nor a packed file: {path} does not exist.")


def of_run(workdir: pathlib.Path, checkpoint: str = "latest") -> LatentModel:
  """The model of a run at a checkpoint: "latest", "best" or a step."""
  config = ConfigDict(config_of_run(workdir))
  return LatentModel(*restore(config, workdir, checkpoint), config, files.read_json(workdir / "results.json"), workdir)

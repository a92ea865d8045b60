"""Restores the state of a run from its checkpoints, to evaluate, sample or debug it."""

import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from dgm_jax.core import errors, paths
from dgm_jax.core.evaluation import make_prepare
from dgm_jax.training.build import build
from dgm_jax.training.comparable import about
from dgm_jax.training.early_stopping import best_step
from dgm_jax.training.experiment import Experiment, make_init
from dgm_jax.training.processes.devices import shardings, state_shardings
from dgm_jax.training.workdir import checkpoint, folder, legacy_configs, metrics, own_files


def restore(
  config: ConfigDict, workdir: str | pathlib.Path, which: str = "latest", averaged: bool = True
) -> tuple[Experiment, Any]:
  """(experiment, state) of a run, to evaluate or to sample.

  Args:
    config: config of the run.
    workdir: folder of the run.
    which: "latest", "best" (by keep_best) or a step.
    averaged: whether to use the moving averages of the parameters, if there are any, and to prepare the state for
      evaluation; if not, the state is that of training, at step 0 if none is saved.

  Raises:
    UserError: the config or the data are not the run's, or there is no such checkpoint.
  """
  workdir = pathlib.Path(workdir)
  folder.check_same_run(workdir, config.to_dict())
  own_files.report_changes(workdir, config.to_dict(), evaluations=False)
  experiment = build(own_files.located(config, workdir))
  folder.check_data(workdir, about(config, experiment), record=False)  # the folder may be read-only
  init = make_init(experiment, config.seed)
  placed = state_shardings(
    jax.eval_shape(init), shardings(experiment.batch_size)[0].mesh, config.get("shard_params", False)
  )
  state, template = None, jax.jit(init, out_shardings=placed)()
  if (workdir / "checkpoints").is_dir():
    with checkpoint.open_manager(workdir, read_only=True) as checkpoints:
      step = _step_of(which, config.get("keep_best", ""), checkpoint.steps(workdir), metrics.read(workdir))
      state = checkpoint.restore_latest(checkpoints, template, step=step)
  if not averaged:
    return experiment, template if state is None else state
  errors.require(state is not None, f"--workdir {workdir} has no checkpoint yet; train it first.")
  return experiment, make_prepare(experiment.system)(state)


def config_of_run(workdir: pathlib.Path) -> dict[str, Any]:
  """The config of a run, as plain values.

  Raises:
    UserError: the folder holds no run.
  """
  found = legacy_configs.read_config(workdir)
  if found is None:
    raise errors.UserError(f"{workdir} holds no run (it has no config.json).")
  return found


def of_run(workdir: str | pathlib.Path, which: str = "latest") -> tuple[dict[str, Any], Experiment, Any]:
  """(config, experiment, state) of the run in a folder, by the config that the folder has; see `restore`."""
  config = config_of_run(paths.folder("--workdir", workdir))
  return config, *restore(ConfigDict(config), workdir, which)


def _step_of(which: str, metric: str, steps: set[int], rows: list[dict]) -> int | None:
  """The step that `which` denotes; None for "latest", the newest that can be read."""
  if which == "latest":
    return None
  if which == "best":
    errors.require(metric != "", "--checkpoint=best needs a run with keep_best, the metric that defines the best.")
    step = best_step(rows, metric, steps)
    errors.require(step is not None, f"No checkpoint was saved at an evaluation of {metric}.")
    return step
  errors.choose("value of --checkpoint", which, ["latest", "best", *map(str, steps)])
  return int(which)

"""Checkpoints: the TrainState alone, by orbax; a checkpoint is either complete or not there."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from dgm_jax import errors


def open_manager(workdir: str | pathlib.Path, keep: int = 2) -> ocp.CheckpointManager:
  """The manager of workdir/checkpoints, which keeps the latest `keep`; saves are asynchronous and atomic."""
  options = ocp.CheckpointManagerOptions(
    preservation_policy=checkpoint_managers.LatestN(keep), cleanup_tmp_directories=True
  )
  return ocp.CheckpointManager(pathlib.Path(workdir).absolute() / "checkpoints", options=options)


def save(manager: ocp.CheckpointManager, step: int, state: Any) -> None:
  """Starts writing `state`; its arrays are copied first, so the caller may donate them."""
  if step not in manager.all_steps():
    manager.save(step, args=ocp.args.StandardSave(state))


def restore_latest(manager: ocp.CheckpointManager, template: Any) -> Any | None:
  """The newest state, or None if there is none.

  Args:
    manager: see open_manager.
    template: a state (or its jax.eval_shape) with the shapes, dtypes and shardings to restore to.
  """
  step = manager.latest_step()
  if step is None:
    return None
  try:
    return manager.restore(step, args=ocp.args.StandardRestore(template))
  except (ValueError, KeyError) as e:
    raise errors.UserError(
      f"The checkpoint of step {step} in {manager.directory} does not fit the model of this config "
      f"({len(jax.tree.leaves(template))} arrays expected): {str(e).splitlines()[0]}"
    ) from e

"""Checkpoints: the TrainState alone, by orbax; a checkpoint is either complete or not there."""

import pathlib
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from dgm_jax import errors


def open_manager(workdir: str | pathlib.Path, keep: int = 2, read_only: bool = False) -> ocp.CheckpointManager:
  """The manager of workdir/checkpoints, which keeps the latest `keep`; saves are asynchronous and atomic.

  With `read_only` it leaves alone what another process, the training, is writing there.
  """
  options = ocp.CheckpointManagerOptions(
    preservation_policy=None if read_only else checkpoint_managers.LatestN(keep),
    cleanup_tmp_directories=not read_only,
    create=not read_only,
  )
  return ocp.CheckpointManager(pathlib.Path(workdir).absolute() / "checkpoints", options=options)


def _present(state: Any) -> dict[str, Any]:
  """The fields of a state but those that are None: orbax refuses a checkpoint from before there was such a field."""
  return {name: value for name, value in vars(state).items() if value is not None}


def save(manager: ocp.CheckpointManager, step: int, state: Any) -> None:
  """Starts writing `state`; its arrays are copied first, so the caller may donate them."""
  if step not in manager.all_steps():
    manager.save(step, args=ocp.args.StandardSave(_present(state)))


def restore_latest(manager: ocp.CheckpointManager, template: Any, repair: bool = False) -> Any | None:
  """The newest state that can be read, or None if there is no checkpoint.

  Args:
    manager: see open_manager.
    template: a state (or its jax.eval_shape) with the shapes, dtypes and shardings to restore to.
    repair: whether to remove newer checkpoints that cannot be read.

  Raises:
    UserError: there are checkpoints, and none can be read into `template`.
  """
  steps = sorted(manager.all_steps(), reverse=True)
  reason = None
  for step in steps:
    try:
      state = template.replace(**manager.restore(step, args=ocp.args.StandardRestore(_present(template))))
    except Exception as e:  # orbax and tensorstore raise many kinds for a damaged file
      reason = reason or f"{type(e).__name__}: {str(e).strip().splitlines()[0][:200]}"
      logging.warning("The checkpoint of step %d in %s cannot be read (%s).", step, manager.directory, reason)
      continue
    if repair:  # a readable older one shows that these are damaged
      for damaged in (s for s in steps if s > step):
        manager.delete(damaged)
    return state
  if steps:
    raise errors.UserError(
      f"No checkpoint in {manager.directory} can be read: they are damaged, or of another model than this config's "
      f"({reason})"
    )
  return None

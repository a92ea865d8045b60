"""Checkpoints of the TrainState, written by orbax; a checkpoint is either complete or absent."""

import errno
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from dgm_jax.core import errors

_FORMAT = 1  # version of the format; increase it when older programs cannot read new checkpoints


def open_manager(workdir: str | pathlib.Path, keep: int = 2, read_only: bool = False) -> ocp.CheckpointManager:
  """The manager of workdir/checkpoints, which keeps the latest `keep` and the one with the best score.

  Saves are asynchronous and atomic.  With `read_only` it does not touch what a training process is writing there.
  """
  best = checkpoint_managers.BestN(
    get_metric_fn=lambda found: found["score"], n=1, keep_checkpoints_without_metrics=False
  )
  policy = checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(keep), best])
  options = ocp.CheckpointManagerOptions(
    preservation_policy=None if read_only else policy,
    cleanup_tmp_directories=not read_only,
    create=not read_only,
  )
  handler = ocp.StandardCheckpointHandler()  # named, so that metadata can be read before anything is restored
  return ocp.CheckpointManager(pathlib.Path(workdir).absolute() / "checkpoints", options=options, item_handlers=handler)


def steps(workdir: str | pathlib.Path) -> set[int]:
  """Steps of the complete checkpoints in a run's folder."""
  return {int(p.name) for p in (pathlib.Path(workdir) / "checkpoints").glob("*") if p.name.isdigit()}


def _present(state: Any) -> dict[str, Any]:
  """The fields of a state that are not None: orbax rejects an older checkpoint without such a field."""
  return {name: value for name, value in vars(state).items() if value is not None}


def save(
  manager: ocp.CheckpointManager,
  step: int,
  state: Any,
  score: float | None = None,
  about: dict[str, Any] | None = None,
) -> None:
  """Starts writing `state`; its arrays are copied first, so the caller may donate them.

  Args:
    manager: see open_manager.
    step, state: number of steps, and the state to save.
    score: more is better; the checkpoint with the highest score is kept in addition to the latest.
    about: metadata saved with the state: config, versions.

  Raises:
    OSError: the disk has no room for it; nothing is written.
  """
  if step in manager.all_steps():
    return
  free, needed = shutil.disk_usage(manager.directory).free, sum(a.nbytes for a in jax.tree.leaves(state))
  if free < needed:  # before orbax's threads report it, each with a traceback
    raise OSError(errno.ENOSPC, f"A checkpoint takes {needed / 1e6:.1f} MB; {free / 1e6:.1f} MB are left.")
  scores = None if score is None else {"score": score}
  metadata = {"format": _FORMAT, **(about or {})}
  arguments = ocp.args.StandardSave(_present(state))
  if not manager.save(step, args=arguments, metrics=scores, custom_metadata=metadata):  # there is a later checkpoint
    raise RuntimeError(f"The checkpoint of step {step} was not written to {manager.directory}.")


def remove_after(manager: ocp.CheckpointManager, step: int) -> None:
  """Removes the checkpoints of later steps, also damaged ones: a run that continues from `step` writes them again."""
  for later in (s for s in manager.all_steps() if s > step):
    manager.delete(later)


def _check_format(manager: ocp.CheckpointManager, step: int) -> None:
  known = (manager.metadata(step).custom_metadata or {}).get("format", _FORMAT)  # the first checkpoints had none
  errors.require(
    known <= _FORMAT,
    f"The checkpoint of step {step} in {manager.directory} has format {known}; this version reads up to {_FORMAT}: "
    "update dgm_jax.",
  )


def restore_arrays(manager: ocp.CheckpointManager) -> tuple[int, dict]:
  """(step, state as nested dicts of arrays on one device) of the newest checkpoint that can be read, of any model.

  Raises:
    UserError: there is none.
  """
  one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])  # it may have been written on other devices
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      _check_format(manager, step)
      shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one), manager.item_metadata(step).tree
      )
      return step, manager.restore(step, args=ocp.args.StandardRestore(shapes))
    except errors.UserError:
      raise
    except Exception as e:  # as in restore_latest
      logging.warning("The checkpoint of step %d in %s cannot be read (%s).", step, manager.directory, e)
  raise errors.UserError(f"{manager.directory} holds no checkpoint that can be read.")


def restore_latest(
  manager: ocp.CheckpointManager, template: Any, repair: bool = False, step: int | None = None
) -> Any | None:
  """The newest state that can be read, or None if there is no checkpoint.

  Args:
    manager: see open_manager.
    template: a state (or its jax.eval_shape) with the shapes, dtypes and shardings to restore to.
    repair: whether to remove newer checkpoints that cannot be read.
    step: the only step to try; None for the newest that can be read.

  Raises:
    UserError: there are checkpoints, and none can be read into `template`.
  """
  steps = sorted(manager.all_steps(), reverse=True) if step is None else [step]
  reason = None
  for step in steps:
    try:
      _check_format(manager, step)
      state = template.replace(**manager.restore(step, args=ocp.args.StandardRestore(_present(template))))
    except errors.UserError:
      raise
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
      f"No checkpoint in {manager.directory} can be read: they are damaged, or belong to another model than "
      f"this config's ({reason})"
    )
  return None

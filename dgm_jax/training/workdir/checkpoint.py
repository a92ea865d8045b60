"""Checkpoints of the TrainState, written by orbax; a checkpoint is either complete or absent, see manifest.py."""

import asyncio
import errno
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from dgm_jax.core import errors
from dgm_jax.training.processes import hosts
from dgm_jax.training.workdir import manifest, recovery


class _Synced(ocp.path.atomicity.AtomicRenameTemporaryPath):
  """Commits a checkpoint as orbax does, in its thread, then adds the rows of metrics and the manifest.

  Only after that orbax removes older checkpoints.
  """

  async def finalize(self):
    """Raises OSError if the disk is full."""
    await super().finalize()
    await asyncio.to_thread(_finish, pathlib.Path(self.get_final()))


def _finish(folder: pathlib.Path) -> None:
  rows = folder.parents[1] / "metrics.jsonl"  # a run that continues from here needs those up to here
  if rows.exists():
    shutil.copyfile(rows, folder / rows.name)
  manifest.write(folder)


def open_manager(workdir: str | pathlib.Path, keep: int = 2, read_only: bool = False) -> ocp.CheckpointManager:
  """The manager of workdir/checkpoints, which keeps the latest `keep` and the one with the best score.

  Saves are asynchronous and atomic.  With `read_only` it does not touch what a training process is writing there; else
  checkpoints that are incomplete, or whose metadata are damaged, are removed if another one is sound.

  Raises:
    UserError: the metadata of all checkpoints are damaged.
  """
  folder = pathlib.Path(workdir).absolute() / "checkpoints"
  if not read_only:
    hosts.on_first_host(lambda: _clear(folder))
  best = checkpoint_managers.BestN(
    get_metric_fn=lambda found: found["score"], n=1, keep_checkpoints_without_metrics=False
  )
  policy = checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(keep), best])
  options = ocp.CheckpointManagerOptions(
    preservation_policy=None if read_only else policy,
    cleanup_tmp_directories=not read_only,
    create=not read_only,
    temporary_path_class=_Synced,
    lightweight_initialize=read_only,  # reads no metadata, some of which may be damaged
  )
  handler = ocp.StandardCheckpointHandler()  # named, so that metadata can be read before anything is restored
  return ocp.CheckpointManager(folder, options=options, item_handlers=handler)


def _clear(checkpoints: pathlib.Path) -> None:
  """Removes what orbax could not open or would take for a checkpoint; see open_manager."""
  complete = manifest.complete(checkpoints)
  faults = {path: "is incomplete" for step, path in manifest.found(checkpoints).items() if step not in complete}
  damaged = {p: f"is damaged ({f})" for p in complete.values() if (f := manifest.damage(p, metadata_only=True))}
  faults |= damaged
  if not faults:
    return
  sound = any(path not in damaged and not manifest.damage(path) for path in complete.values())
  errors.require(sound or not damaged, _none_readable(checkpoints, "; ".join(damaged.values())))
  for path, fault in faults.items():
    if sound:
      logging.warning("The checkpoint of step %s in %s %s; it is removed.", path.name, checkpoints, fault)
      shutil.rmtree(path)
    else:  # it is all that there is
      recovery.set_aside(path, fault)


def _none_readable(checkpoints: pathlib.Path, reason: str) -> str:
  return (
    f"No checkpoint in {checkpoints} can be read: they are damaged, or belong to another model than this config's "
    f"({reason}). Restore one, or remove the run's folder to train anew."
  )


def steps(workdir: str | pathlib.Path) -> set[int]:
  """Steps of the complete checkpoints in a run's folder."""
  return set(manifest.complete(pathlib.Path(workdir) / "checkpoints"))


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
  metadata = {"format": manifest.FORMAT, **(about or {})}
  arguments = ocp.args.StandardSave(_present(state))
  if not manager.save(step, args=arguments, metrics=scores, custom_metadata=metadata):  # there is a later checkpoint
    raise RuntimeError(f"The checkpoint of step {step} was not written to {manager.directory}.")


def remove_after(manager: ocp.CheckpointManager, step: int) -> None:
  """Removes the checkpoints of later steps, also damaged ones: a run that continues from `step` writes them again."""
  for later in (s for s in manager.all_steps() if s > step):
    manager.delete(later)


def _check(manager: ocp.CheckpointManager, step: int) -> None:
  """Raises _DamagedError if a checkpoint is not what was written, UserError if it is of a later version."""
  folder = pathlib.Path(manager.directory) / str(step)
  if fault := manifest.damage(folder):
    raise _DamagedError(fault)
  known = manifest.format_of(folder)
  errors.require(
    known <= manifest.FORMAT,
    f"The checkpoint of step {step} in {manager.directory} has format {known}; this version reads up to "
    f"{manifest.FORMAT}: update dgm_jax.",
  )


class _DamagedError(Exception):
  """A file of a checkpoint is not what was written."""


def restore_arrays(manager: ocp.CheckpointManager) -> tuple[int, dict]:
  """(step, state as nested dicts of arrays on one device) of the newest checkpoint that can be read, of any model.

  Raises:
    UserError: there is none.
  """
  one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])  # it may have been written on other devices
  for step in sorted(manifest.complete(pathlib.Path(manager.directory)), reverse=True):
    try:
      _check(manager, step)
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
    repair: whether to remove newer checkpoints that are damaged.
    step: the only step to try; None for the newest that can be read.

  Raises:
    UserError: there are checkpoints, and none can be read into `template`.
  """
  folder = pathlib.Path(manager.directory)
  steps = sorted(manifest.complete(folder), reverse=True) if step is None else [step]
  reasons = []
  for step in steps:
    try:
      _check(manager, step)
      state = template.replace(**manager.restore(step, args=ocp.args.StandardRestore(_present(template))))
    except errors.UserError:
      raise
    except Exception as e:  # orbax and tensorstore raise many kinds
      reasons.append(_first_line(e))
      if manifest.exists(folder / str(step)) and not isinstance(e, _DamagedError):
        break  # its files are what was written: not one to replace by an older one
      logging.warning("The checkpoint of step %d in %s cannot be read (%s).", step, folder, reasons[-1])
      continue
    if repair:  # a readable older one shows that these are damaged
      for damaged in (s for s in steps if s > step):
        manager.delete(damaged)
    return state
  if steps:
    raise errors.UserError(_none_readable(folder, reasons[0]))
  return None


def _first_line(e: Exception) -> str:
  text = (str(e).strip().splitlines() or [""])[0][:200]
  return text if isinstance(e, _DamagedError) else f"{type(e).__name__}: {text}"

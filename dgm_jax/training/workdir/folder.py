"""The folder of a run: its creation, and checks that it fits the config and the data."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from dgm_jax.core import errors, full_disk, paths
from dgm_jax.core.files import flatten, is_temporary, make_folder, read_json, write_json
from dgm_jax.training.workdir import manifest, own_files, recovery
from dgm_jax.training.workdir.legacy_configs import OWN_DATA, PREPARED, read_config

# Locations, placement and what is written besides: a run may continue with other values of these.
_LOCATIONS = ("data.data_dir", "data.manual_dir", "data.source", "sample_devices", "shard_params")
_LOCATIONS += ("figure_formats", "loggers", "grace_seconds")


def _differences(old: dict, new: dict, free: tuple[str, ...] = ()) -> list[str]:
  old, new = flatten(old), flatten(json.loads(json.dumps(new, default=str)))
  # a folder that was moved with its own data, whose content is checked
  moved = {pathlib.Path(c.get("data.path") or "").name for c in (old, new)} == {OWN_DATA}
  places = (*_LOCATIONS, "data.path") if moved else _LOCATIONS
  return [
    f"{k} ({old.get(k, 'absent')} there, {new.get(k, 'absent')} now)"
    for k in sorted(old.keys() | new.keys())
    if k not in places and not k.startswith(free) and old.get(k) != new.get(k)
  ]


def check_same_run(workdir: pathlib.Path, config: dict) -> None:
  """Raises UserError if `config` is not the run's; only options of the evaluation may differ."""
  old = read_config(workdir)
  errors.require(isinstance(old, dict), f"--workdir {workdir} holds no run (it has no config.json).")
  if different := _differences(old, config, free=("evaluate.", "eval_batch_size")):
    raise errors.UserError(
      f"--workdir {workdir} holds a run of another config. It differs in: {'; '.join(different)}. "
      "Leave --config out to take the run's own; only evaluate.* and eval_batch_size may differ."
    )


def check(workdir: pathlib.Path, config: dict, own_folder: pathlib.Path | None = None) -> dict | None:
  """Validates that `workdir` is new or this run's; returns the results of a finished run, else None.

  Args:
    workdir: folder of the run.
    config: its config.
    own_folder: folder of the sweep that keeps the user's own modules; None if they are where the config names them.

  Raises:
    UserError: `workdir` cannot be written, holds something else, or holds a run of another config or of other modules.
  """
  paths.folder("--workdir", workdir)
  old = read_config(workdir)
  if old is None:
    errors.require(
      not workdir.is_dir() or recovery.is_lost(workdir / "config.json") or _is_new(workdir),
      f"--workdir {workdir} holds files that are not a run's (it has no config.json); name a new or empty folder.",
    )
  elif different := _differences(old, config):
    raise errors.UserError(
      f"--workdir {workdir} holds a run of another config. It differs in: {'; '.join(different)}. "
      "Name another workdir, or give the same values to resume."
    )
  if own_folder is None:
    own_files.check(workdir, config)
  parent = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
  errors.require(os.access(parent, os.W_OK), f"--workdir {workdir}: {parent} cannot be written.")
  return recovery.results(workdir)


def _is_new(workdir: pathlib.Path) -> bool:
  """Whether a folder holds nothing but a run's own data, and what a process left that was killed before it began."""
  return all(p.name in (OWN_DATA, PREPARED) or is_temporary(p.name) for p in workdir.iterdir())


def check_data(workdir: pathlib.Path, about: dict[str, Any], record: bool = True) -> None:
  """Raises UserError if the data are not those that the run started with, which data.json records.

  With `record` they are recorded if they are not yet.
  """
  path = workdir / "data.json"
  found = {k: about[k] for k in ("data", "split_sizes", "data_digest")}
  if (known := recovery.data(workdir)) is None and record:
    write_json(path, found)
  reading = "; ".join(about.get("reading", ()))
  errors.require(
    known in (None, found),
    f"--workdir {workdir} was trained on other data than {about['data']!r} is now: {known} then, {found} now. "
    + (f"Earlier versions read them otherwise ({reading}). " if reading else "Restore the data, or ")
    + ("Name" if reading else "name")
    + " another workdir.",
  )


@contextlib.contextmanager
def disk_errors(workdir: pathlib.Path) -> Iterator[None]:
  """Context in which errors of a full disk become a DiskFullError that says which checkpoint is kept."""

  def kept() -> str:
    steps = manifest.complete(workdir / "checkpoints")
    found = f"The checkpoint of step {max(steps)} is complete" if steps else "There is no checkpoint yet"
    return f"{found}; free some space, and the same command continues from there."

  with full_disk.sentence(f"--workdir {workdir}", workdir, kept):
    yield


def _is_sound(path: pathlib.Path) -> bool:
  """Whether there is a JSON object in a file."""
  try:
    return read_json(path) is not None
  except errors.UserError:
    return False


def create(workdir: pathlib.Path, config: dict, source: dict | None = None) -> None:
  """Creates the folder and writes config.json and copies of the user's own modules, unless they exist.

  Args:
    workdir: folder of the run.
    config: its config.
    source: the config with the places from which modules are copied; None for `config`.
  """
  try:
    make_folder(workdir)
    if not _is_sound(workdir / "config.json"):
      write_json(workdir / "config.json", config)
    if not (workdir / "own" / "index.json").exists():  # which is written last
      own_files.keep(workdir, config, source)
  except OSError as e:
    raise errors.UserError(f"--workdir {workdir} cannot be written: {e.strerror}.") from e

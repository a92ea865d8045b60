"""Files of a run that a power cut or a damaged disk spoilt: taken from another copy, where there is one.

`core.files.whole` leaves none half-written; earlier versions did.
"""

import functools
import json
import pathlib
from typing import Any

from absl import logging

from dgm_jax.core import errors, files
from dgm_jax.training.workdir import manifest


def has_checkpoint(workdir: pathlib.Path) -> bool:
  """Whether a run has a complete checkpoint."""
  return bool(manifest.complete(workdir / "checkpoints"))


def config(workdir: pathlib.Path) -> dict[str, Any] | None:
  """config.json; if it is damaged or missing, the config that the newest sound checkpoint holds; else None.

  Raises:
    UserError: it is damaged, not just empty, and there is no such checkpoint.
  """
  path = workdir / "config.json"
  sentence = f"{path} is missing"
  try:
    if (found := files.read_json(path)) is not None:
      return found
  except errors.UserError as e:
    sentence = str(e).rstrip(".")
  for step, checkpoint in sorted(manifest.complete(workdir / "checkpoints").items(), reverse=True):
    saved = manifest.about(checkpoint).get("config")
    if isinstance(saved, dict) and not manifest.damage(checkpoint, metadata_only=True):
      logging.warning("%s; the config in the checkpoint of step %d is used.", sentence, step)
      return saved
  if not path.exists() or is_lost(path):
    return None
  raise errors.UserError(f"{sentence}, and no checkpoint has a copy. Restore it, or remove {workdir} to train anew.")


def is_lost(path: pathlib.Path) -> bool:
  """Whether a file is there, but empty or all zeros, as a power cut leaves one that was not synced."""
  return path.is_file() and files.is_lost(path.read_bytes())


def results(workdir: pathlib.Path) -> dict[str, Any] | None:
  """results.json, which marks a finished run; None if there is none, or a damaged one that a checkpoint can renew.

  Raises:
    UserError: it is damaged, and there is no checkpoint to evaluate again.
  """
  try:
    return files.read_json(workdir / "results.json")
  except errors.UserError as e:
    sentence = str(e).rstrip(".")
    errors.require(
      has_checkpoint(workdir), f"{sentence}, and there is no checkpoint to evaluate. Remove it to train the run again."
    )
    _warn_once(f"{sentence}; training the run again from its last checkpoint renews it.")
    return None


@functools.cache
def _warn_once(sentence: str) -> None:  # a sweep looks at its runs again and again
  logging.warning("%s", sentence)


def data(workdir: pathlib.Path) -> dict[str, Any] | None:
  """data.json, the data that the run began with; if it is damaged, what the first line of metrics.jsonl says of them.

  Raises:
    UserError: it is damaged, the first line is, too, and there is a checkpoint that was trained on these data.
  """
  path = workdir / "data.json"
  try:
    return files.read_json(path)
  except errors.UserError as e:
    if (found := _first_line(workdir / "metrics.jsonl")) is not None:
      logging.warning("%s The first line of metrics.jsonl is used.", e)
      return found
    errors.require(
      not has_checkpoint(workdir),
      f"{e} It identifies the data of the run. Remove it if you are sure that they have not changed.",
    )
    return None  # nothing was trained on any data yet


def _first_line(path: pathlib.Path) -> dict[str, Any] | None:
  try:
    with open(path, "rb") as file:
      row = json.loads(file.readline())
    return {name: row[name] for name in ("data", "split_sizes", "data_digest")}
  except (OSError, ValueError, KeyError, TypeError):
    return None


def optional(path: pathlib.Path) -> dict[str, Any] | None:
  """The object in a file that a run can do without: {} with a warning if it is damaged, None if there is none."""
  try:
    return files.read_json(path)
  except errors.UserError as e:
    logging.warning("%s Its content is lost.", e)
    return {}


def set_aside(path: pathlib.Path, why: str) -> None:
  """Renames a damaged file to NAME.damaged, NAME.damaged.2 and so on, with a warning."""
  name = next(
    name
    for i in range(1, 10_000)
    if not (name := path.with_name(f"{path.name}.damaged{f'.{i}' if i > 1 else ''}")).exists()
  )
  path.rename(name)
  files.sync(path.parent)
  logging.warning("%s %s; it is kept as %s.", path, why, name.name)


def starts(workdir: pathlib.Path, writes: bool = True) -> list[dict[str, Any]]:
  """The entries of run.json; [] if there is none, or a damaged one, which the process that writes it sets aside."""
  path = workdir / "run.json"
  try:
    return files.read_json(path) or []
  except errors.UserError:
    if writes:
      set_aside(path, "is damaged; the record of earlier processes is lost")
    return []

"""States of the runs of a sweep, read from their folders.

Nothing about the progress of a run is stored elsewhere, so any process on any host can read it.
"""

import json
import os
import pathlib
import platform
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from dgm_jax.core import files
from dgm_jax.training.workdir import metrics, recovery

_FRESH = 120.0  # seconds; a run on another host counts as running if its files changed within this time
STATES = ("finished", "pruned", "failed", "running", "interrupted", "waiting")


def folder(root: pathlib.Path, name: str) -> pathlib.Path:
  """The folder of a run."""
  return root / "runs" / name


def is_finished(root: pathlib.Path, name: str) -> bool:
  """Whether a run has its final numbers."""
  return recovery.results(folder(root, name)) is not None


class State(NamedTuple):
  """State of one run.

  Attributes:
    state: one of STATES.
    step: step of the latest row of metrics.jsonl.
    note: error of a failed run, reason for a pruned one.
  """

  state: str
  step: int
  note: str = ""


def stop_reason(path: pathlib.Path) -> str | None:
  """Why the run in this folder was asked to end (stop.json), or None."""
  found = files.read_json(path / "stop.json")
  return None if found is None else str(found["reason"])


def ask_to_stop(path: pathlib.Path, reason: str) -> None:
  """Asks the run in this folder to end after the current chunk of steps; see search.search."""
  files.write_json(path / "stop.json", {"reason": reason})


def last_row(path: pathlib.Path) -> dict[str, Any]:
  """The latest complete row of metrics.jsonl, {} if there is none; reads only the end of the file."""
  try:
    with open(path / "metrics.jsonl", "rb") as file:
      file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
      lines = file.read().decode(errors="replace").splitlines(keepends=True)
  except OSError:
    return {}
  for line in reversed(lines):
    try:
      row = json.loads(line) if line.endswith("\n") else {}
    except ValueError:
      continue
    if isinstance(row, dict) and isinstance(row.get("step"), int):
      return row
  return {}


def is_alive(path: pathlib.Path) -> bool:
  """Whether a process works on the run; reads the lock file without locking it, which could block a starting run."""
  try:
    held = json.loads((path / "lock").read_bytes())
  except (OSError, ValueError):  # missing, or released
    return False
  if not (isinstance(held, dict) and isinstance(held.get("pid"), int)):
    return False
  if held.get("host") != platform.node():
    newest = max((p.stat().st_mtime for p in (path / "metrics.jsonl", path / "lock") if p.exists()), default=0.0)
    return time.time() - newest < _FRESH
  try:
    os.kill(held["pid"], 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass
  return True


def state(path: pathlib.Path) -> State:
  """The state of the run in a folder."""
  step = int(last_row(path).get("step", 0))
  if (results := recovery.results(path)) is not None:
    return State("finished", int(results.get("step", step)))
  alive = is_alive(path)
  if (reason := stop_reason(path)) is not None and not alive:
    return State("pruned", step, reason)
  if (failure := recovery.optional(path / "failure.json")) is not None:
    return State("failed", int(failure.get("step") or step), str(failure.get("error", "")))
  if alive:
    return State("running", step)
  return State("interrupted" if step or (path / "checkpoints").is_dir() else "waiting", step)


def of(root: pathlib.Path, names: Iterable[str]) -> dict[str, State]:
  """{name: state} of the given runs of a sweep."""
  return {name: state(folder(root, name)) for name in names}


def last_values(path: pathlib.Path) -> dict[str, Any]:
  """The latest value of each metric of a run; results.json takes precedence where it exists."""
  rows = metrics.read(path)
  return {k: v for row in rows for k, v in row.items()} | (recovery.results(path) or {})

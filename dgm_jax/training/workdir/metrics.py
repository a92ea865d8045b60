"""The metrics of a run: JSON lines."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import logging

from dgm_jax.core import files
from dgm_jax.training.workdir import recovery


def _parsed(content: bytes) -> tuple[list[dict], list[int]]:
  """(the rows of a file, the numbers of the lines that hold none); a last line without an end is left out."""
  rows, damaged = [], []
  lines = content.split(b"\n")
  for number, line in enumerate(lines, 1):
    try:
      row = json.loads(line)
      if not isinstance(row, dict):
        raise ValueError
      rows.append(row)
    except (ValueError, RecursionError):  # ValueError also for what is not UTF-8
      if number < len(lines):  # the last one may be just being written, or was cut by a crash
        damaged.append(number)
  return rows, damaged


def _of_metrics(rows: list[dict]) -> list[dict]:
  """The first line describes the run."""
  return [row for row in rows if isinstance(row.get("step"), int)]


def read(workdir: str | pathlib.Path) -> list[dict]:
  """The rows of workdir/metrics.jsonl that hold metrics; damaged lines are left out."""
  path = pathlib.Path(workdir) / "metrics.jsonl"
  return _of_metrics(_parsed(path.read_bytes())[0]) if path.exists() else []


def until(workdir: pathlib.Path, step: int) -> list[dict]:
  """The rows of a run up to the checkpoint of `step` from which it continues, which has a copy of them; [] for 0."""
  if step == 0:
    return []
  rows = {row["step"]: row for row in [*read(workdir / "checkpoints" / str(step)), *read(workdir)]}
  return [rows[at] for at in sorted(rows) if at <= step]


def report_damage(workdir: pathlib.Path) -> None:
  """Says which lines of workdir/metrics.jsonl are damaged; sets a file aside that is not text."""
  path = workdir / "metrics.jsonl"
  content = path.read_bytes() if path.exists() else b""
  rows, damaged = _parsed(content)
  if not damaged:
    return
  listed = ("lines " if len(damaged) > 1 else "line ") + ", ".join(map(str, damaged[:5] + ["..."] * (len(damaged) > 5)))
  if _is_text(content):
    logging.warning("%s is damaged: %s left out, %d rows kept.", path, listed, len(_of_metrics(rows)))
  else:
    recovery.set_aside(path, f"is damaged ({listed})")


def _is_text(content: bytes) -> bool:
  try:
    return b"\0" not in content and content.decode() is not None
  except UnicodeDecodeError:
    return False


class MetricWriter:
  """Appends rows to workdir/metrics.jsonl.

  It holds only what (seed, step) determines, so that a resumed run leaves the same file as an uninterrupted one; speeds
  go only to the loggers.

  Args:
    workdir: the run's folder.
    rows: those up to the step that the run continues from; others of an interrupted run are removed.
    about: description of the run (data, transforms, split sizes, seed), the first line of the file.
  """

  def __init__(self, workdir: pathlib.Path, rows: Sequence[dict], about: dict[str, Any]):
    path = workdir / "metrics.jsonl"
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in [about, *rows]))
    self._file = open(path, "a")  # noqa: SIM115, closed in close()

  def write(self, step: int, metrics: dict[str, float]) -> None:
    """Writes one row of metrics."""
    self._file.write(json.dumps({"step": step, **metrics}) + "\n")
    self._file.flush()

  def sync(self) -> None:
    """Waits until all rows are on the disk."""
    os.fsync(self._file.fileno())

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

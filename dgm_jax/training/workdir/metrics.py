"""The metrics of a run: JSON lines."""

import json
import pathlib
from typing import Any

from dgm_jax.core import files


def read(workdir: str | pathlib.Path) -> list[dict]:
  """The rows of workdir/metrics.jsonl that hold metrics; a last line that a crash cut short is left out."""
  path = pathlib.Path(workdir) / "metrics.jsonl"
  rows = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return [row for row in rows if "step" in row]  # the first line describes the run


class MetricWriter:
  """Appends rows to workdir/metrics.jsonl.

  It holds only what (seed, step) determines, so that a resumed run leaves the same file as an uninterrupted one; speeds
  go only to the loggers.

  Args:
    workdir: the run's folder.
    step: the step that the run continues from; later rows of an interrupted run are removed.
    about: description of the run (data, transforms, split sizes, seed), the first line of the file.
  """

  def __init__(self, workdir: str | pathlib.Path, step: int, about: dict[str, Any]):
    workdir = pathlib.Path(workdir)
    kept = [row for row in read(workdir) if row["step"] <= step and step > 0]
    files.write_text(workdir / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in [about, *kept]))
    self._file = open(workdir / "metrics.jsonl", "a")  # noqa: SIM115, closed in close()

  def write(self, step: int, metrics: dict[str, float]) -> None:
    """Writes one row of metrics."""
    self._file.write(json.dumps({"step": step, **metrics}) + "\n")
    self._file.flush()

  def close(self) -> None:
    """Flushes and closes the file."""
    self._file.close()

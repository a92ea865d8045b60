"""Where numbers go: JSON lines, TensorBoard, the terminal."""

import json
import pathlib
from typing import Any

import jax
import tensorboardX

from dgm_jax import workdir as wd


def read(workdir: str | pathlib.Path) -> list[dict]:
  """The rows of workdir/metrics.jsonl that hold metrics; a last line that a crash cut short is left out."""
  path = pathlib.Path(workdir) / "metrics.jsonl"
  rows = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return [row for row in rows if "step" in row]  # the first line says what the metrics are of


class MetricWriter:
  """Appends rows to workdir/metrics.jsonl and to TensorBoard.

  metrics.jsonl holds what (seed, step) determines and nothing else, so that a resumed run leaves the same file as an
  uninterrupted one; speeds go to TensorBoard alone.

  Args:
    workdir: the run's folder.
    step: the step that the run continues from; later rows of an interrupted run are removed.
    about: what the metrics are of (data, transforms, split sizes, seed); the first line of the file.
  """

  def __init__(self, workdir: str | pathlib.Path, step: int, about: dict[str, Any]):
    workdir = pathlib.Path(workdir)
    kept = [row for row in read(workdir) if row["step"] <= step and step > 0]
    wd.write_text(workdir / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in [about, *kept]))
    self._file = open(workdir / "metrics.jsonl", "a")  # noqa: SIM115, closed in close()
    self._board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

  def write(self, step: int, metrics: dict[str, float], speeds: dict[str, float]) -> None:
    """One row of metrics; `speeds` differ from run to run and go to TensorBoard alone."""
    self._file.write(json.dumps({"step": step, **metrics}) + "\n")
    self._file.flush()
    for name, value in (metrics | speeds).items():
      self._board.add_scalar(name, value, step)

  def close(self) -> None:
    """Flushes both."""
    self._file.close()
    self._board.close()


def parameter_table(params: Any) -> str:
  """One line per array of parameters: name, shape, size; and the total."""
  rows = [
    ("/".join(str(k.key) for k in path), "x".join(map(str, leaf.shape)) or "scalar", leaf.size, str(leaf.dtype))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  ]
  total = sum(size for _, _, size, _ in rows)
  num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
  rows = [("parameter", "shape", "size", "dtype")] + [(n, s, f"{k:,}", d) for n, s, k, d in rows]
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  lines = [f"{n:<{widths[0]}}  {s:>{widths[1]}}  {k:>{widths[2]}}  {d}" for n, s, k, d in rows]
  return "\n".join([*lines, f"total {total:,} parameters, {num_bytes / 1e6:.1f} MB"])


def results_table(results: dict[str, Any]) -> str:
  """`name  value` lines, numbers to four digits."""
  width = max(map(len, results))
  show = lambda v: f"{v:.4f}" if isinstance(v, float) else str(v)
  return "\n".join(f"{name:<{width}}  {show(value)}" for name, value in results.items())

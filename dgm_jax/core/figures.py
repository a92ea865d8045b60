"""Figures of a run.  matplotlib is imported when the first one is drawn."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core.files import write_with


def new(width: float, height: float) -> Any:
  """An empty figure of this size in inches; it does not use pyplot's global state, so that any thread may draw."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), layout="constrained")
  FigureCanvasAgg(figure)
  return figure


def save(path: pathlib.Path, figure: Any) -> None:
  """Writes a figure."""
  write_with(pathlib.Path(path), lambda p: figure.savefig(p, dpi=120))


def image_grid(images: jax.Array, columns: int = 0, scale: int = 2) -> jax.Array:
  """Arranges images in a grid.

  Args:
    images: [n, H, W, C] in [0, 1], or [n, R, H, W, C]: R images, stacked vertically, for each of n (an example and
      its reconstruction).
    columns: number of images side by side; 0 for a roughly square grid.
    scale: each pixel becomes scale x scale pixels.

  Returns:
    [height, width, C], white where there is no image.
  """
  if images.ndim == 4:
    images = images[:, None]
  images = jnp.clip(jnp.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0), 0, 1)
  n, r, h, w, c = images.shape
  columns = columns or max(1, round((n * r) ** 0.5))
  missing = -n % columns
  images = jnp.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0), (0, 0)), constant_values=1.0)
  grid = images.reshape(-1, columns, r, h, w, c).transpose(0, 2, 3, 1, 4, 5)
  grid = grid.reshape(-1, columns * w, c)
  return jnp.repeat(jnp.repeat(grid, scale, 0), scale, 1)


def save_image(path: pathlib.Path, grid: jax.Array) -> None:
  """Writes [height, width, C] in [0, 1] as a PNG, grey for one channel."""
  from matplotlib import image

  grid = jax.device_get(grid)
  if grid.shape[-1] == 1:
    grid = grid.repeat(3, -1)
  write_with(path, lambda p: image.imsave(p, grid))


def save_learning_curves(path: pathlib.Path, rows: list[dict]) -> None:
  """One panel per metric against the step, one line per split; rows as in metrics.jsonl."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  names = sorted({k for row in rows for k in row if "/" in k}, key=lambda k: k.split("/")[1])
  panels = list(dict.fromkeys(k.split("/", 1)[1] for k in names))
  columns = min(4, len(panels)) or 1
  lines = -(-len(panels) // columns) or 1
  figure = Figure(figsize=(4 * columns, 3 * lines))
  # margins set by hand: a layout engine takes longer than the drawing itself
  figure.subplots_adjust(left=0.4 / columns, right=1 - 0.1 / columns, top=1 - 0.1, bottom=0.2 / lines, hspace=0.45)
  FigureCanvasAgg(figure)
  last = rows[-1]["step"] if rows else 0
  for i, panel in enumerate(panels):
    axis = figure.add_subplot(lines, columns, i + 1, title=panel, xlabel="step")
    for name in (k for k in names if k.split("/", 1)[1] == panel):
      points = [(row["step"], row[name]) for row in rows if name in row]
      axis.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "", label=name.split("/")[0])
    # the first tenth of the steps does not set the vertical range
    late = [
      row[k] for row in rows for k in names if k in row and k.split("/", 1)[1] == panel and 10 * row["step"] >= last
    ]
    if late and min(late) < max(late):
      margin = 0.05 * (max(late) - min(late))
      axis.set_ylim(min(late) - margin, max(late) + margin)
    axis.grid(alpha=0.3)
    axis.legend()
  write_with(path, lambda p: figure.savefig(p, dpi=100))


def save_progress(folder: pathlib.Path, step: int, grids: dict[str, jax.Array], rows: list[dict]) -> None:
  """Writes NAME_STEP.png for each grid, and learning_curves.png."""
  for name, grid in grids.items():
    save_image(folder / f"{name}_{step:08d}.png", grid)
  save_learning_curves(folder / "learning_curves.png", rows)


def save_histogram(path: pathlib.Path, values: dict[str, jax.Array], label: str, floor: float = 1e-8) -> None:
  """Writes histograms of log10 of the values {name: [n]}; values below `floor` count as `floor`."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 3.5), layout="tight")
  FigureCanvasAgg(figure)
  axis = figure.add_subplot(xlabel=label, ylabel="count")
  logs = [jnp.log10(jnp.maximum(jnp.asarray(v), floor)).tolist() for v in values.values()]
  axis.hist(logs, bins=30, label=list(values))
  axis.legend()
  write_with(path, lambda p: figure.savefig(p, dpi=100))

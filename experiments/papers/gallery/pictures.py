"""The pictures of the gallery: a row for the data and one for each net, a column for each plane."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures
from dgm_jax.data.sets import plane
from dgm_jax.evaluate import plane_figure
from dgm_jax.experiments.papers.gallery import planes

Found = Mapping[tuple[str, str], Mapping[str, np.ndarray]]  # (net, plane) -> what planes.measure returns


def _panels(path: pathlib.Path, rows: Sequence[str], columns: Sequence[str], draw) -> None:
  """draw(axis, row, column) on a panel for each; the names stand at the left and above."""
  side = min(1.1, style.PAGE / len(columns))
  picture = figures.new(side * len(columns) + 0.3, side * len(rows) + 0.2)
  for i, row in enumerate(rows):
    for j, column in enumerate(columns):
      axis = picture.add_subplot(len(rows), len(columns), i * len(columns) + j + 1)
      draw(axis, row, column)
      low, high = planes.window(column)
      axis.set(xticks=[], yticks=[], xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto")
      axis.set_title(column.replace("_", " ") if i == 0 else "", fontsize=7)
      axis.set_ylabel(row.replace("_", "\n") if j == 0 else "", fontsize=6)
  figures.save(path, picture)


def densities(found: Found, nets: Mapping[str, str], names: Sequence[str], path: pathlib.Path) -> None:
  """The density of each plane, and below it those of the nets with their KL.

  Args:
    found: see Found.
    nets: {net: its name in the picture}.
    names: of the planes.
    path: of the picture.
  """
  true = {name: np.exp(plane.log_density(name, planes.grid(name))).reshape(planes.BINS, planes.BINS) for name in names}

  def draw(axis, row, column):
    arrays = None if row == "density" else found.get((row, column))
    density = true[column] if row == "density" else None if arrays is None else arrays["density"]
    if density is None:
      return
    low, high = planes.window(column)
    top = np.quantile(true[column][true[column] > 0], 0.98)
    plane_figure.draw_density(axis, density, low, high, top)
    if arrays is not None:
      text = f"{planes.divergence(dict(arrays))[0]:.3f}"
      axis.text(0.03, 0.03, text, transform=axis.transAxes, fontsize=6, color="white")

  rows = ["density", *(net for net in nets if any((net, name) in found for name in names))]
  _panels(path, rows, names, draw)


def grids(found: Found, nets: Mapping[str, str], names: Sequence[str], path: pathlib.Path) -> bool:
  """Draws of each flow, and the lines of the noise that it bends; returns whether there are any."""
  rows = [net for net in nets if any("lines" in found.get((net, name), {}) for name in names)]

  def draw(axis, row, column):
    arrays = found.get((row, column))
    if arrays is None:
      return
    plane_figure.draw_points(axis, arrays["draws"])
    plane_figure.draw_lines(axis, arrays["lines"])

  if rows:
    _panels(path, rows, names, draw)
  return bool(rows)


def trajectories(found: Found, nets: Mapping[str, str], names: Sequence[str], path: pathlib.Path) -> bool:
  """Paths of draws of each continuous flow from the noise, grey, to the plane; returns whether there are any."""
  rows = [net for net in nets if any("paths" in found.get((net, name), {}) for name in names)]

  def draw(axis, row, column):
    arrays = found.get((row, column))
    if arrays is None:
      return
    paths = arrays["paths"]  # [T, n, 2]
    for k in range(paths.shape[1]):
      axis.plot(*paths[:, k].T, linewidth=0.25, color=style.GREY, alpha=0.6)
    axis.plot(*paths[-1].T, ".", markersize=1.0, color=style.COLOURS[0])

  if rows:
    _panels(path, rows, names, draw)
  return bool(rows)

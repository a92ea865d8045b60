"""Figures of a latent space.  matplotlib is imported when the first figure is drawn."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures

_MARKERS = "os^DvPX<*>"  # of the classes, which have more colours than can be told apart in grey
_MASSES = (0.5, 0.9, 0.99)  # probability within the contours of a posterior


def _show(axis: Any, image: Any, **options: Any) -> None:
  """[H, W, C] in [0, 1], grey where C = 1."""
  image = image.clip(0, 1)
  axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1, **options)


def _mosaic(images: jax.Array) -> jax.Array:
  """[R, S, H, W, C] -> [R H, S W, C], the first row on top."""
  r, s, h, w, c = images.shape
  return images.transpose(0, 2, 1, 3, 4).reshape(r * h, s * w, c)


def save_scatter(
  path: pathlib.Path, points: jax.Array, classes: jax.Array | None, labels: Sequence[str] = ("z1", "z2")
) -> None:
  """Scatter plot of codes.

  Args:
    path: path of the figure.
    points: [N, 2].
    classes: integers [N], with one colour per class; None for a single colour.
    labels: labels of the two axes.
  """
  points = jax.device_get(points)
  figure = figures.new(style.COLUMN + 0.7 * (classes is not None), 3.0)
  axis = figure.add_subplot(title=f"Codes of {len(points):,} examples")
  axis.set(xlabel=style.wrapped(labels[0], 2.9), ylabel=style.wrapped(labels[1], 2.6))
  size = min(14.0, max(1.5, 4000 / len(points)))
  if classes is None:
    axis.scatter(*points.T, s=size, alpha=0.7, linewidths=0, color=style.COLOURS[0])
  else:
    classes = jax.device_get(classes)
    names = sorted(set(classes.tolist()))
    for i, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
      chosen, marker = points[classes == name], _MARKERS[i % len(_MARKERS)]
      axis.scatter(*chosen.T, s=size, alpha=0.8, linewidths=0, color=[colour], marker=marker, label=str(name))
    if len(names) <= 20:
      legend = axis.legend(title="class", loc="center left", bbox_to_anchor=(1.0, 0.5))
      for handle in legend.legend_handles:
        handle.set_sizes([18])
  axis.set_aspect("equal", adjustable="datalim")  # distances in the plane are distances in z
  axis.grid(alpha=0.3)
  figures.save(path, figure)


def _colours(count: int) -> Any:
  """`count` colours: those of the common palette, or beyond its number a scale from dark to light."""
  from matplotlib import colormaps

  if count <= len(style.COLOURS):
    return style.COLOURS[:count]
  return colormaps["turbo" if count <= 20 else "cividis"]([(i + 0.5) / count for i in range(count)])


def save_manifold(path: pathlib.Path, images: jax.Array, z1: jax.Array, z2: jax.Array, what: str = "N(0, 1)") -> None:
  """Decoded means over the latent plane, z1 to the right and z2 upwards (Kingma & Welling, 2014, fig. 4).

  Args:
    path: path of the figure.
    images: [n, m, H, W, C]; [i, j] is decoded from (z1[i], z2[j]).
    z1, z2: the coordinates, [n] and [m].
    what: the distribution whose quantiles they are.
  """
  images, z1, z2 = jax.device_get((images, z1, z2))
  rows = images.swapaxes(0, 1)[::-1]
  height, width = rows.shape[2:4]
  figure = figures.new(style.COLUMN + 1.2, style.COLUMN + 1.2)
  title = style.wrapped(f"Decoded means E[x|z] at equal quantiles of {what}", style.COLUMN + 0.6)
  axis = figure.add_subplot(xlabel="z1", ylabel="z2", title=title)
  _show(axis, _mosaic(rows), interpolation="none")
  across, up = (sorted({round(k * (len(z) - 1) / 4) for k in range(5)}) for z in (z1, z2))
  axis.set_xticks([(i + 0.5) * width - 0.5 for i in across], [f"{z1[i]:.2f}" for i in across])
  axis.set_yticks([(len(z2) - i - 0.5) * height - 0.5 for i in up], [f"{z2[i]:.2f}" for i in up])
  figures.save(path, figure)


def save_interpolations(path: pathlib.Path, images: jax.Array, ends: jax.Array) -> None:
  """Decoded means along straight lines between the codes of two examples; each row is a line between its examples.

  Args:
    path: path of the figure.
    images: [R, T, H, W, C], from t = 0 to t = 1.
    ends: the examples, [R, 2, H, W, C].
  """
  images, ends = jax.device_get((images, ends))
  count, steps, height, width, _ = images.shape
  side = min(0.5, (style.PAGE - 0.4) / (steps + 2))  # inches of an image
  figure = figures.new(max(style.COLUMN, side * (steps + 2) + 0.4), side * count * height / width + 0.75)
  ratios = [1, steps, 1]
  panels = figure.subplots(1, 3, width_ratios=ratios, gridspec_kw={"wspace": 0.02})
  for panel, row in zip(panels, (ends[:, :1], images, ends[:, 1:]), strict=True):
    _show(panel, _mosaic(row), interpolation="none", aspect="auto")
    panel.set(xticks=[], yticks=[])
  panels[0].set_xlabel("x")
  panels[2].set_xlabel("x'")
  shown = range(steps) if steps <= 12 and side >= 0.4 else (0, steps - 1)
  panels[1].set_xticks([(i + 0.5) * width - 0.5 for i in shown], [f"{i / (steps - 1):.2g}" for i in shown])
  panels[1].set_xlabel("t")
  title = "Decoded means at (1 - t) z(x) + t z(x'), between the examples x and x'"
  figure.suptitle(style.wrapped(title, figure.get_figwidth()))
  figures.save(path, figure)


def density_levels(density: jax.Array, cell: float, masses: Sequence[float] = _MASSES) -> list[float]:
  """For each mass, the level of a density on a grid above which it has this mass (highest-density regions).

  Args:
    density: values on the grid.
    cell: the area of one of its cells.
    masses: in (0, 1), in any order; the levels have the same order.
  """
  values = jnp.sort(jnp.ravel(jnp.asarray(density)))[::-1]
  within = jnp.cumsum(values) * cell
  return [float(values[jnp.minimum(jnp.searchsorted(within, mass), len(values) - 1)]) for mass in masses]


def save_posteriors(
  path: pathlib.Path, z1: jax.Array, z2: jax.Array, p: jax.Array, q: jax.Array, images: jax.Array | None = None
) -> None:
  """Exact posteriors (filled contours) and approximate ones (lines) of B examples, side by side.

  Args:
    path: path of the figure.
    z1, z2: coordinates, [B, P].
    p, q: exact and approximate densities, [B, P, P], with z1 along the first axis of the P x P points.
    images: the examples, [B, H, W, C], shown above.
  """
  z1, z2, p, q, images = jax.device_get((z1, z2, p, q, images))
  count = len(z1)
  side = min(2.0, style.PAGE / count)
  figure = figures.new(max(style.COLUMN, side * count), side + (0.8 if images is None else 0.8 + side / 2.2))
  heights = [2.2] if images is None else [1, 2.2]
  panels = figure.subplots(len(heights), count, squeeze=False, height_ratios=heights)
  for b in range(count):
    if images is not None:
      _show(panels[0, b], images[b])
      panels[0, b].set_axis_off()
    _contours(panels[-1, b], z1[b], z2[b], p[b], q[b])
    panels[-1, b].set_xlabel("z1")
  panels[-1, 0].set_ylabel("z2")
  percents = ", ".join(f"{mass:.0%}" for mass in _MASSES)
  title = f"p(z|x) (filled) and q(z|x) (lines): highest-density regions with {percents} of the mass"
  figure.suptitle(style.wrapped(title, figure.get_figwidth()))
  figures.save(path, figure)


def _contours(axis: Any, z1: Any, z2: Any, p: Any, q: Any) -> None:
  """Highest-density regions of p in shades of blue, of q as orange lines."""
  cell = float((z1[1] - z1[0]) * (z2[1] - z2[0]))
  rising = lambda density: sorted(set(density_levels(density, cell)))
  levels = rising(p)
  blues = ("#cfe1f2", "#6aaed6", "#1764ab")[-len(levels) :]
  axis.contourf(z1, z2, p.T, [*levels, max(float(p.max()), levels[-1]) * 1.001], colors=blues)
  if q.max() > 0:
    axis.contour(z1, z2, q.T, rising(q), colors=style.COLOURS[1], linewidths=1.0)
  axis.set_aspect("equal")
  axis.locator_params(nbins=3)

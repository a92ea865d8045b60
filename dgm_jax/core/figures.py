"""Figures of a run.  matplotlib is imported when the first one is drawn."""

import contextlib
import contextvars
import pathlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from dgm_jax.core import figure_style as style
from dgm_jax.core.files import write_with

_DPI = 200
_FORMATS: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("formats", default=())
_SETTINGS = threading.Lock()  # matplotlib's settings belong to the whole process
# fonts that editors and printers accept, text that can be searched, and the same bytes each time
_VECTOR = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "dgm_jax"}
_DATELESS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def new(width: float, height: float) -> Any:
  """An empty figure of this size in inches; it does not use pyplot's global state, so that any thread may draw."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), layout="constrained")
  FigureCanvasAgg(figure)
  return figure


@contextlib.contextmanager
def writing(formats: Sequence[str]) -> Iterator[None]:
  """Context, of this thread, in which every figure is written in these formats instead of that of its path."""
  token = _FORMATS.set(tuple(formats))
  try:
    yield
  finally:
    _FORMATS.reset(token)


def paths(path: pathlib.Path) -> list[pathlib.Path]:
  """The files that a figure with this path is written to: one for each format, see `writing`."""
  path = pathlib.Path(path)
  return [path.with_suffix(f".{f}") for f in _FORMATS.get()] or [path]


def save(path: pathlib.Path, figure: Any) -> list[pathlib.Path]:
  """Gives a figure the common style and writes it, see `paths`; returns the files."""
  import matplotlib

  for axis in figure.axes:
    _mark_logarithms(axis.xaxis)
    _mark_logarithms(axis.yaxis)
  style.finish(figure)
  for file in paths(path):
    kind = file.suffix[1:]
    if kind == "png":
      write_with(file, lambda p: figure.savefig(p, dpi=_DPI))
      continue
    with _SETTINGS, matplotlib.rc_context(cast(Any, _VECTOR)):
      write_with(file, lambda p, kind=kind: figure.savefig(p, dpi=_DPI, metadata=_DATELESS[kind]))
  return paths(path)


def _mark_logarithms(axis: Any) -> None:
  """Marks 1, 2 and 5 times powers of ten on a short logarithmic axis, as numbers, and nothing between on a long one."""
  from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

  if axis.get_scale() != "log" or not isinstance(axis.get_major_locator(), LogLocator):
    return  # or its ticks were chosen
  low, high = axis.get_view_interval()
  axis.set_minor_formatter(NullFormatter())
  if 0 < low < high < 100 * low:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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


def shades(images: jax.Array, support: tuple[float, float]) -> jax.Array:
  """Images in [0, 1] from images whose values are in `support`: levels 0 .. V - 1 are divided by V - 1."""
  return images / support[1] if images.ndim == 4 and 1 < support[1] < float("inf") else images


def save_image(path: pathlib.Path, grid: jax.Array) -> None:
  """Writes [height, width, C] in [0, 1] as a picture, grey for one channel, see `paths`."""
  from matplotlib import image

  grid = jax.device_get(grid)
  if grid.shape[-1] == 1:
    grid = grid.repeat(3, -1)
  for file in paths(path):
    write_with(file, lambda p: image.imsave(p, grid))


def save_learning_curves(path: pathlib.Path, rows: list[dict]) -> None:
  """One panel per metric against the step, one line per split; rows as in metrics.jsonl.

  Metrics NAME_of_LAYER, which may be many, are left out.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  names = sorted(
    {k for row in rows for k in row if "/" in k and "sigma_of_" not in k}, key=lambda k: (k.split("/", 1)[1], k)
  )
  panels = list(dict.fromkeys(k.split("/", 1)[1] for k in names))
  columns = min(3, len(panels)) or 1
  lines = -(-len(panels) // columns) or 1
  wide, high, top = (style.PAGE / columns if columns > 1 else style.COLUMN), 1.85, 0.3  # inches
  width, height = wide * columns, high * lines + top
  figure = Figure(figsize=(width, height))
  # margins set by hand: a layout engine takes longer than the drawing itself
  left, gap, right = 0.78, 0.82, 0.12  # inches, for numbers of up to nine letters
  figure.subplots_adjust(
    left=left / width,
    right=1 - right / width,
    top=1 - (0.26 + top) / height,
    bottom=0.42 / height,
    wspace=gap * columns / (width - left - right - gap * (columns - 1)),
    hspace=0.58,
  )
  FigureCanvasAgg(figure)
  shown = {}
  for i, panel in enumerate(panels):
    axis = figure.add_subplot(lines, columns, i + 1, title=style.wrapped(panel, wide - 0.3))
    axis.set(ylabel=style.unit(panel, names), xlabel="step" if i + columns >= len(panels) else "")
    shown |= _curves_of(axis, rows, panel, [k for k in names if k.split("/", 1)[1] == panel])
  if shown:
    splits = [k for k in style.SPLITS if k in shown] + [k for k in shown if k not in style.SPLITS]
    figure.legend([shown[k] for k in splits], splits, loc="upper center", ncols=len(splits), borderaxespad=0.2)
  save(path, figure)


def _curves_of(axis: Any, rows: list[dict], panel: str, names: list[str]) -> dict[str, Any]:
  """Draws a metric of all splits; returns {split: its line}."""
  from matplotlib.ticker import FuncFormatter, MaxNLocator

  last, drawn = rows[-1]["step"], {}
  unknown = style.methods(k.split("/")[0] for k in names if k.split("/")[0] not in style.SPLITS)
  for name in names:
    split = name.split("/")[0]
    look = style.SPLITS.get(split) or unknown[split]
    points = [(row["step"], row[name]) for row in rows if name in row]
    marker = look.marker if len(points) < 30 else ""
    (drawn[split],) = axis.plot(
      *zip(*points, strict=True), color=look.colour, linestyle=look.line, marker=marker, markersize=2.5, linewidth=1.2
    )
  # the first tenth of the steps does not set the vertical range
  late = [row[k] for row in rows for k in names if k in row and 10 * row["step"] >= last]
  if style.is_rate(panel) and all(v > 0 for v in late):
    axis.set_yscale("log")
  elif late and min(late) < max(late):
    margin = 0.05 * (max(late) - min(late))
    axis.set_ylim(min(late) - margin, max(late) + margin)
  axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
  axis.xaxis.set_major_formatter(FuncFormatter(_short))
  return drawn


def _short(number: float, _: int = 0) -> str:
  """A number of steps as text: 30k, 1.5M."""
  if number >= 1e6:
    return f"{number / 1e6:g}M"
  return f"{number / 1e3:g}k" if number >= 1e4 else f"{number:g}"


def save_progress(
  folder: pathlib.Path, step: int, grids: dict[str, jax.Array], rows: list[dict], formats: Sequence[str] = ("png",)
) -> None:
  """Writes NAME_STEP for each grid, and learning_curves, in each of these formats."""
  with writing(formats):
    for name, grid in grids.items():
      save_image(folder / f"{name}_{step:08d}.png", grid)
    save_learning_curves(folder / "learning_curves.png", rows)


def save_histogram(path: pathlib.Path, values: dict[str, jax.Array], label: str, floor: float = 1e-8) -> None:
  """Writes histograms of log10 of the values {name: [n]}; values below `floor` count as `floor`."""
  figure = new(style.COLUMN, 2.4)
  axis = figure.add_subplot(xlabel=label, ylabel="count")
  logs = [jnp.log10(jnp.maximum(jnp.asarray(v), floor)).tolist() for v in values.values()]
  looks = style.methods(values).values()
  _, _, bars = axis.hist(logs, bins=30, label=list(values), color=[look.colour for look in looks])
  for patches, hatch in zip([bars] if len(logs) == 1 else bars, ("", "///", "...", "xxx"), strict=False):
    for patch in patches:
      patch.set(hatch=hatch, edgecolor="white", linewidth=0.3)
  if len(logs) > 1:
    axis.legend()
  save(path, figure)

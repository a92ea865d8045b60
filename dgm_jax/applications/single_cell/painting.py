"""The pictures of a page about single cells, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_MOST_NAMED = 20  # groups in a legend
_WIDTH = 5.2


def _figure() -> Any:
  from matplotlib.figure import Figure

  return Figure(figsize=(_WIDTH, 4.0), layout="constrained")


def _png(figure: Any) -> bytes:
  made = io.BytesIO()
  figure.savefig(made, format="png", dpi=110)
  return made.getvalue()


def scatter(points: np.ndarray, groups: Sequence[str], title: str) -> bytes:
  """Points [N, 2] coloured by their group."""
  import matplotlib

  figure = _figure()
  axes = figure.add_subplot()
  names = sorted(set(groups))
  colours = matplotlib.colormaps["tab20" if len(names) > 10 else "tab10"]
  of = np.array(groups)
  for i, name in enumerate(names):
    chosen = points[of == name]
    axes.scatter(*chosen.T, s=4, color=colours(i % colours.N), label=name[:24], linewidths=0)
  axes.set(title=title, xticks=[], yticks=[])
  if len(names) <= _MOST_NAMED:
    axes.legend(markerscale=3, fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
  return _png(figure)


def against(
  data: np.ndarray, model: np.ndarray, title: str, labels: tuple[str, str], logarithmic: bool = False
) -> bytes:
  """A point for each gene: of the data, and of the posterior predictive."""
  figure = _figure()
  axes = figure.add_subplot()
  axes.scatter(data, model, s=6, linewidths=0)
  low, high = min(data.min(), model.min()), max(data.max(), model.max())
  axes.plot([low, high], [low, high], color="black", linewidth=0.8)
  axes.set(title=title, xlabel=labels[0], ylabel=labels[1])
  if logarithmic:
    axes.set(xscale="log", yscale="log")
  return _png(figure)


def curves(rows: Sequence[Mapping[str, float]], names: Sequence[str], title: str) -> bytes:
  """The metrics `names` of rows with `step`."""
  figure = _figure()
  axes = figure.add_subplot()
  for name in names:
    found = [(row["step"], row[name]) for row in rows if name in row]
    if found:
      axes.plot(*zip(*found, strict=True), label=name)
  axes.set(title=title, xlabel="step", ylabel="nats per cell")
  axes.legend(fontsize=7, frameon=False)
  return _png(figure)


def bars(values: np.ndarray, title: str) -> bytes:
  """A bar for each latent unit."""
  figure = _figure()
  axes = figure.add_subplot()
  axes.bar(np.arange(1, len(values) + 1), values)
  axes.set(title=title, xlabel="unit of z", ylabel="KL(q(z|x) || p(z)), nats")
  return _png(figure)

"""Figures of sweeps.  matplotlib is imported when the first one is drawn."""

import math
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures
from dgm_jax.sweeps import axes
from dgm_jax.training import early_stopping

_WIDE = 20.0  # positive numbers whose extremes have at least this ratio get a logarithmic axis


def shown_range(values: list[float], metric: str) -> tuple[float, float]:
  """Range to show: from the best value to 1.5 times as far as the third quartile, but not beyond the worst value."""
  costs = early_stopping.score(metric, {metric: 1.0}) < 0
  ordered = sorted(values, reverse=not costs)
  end = ordered[0] + 1.5 * (ordered[3 * (len(ordered) - 1) // 4] - ordered[0])
  if len(ordered) < 4 or end == ordered[0]:
    end = ordered[-1]
  low, high = (ordered[0], min(end, ordered[-1])) if costs else (max(end, ordered[-1]), ordered[0])
  return (low, high) if low < high else (low - 0.5, high + 0.5)


def colours_of(values: list[float], metric: str) -> Any:
  """Map from values to colours, whose lightness falls towards the best value, so that it can be printed in grey."""
  from matplotlib import colormaps
  from matplotlib.cm import ScalarMappable
  from matplotlib.colors import ListedColormap, Normalize

  costs = early_stopping.score(metric, {metric: 1.0}) < 0
  darker = colormaps["cividis"]([i / 255 * 0.9 for i in range(256)])  # the lightest tenth is invisible on white
  return ScalarMappable(Normalize(*shown_range(values, metric)), ListedColormap(darker if costs else darker[::-1]))


def is_logarithmic(name: str, values: Sequence[float]) -> bool:
  """Whether a number of this name, with these values, gets a logarithmic axis."""
  low, high = min(values), max(values)
  return 0 < low < high and (style.is_rate(name) or high / low >= _WIDE)


def _scale(name: str, values: list) -> tuple[list[float], list[tuple[float, str]], str]:
  """(positions in [0, 1], ticks, note about the scale) of the values of one axis."""
  numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
  distinct = sorted(set(values)) if numbers else sorted({axes.show(v) for v in values})
  if not numbers or len(distinct) == 1:
    place = {axes.show(v): i / max(1, len(distinct) - 1) if len(distinct) > 1 else 0.5 for i, v in enumerate(distinct)}
    return [place[axes.show(v)] for v in values], [(p, text) for text, p in place.items()], ""
  logarithmic = is_logarithmic(name, distinct)
  f = math.log10 if logarithmic else float
  low, high = f(distinct[0]), f(distinct[-1])
  at = lambda v: (f(v) - low) / (high - low)
  marked = distinct if len(distinct) <= 6 else _ticks(distinct[0], distinct[-1], logarithmic)
  return [at(v) for v in values], [(at(v), f"{v:.4g}") for v in marked], "log scale" if logarithmic else ""


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
  from matplotlib.ticker import LogLocator, MaxNLocator

  locator = LogLocator(subs=(1, 2, 5), numticks=12) if logarithmic else MaxNLocator(6)
  return [float(v) for v in locator.tick_values(low, high) if low <= v <= high] or [low, high]


def _apart(marks: list[tuple[float, str]], least: float = 0.045) -> list[tuple[float, str]]:
  """The ticks, from below, without those that would overlap the one before."""
  kept: list[tuple[float, str]] = []
  for y, text in sorted(marks):
    if not kept or y - kept[-1][0] >= least:
      kept.append((y, text))
  return kept


def save_parallel(path: pathlib.Path, columns: dict[str, list], values: list[float], metric: str) -> None:
  """Parallel coordinates: an axis for each column and for the metric, a line for each run, coloured by the metric.

  Args:
    path: path of the figure.
    columns: {config path: its value in each run}.
    values: value of the metric in each run.
    metric: name of the metric.
  """
  names = [*columns, metric]
  gap = 1.45  # inches between two axes
  figure = figures.new(1.3 + gap * len(names), 3.2)
  axis = figure.add_subplot()
  colours = colours_of(values, metric)
  low, high = colours.get_clim()
  inside = [min(max(v, low), high) for v in values]
  scales = [_scale(name, columns[name]) for name in columns]
  span = high - low
  places = [[positions[i] for positions, _, _ in scales] + [(v - low) / span] for i, v in enumerate(inside)]
  for i in sorted(range(len(values)), key=lambda i: early_stopping.score(metric, {metric: values[i]})):
    axis.plot(range(len(names)), places[i], color=colours.to_rgba(values[i]), linewidth=1.2, alpha=0.8)
  notes = [note or style.unit(name) for name, (_, _, note) in zip(columns, scales, strict=True)]
  notes.append(", ".join(filter(None, [style.unit(metric), "" if inside == values else "worse values clipped"])))
  ticks = [t for _, t, _ in scales] + [[((v - low) / span, f"{v:.4g}") for v in _ticks(low, high, False)]]
  tallest = 1
  box = {"facecolor": "white", "alpha": 0.8, "pad": 0.6, "linewidth": 0}
  for x, (name, marks) in enumerate(zip(names, ticks, strict=True)):
    axis.vlines(x, 0, 1, color="0.3", linewidth=1)
    title = [*_broken(name), *([f"({notes[x]})"] if notes[x] else [])]
    tallest = max(tallest, len(title))
    axis.text(x, 1.05, "\n".join(title), ha="center", va="bottom", fontsize=7)
    for y, text in _apart(marks):
      axis.text(x + 0.03, y, text, va="center", fontsize=7, bbox=box)
  axis.set_xlim(-0.35, len(names) - 1 + 0.45)
  axis.set_ylim(-0.03, 1.06 + 0.06 * tallest)
  axis.axis("off")
  figure.colorbar(colours, ax=axis, label=style.label(metric), shrink=0.8)
  figures.save(path, figure)


def _broken(name: str, most: int = 18) -> list[str]:
  """A config path in lines of at most about `most` letters, broken before dots, slashes and underscores."""
  lines = [""]
  for part in "".join(f"\n{c}" if c in "./_" else c for c in name).split("\n"):
    if len(lines[-1]) + len(part) > most and lines[-1]:
      lines.append("")
    lines[-1] += part
  return lines


def save_comparison(
  path: pathlib.Path, axis_name: str, x: list[float], metric: list[float], name: str, criteria: dict[str, list[float]]
) -> None:
  """The metric and model selection criteria as functions of a number that is varied.

  The metric has a dot for each run, a line through the mean over the runs of each value, with its standard error, and
  a band from the least to the greatest.  The lines of the criteria show the best run of each value, since a criterion
  assumes the maximum of the likelihood; a star marks the minimum.

  Args:
    path: path of the figure.
    axis_name: name of the number.
    x: value of the number in each run.
    metric: value of the metric in each run.
    name: name of the metric.
    criteria: {name: value in each run}; NaN if missing.
  """
  figure = figures.new(style.PAGE if criteria else style.COLUMN, 2.7)
  distinct = sorted(set(x))
  of = lambda values, v: [b for a, b in zip(x, values, strict=True) if a == v and not math.isnan(b)]
  panel = figure.add_subplot(1, 1 + bool(criteria), 1, title=name, xlabel=axis_name, ylabel=style.unit(name))
  runs = {v: found for v in distinct if (found := of(metric, v))}
  errors = [statistics.stdev(r) / math.sqrt(len(r)) if len(r) > 1 else 0.0 for r in runs.values()]
  colour, seeds = style.methods([name])[name].colour, max(map(len, runs.values()))
  if seeds > 1:
    least, greatest = [min(r) for r in runs.values()], [max(r) for r in runs.values()]
    panel.fill_between(list(runs), least, greatest, color=colour, alpha=0.18, linewidth=0, label="range of the runs")
    panel.plot(x, metric, ".", color=style.GREY, markersize=4, label="run")
  means = [statistics.fmean(r) for r in runs.values()]
  text = f"mean of up to {seeds} runs, ± standard error" if seeds > 1 else "run"
  panel.errorbar(list(runs), means, errors if seeds > 1 else None, capsize=2, color=colour, label=text, marker=".")
  panels = [panel]
  if criteria:
    panels.append(figure.add_subplot(1, 2, 2, title="best run of each value", xlabel=axis_name))
    panels[1].set_ylabel("nats")
  looks = style.methods(criteria)
  for label, values in criteria.items():
    best, look = {v: min(found) for v in distinct if (found := of(values, v))}, looks[label]
    shown = {"color": look.colour, "linestyle": look.line, "marker": look.marker, "markersize": 3}
    panels[1].plot(list(best), list(best.values()), label=label, **shown)
    lowest = min(best, key=best.__getitem__)
    panels[1].plot(lowest, best[lowest], marker="*", markersize=9, color=look.colour)
  for axis in panels:
    _number_axis(axis, axis_name, distinct)
    if seeds > 1 or axis is not panel:
      axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
  figures.save(path, figure)


def _number_axis(axis: Any, name: str, distinct: list[float]) -> None:
  """The scale and the ticks of a horizontal axis with these values."""
  logarithmic = is_logarithmic(name, distinct)
  if logarithmic:
    axis.set_xscale("log")
  f = math.log10 if logarithmic else float
  span = (f(distinct[-1]) - f(distinct[0])) or 1.0
  marks = _apart([((f(v) - f(distinct[0])) / span, f"{v:g}") for v in distinct], 0.13)
  kept = [v for v in distinct if f"{v:g}" in {text for _, text in marks}]
  if len(distinct) <= 8:
    axis.set_xticks(kept, [f"{v:g}" for v in kept])
    axis.minorticks_off()

"""Figures of sweeps.  matplotlib is imported when the first one is drawn."""

import math
import pathlib
import statistics
from typing import Any

from dgm_jax.core import figures
from dgm_jax.sweeps import axes
from dgm_jax.training import early_stopping

_WIDE = 20.0  # positive numbers whose extremes have at least this ratio get a logarithmic axis


def _range(values: list[float], metric: str) -> tuple[float, float]:
  """Range to show: from the best value to 1.5 times as far as the third quartile, but not beyond the worst value."""
  costs = early_stopping.score(metric, {metric: 1.0}) < 0
  ordered = sorted(values, reverse=not costs)
  end = ordered[0] + 1.5 * (ordered[3 * (len(ordered) - 1) // 4] - ordered[0])
  if len(ordered) < 4 or end == ordered[0]:
    end = ordered[-1]
  low, high = (ordered[0], min(end, ordered[-1])) if costs else (max(end, ordered[-1]), ordered[0])
  return (low, high) if low < high else (low - 0.5, high + 0.5)


def _colours(values: list[float], metric: str) -> Any:
  """Map from values to colours; the best value is the darkest."""
  from matplotlib import colormaps
  from matplotlib.cm import ScalarMappable
  from matplotlib.colors import Normalize

  costs = early_stopping.score(metric, {metric: 1.0}) < 0
  return ScalarMappable(Normalize(*_range(values, metric)), colormaps["viridis" if costs else "viridis_r"])


def save_curves(
  path: pathlib.Path, rows: dict[str, list[dict]], values: dict[str, float], metric: str, curves: list[str]
) -> None:
  """One panel for each name in `curves`, one line for each run, coloured by the metric; runs without one are grey.

  Args:
    path: path of the PNG.
    rows: {run: rows of metrics.jsonl}.
    values: {run: value of the metric}; NaN if missing.
    metric: name of the metric.
    curves: names of the metrics to plot.
  """
  figure = figures.new(5.5 * len(curves) + 0.8, 4.2)
  known = {name: v for name, v in values.items() if not math.isnan(v)}
  colours = _colours(list(known.values()), metric)
  order = sorted(rows, key=lambda n: early_stopping.score(metric, {metric: known[n]}) if n in known else -math.inf)
  panels = []
  for i, curve in enumerate(curves):
    axis = figure.add_subplot(1, len(curves), i + 1, title=curve, xlabel="step")
    panels.append(axis)
    last = max((row["step"] for r in rows.values() for row in r), default=0)
    late = []
    for name in order:  # the best is drawn last, on top of the others
      points = [(row["step"], row[curve]) for row in rows[name] if curve in row]
      late += [v for step, v in points if 5 * step >= last]
      if points:
        colour = colours.to_rgba(known[name]) if name in known else "0.7"
        axis.plot(
          *zip(*points, strict=True), color=colour, linewidth=1, alpha=0.9, marker="." if len(points) < 12 else ""
        )
    if late:  # the first steps and the worst runs do not set the scale
      low, high = _range(late, curve)
      axis.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    axis.grid(alpha=0.3)
  figure.colorbar(colours, ax=panels, label=metric)
  figures.save(path, figure)


def _scale(values: list) -> tuple[list[float], list[tuple[float, str]], str]:
  """(positions in [0, 1], ticks, note about the scale) of the values of one axis."""
  numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
  distinct = sorted(set(values)) if numbers else sorted({axes.show(v) for v in values})
  if not numbers or len(distinct) == 1:
    place = {axes.show(v): i / max(1, len(distinct) - 1) if len(distinct) > 1 else 0.5 for i, v in enumerate(distinct)}
    return [place[axes.show(v)] for v in values], [(p, text) for text, p in place.items()], ""
  logarithmic = distinct[0] > 0 and distinct[-1] / distinct[0] >= _WIDE
  f = math.log10 if logarithmic else float
  low, high = f(distinct[0]), f(distinct[-1])
  at = lambda v: (f(v) - low) / (high - low)
  marked = distinct if len(distinct) <= 6 else _ticks(distinct[0], distinct[-1], logarithmic)
  return [at(v) for v in values], [(at(v), f"{v:.4g}") for v in marked], "log scale" if logarithmic else ""


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
  from matplotlib.ticker import LogLocator, MaxNLocator

  locator = LogLocator(subs=(1, 2, 5), numticks=12) if logarithmic else MaxNLocator(6)
  return [float(v) for v in locator.tick_values(low, high) if low <= v <= high] or [low, high]


def save_parallel(path: pathlib.Path, columns: dict[str, list], values: list[float], metric: str) -> None:
  """Parallel coordinates: an axis for each column and for the metric, a line for each run, coloured by the metric.

  Args:
    path: path of the PNG.
    columns: {config path: its value in each run}.
    values: value of the metric in each run.
    metric: name of the metric.
  """
  names = [*columns, metric]
  figure = figures.new(2.0 + 1.9 * len(names), 4.6)
  axis = figure.add_subplot()
  colours = _colours(values, metric)
  low, high = colours.get_clim()
  inside = [min(max(v, low), high) for v in values]
  scales = [_scale(columns[name]) for name in columns]
  span = high - low
  places = [[positions[i] for positions, _, _ in scales] + [(v - low) / span] for i, v in enumerate(inside)]
  for i in sorted(range(len(values)), key=lambda i: early_stopping.score(metric, {metric: values[i]})):
    axis.plot(range(len(names)), places[i], color=colours.to_rgba(values[i]), linewidth=1.2, alpha=0.8)
  notes = [f" ({note})" if note else "" for _, _, note in scales]
  notes.append("" if inside == values else " (worse values clipped)")
  ticks = [t for _, t, _ in scales] + [[((v - low) / span, f"{v:.4g}") for v in _ticks(low, high, False)]]
  box = {"facecolor": "white", "alpha": 0.8, "pad": 0.6, "linewidth": 0}
  for x, (name, marks) in enumerate(zip(names, ticks, strict=True)):
    axis.vlines(x, 0, 1, color="0.3", linewidth=1)
    axis.text(x, 1.06, f"{name}{notes[x]}", ha="center", fontsize=9)
    for y, text in marks:
      axis.text(x + 0.03, y, text, va="center", fontsize=8, bbox=box)
  axis.set_xlim(-0.15, len(names) - 1 + 0.35)
  axis.set_ylim(-0.05, 1.15)
  axis.axis("off")
  figure.colorbar(colours, ax=axis, label=metric)
  figures.save(path, figure)


def save_comparison(
  path: pathlib.Path, axis_name: str, x: list[float], metric: list[float], name: str, criteria: dict[str, list[float]]
) -> None:
  """The metric and model selection criteria as functions of a number that is varied.

  The metric has a dot for each run, and a line through the mean over the runs of each value, with its standard error.
  The lines of the criteria show the best run of each value, since a criterion assumes the maximum of the likelihood; a
  star marks the minimum.

  Args:
    path: path of the PNG.
    axis_name: name of the number.
    x: value of the number in each run.
    metric: value of the metric in each run.
    name: name of the metric.
    criteria: {name: value in each run}; NaN if missing.
  """
  figure = figures.new(5.0 * (1 + bool(criteria)), 3.8)
  distinct = sorted(set(x))
  of = lambda values, v: [b for a, b in zip(x, values, strict=True) if a == v and not math.isnan(b)]
  panel = figure.add_subplot(1, 1 + bool(criteria), 1, title=name, xlabel=axis_name)
  panel.plot(x, metric, ".", color="0.6")
  runs = {v: found for v in distinct if (found := of(metric, v))}
  errors = [statistics.stdev(r) / math.sqrt(len(r)) if len(r) > 1 else 0.0 for r in runs.values()]
  panel.errorbar(list(runs), [statistics.fmean(r) for r in runs.values()], errors, capsize=3)
  panels = [panel]
  if criteria:
    panels.append(figure.add_subplot(1, 2, 2, title="best run of each value", xlabel=axis_name))
  for label, values in criteria.items():
    best = {v: min(found) for v in distinct if (found := of(values, v))}
    (line,) = panels[1].plot(list(best), list(best.values()), marker=".", label=label)
    least = min(best, key=best.__getitem__)
    panels[1].plot(least, best[least], marker="*", markersize=12, color=line.get_color())
  for axis in panels:
    if distinct[0] > 0 and distinct[-1] / distinct[0] >= _WIDE:
      axis.set_xscale("log")
    if len(distinct) <= 8:
      axis.set_xticks(distinct, [f"{v:g}" for v in distinct])
      axis.minorticks_off()
    axis.grid(alpha=0.3)
  if criteria:
    panels[1].legend()
  figures.save(path, figure)

"""Curves of a sweep: a table of all metrics of all runs, and a figure with a band for the seeds of each setting."""

import bisect
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dgm_jax.core import errors, figures, files
from dgm_jax.core import figure_style as style
from dgm_jax.sweeps import axes, plots, states, tasks
from dgm_jax.training import early_stopping
from dgm_jax.training.workdir import legacy_configs, metrics

_MOST_NAMED = 8  # settings that have a colour and a name of their own in a figure
_PARQUET = "pyarrow"
_NO_PYARROW = "{} was not written; pyarrow, which it needs, is installed by `pip install '.[data]'`"


def table(root: pathlib.Path) -> pd.DataFrame:
  """All rows of metrics.jsonl of all runs of a sweep, one value per row.

  Columns: run, seed, the other varied config paths, step, metric, value.
  """
  definition, rows = tasks.read(root), []
  runs = definition.runs if definition else {}
  paths = sorted({path for overrides in runs.values() for path in overrides} - {"seed"})
  for name, overrides in runs.items():
    folder = states.folder(root, name)
    config = files.flatten(legacy_configs.read_config(folder) or {})
    of_run = {"run": name, "seed": config.get("seed", overrides.get("seed"))}
    of_run |= {path: plain(overrides.get(path, config.get(path))) for path in paths}
    for row in metrics.read(folder):
      rows += [of_run | {"step": row["step"], "metric": k, "value": float(v)} for k, v in row.items() if k != "step"]
  found = pd.DataFrame(rows, columns=["run", "seed", *paths, "step", "metric", "value"])
  return found.astype({"step": "int64", "value": "float64"})


def plain(value: Any) -> Any:
  """The value for a table cell: lists become text."""
  return axes.show(value) if isinstance(value, list | tuple) else value


def write_table(folder: pathlib.Path, name: str, frame: pd.DataFrame) -> tuple[str, str]:
  """Writes a table as NAME.parquet, or as NAME.csv where pyarrow is not installed.

  Returns:
    (the file's name, a sentence about a file that could not be written or "").
  """
  if not errors.is_installed(_PARQUET):
    files.write_with(folder / f"{name}.csv", lambda p: frame.to_csv(p, index=False))
    return f"{name}.csv", f"{_NO_PYARROW.format(f'{name}.parquet')}; {name}.csv holds the same table."
  mixed = {c: frame[c].map(lambda v: None if v is None else axes.show(v)) for c in frame if frame[c].dtype == object}
  files.write_with(folder / f"{name}.parquet", lambda p: frame.assign(**mixed).to_parquet(p, index=False))
  return f"{name}.parquet", ""


def band(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float, float, float]]:
  """[(x, mean, least, greatest)] of curves [(x, y)], at each x that all of them have reached.

  A curve without a point at x is interpolated linearly, so that seeds that ended early or were logged at other steps
  can be averaged.
  """
  curves = [sorted(curve) for curve in curves if curve]
  if not curves:
    return []
  start, end = max(c[0][0] for c in curves), min(c[-1][0] for c in curves)
  found = []
  for x in sorted({x for curve in curves for x, _ in curve if start <= x <= end}):
    values = [_at(curve, x) for curve in curves]
    found.append((x, statistics.fmean(values), min(values), max(values)))
  return found


def _at(curve: Sequence[tuple[float, float]], x: float) -> float:
  i = bisect.bisect_left(curve, x, key=lambda point: point[0])
  (x1, y1), (x0, y0) = curve[i], curve[max(i - 1, 0)]
  return y1 if x1 in (x, x0) else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def save_curves(
  path: pathlib.Path,
  groups: Mapping[str, list[list[dict]]],
  values: Mapping[str, float],
  metric: str,
  curves: list[str],
) -> None:
  """One panel for each name in `curves`: for each setting the mean over its seeds, and a band from least to greatest.

  At most eight settings have a colour each and are named in the legend, the best first; more are coloured by the
  metric, those without one grey.

  Args:
    path: path of the figure.
    groups: {setting: rows of metrics.jsonl of each of its seeds}.
    values: {setting: mean of the metric}; NaN if missing.
    metric: name of the metric.
    curves: names of the metrics to plot.
  """
  known = {name: v for name, v in values.items() if not math.isnan(v)}
  score = lambda n: early_stopping.score(metric, {metric: known[n]}) if n in known else -math.inf
  order = sorted(groups, key=score, reverse=True)
  named, colours = len(order) <= _MOST_NAMED, plots.colours_of(list(known.values()) or [0.0], metric)
  looks = style.methods(order)
  entries = -(-len(order) // 2) if named else 0
  width = max(style.COLUMN, style.PAGE / 2 * len(curves)) + (0.0 if named else 0.6)
  figure = figures.new(width, 2.5 + 0.17 * entries)
  panels, lines = [], {}
  for i, curve in enumerate(curves):
    axis = figure.add_subplot(1, len(curves), i + 1, title=curve, xlabel="step")
    axis.set_ylabel(style.unit(curve, curves))
    panels.append(axis)
    for name in reversed(order):  # the best is drawn last, on top of the others
      look = looks[name]
      if not named:
        look = style.Style(colours.to_rgba(known[name]) if name in known else style.GREY, "-", "")
      if found := band([[(r["step"], r[curve]) for r in rows if curve in r] for rows in groups[name]]):
        lines[name] = _draw_band(axis, found, look, len(groups[name]))
    _set_range(axis, curve, groups)
  if named:
    shown = [name for name in order if name in lines]
    seeds = max((len(rows) for rows in groups.values()), default=1)
    names = [_with_seeds(name, len(groups[name])) for name in shown]
    title = "mean, and range of the seeds as a band" if seeds > 1 else None
    figure.legend(
      [lines[name] for name in shown], names, title=title, loc="outside lower center", ncols=_columns(names, width)
    )
  else:
    figure.colorbar(colours, ax=panels, label=style.label(metric))
  figures.save(path, figure)


def _with_seeds(name: str, count: int) -> str:
  return f"{name} ({count} seeds)" if count > 1 else name


def _columns(names: Sequence[str], width: float) -> int:
  """How many names of this length fit beside one another in a legend."""
  return max(1, min(len(names), int(width / (0.45 + 0.062 * max(map(len, names), default=1)))))


def _draw_band(axis: Any, found: list[tuple[float, float, float, float]], look: style.Style, count: int) -> Any:
  """Draws a mean and, for several seeds, the band of their range; returns the line."""
  x, mean, low, high = zip(*found, strict=True)
  if count > 1:
    axis.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
  marker = look.marker if len(x) < 12 else ""
  (line,) = axis.plot(x, mean, color=look.colour, linestyle=look.line, marker=marker, markersize=2.5, linewidth=1.2)
  return line


def _set_range(axis: Any, curve: str, groups: Mapping[str, list[list[dict]]]) -> None:
  """The first steps and the worst runs do not set the scale."""
  rows = [row for runs in groups.values() for run in runs for row in run]
  last = max((row["step"] for row in rows), default=0)
  if late := [row[curve] for row in rows if curve in row and 5 * row["step"] >= last]:
    low, high = plots.shown_range(late, curve)
    axis.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))

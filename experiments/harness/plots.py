"""Figures of a report as files.  matplotlib is imported when the first figure is drawn."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures

_PARTS = {"train": "-", "training": "-", "valid": "--", "held-out": "--", "test": "--"}  # of a name "METHOD, PART"


def looks(found: Sequence[dict[str, Any]]) -> dict[str, style.Style]:
  """{name of a line: its style} for all figures of a report, so that a method looks the same in each of them.

  Lines "METHOD, PART", where PART is a split, have the method's colour and the split's line style.
  """
  names = list(dict.fromkeys(line["name"] for figure in found for line in figure["series"]))
  split = {name: name.rpartition(", ") for name in names if name.rpartition(", ")[2] in _PARTS}
  of_method = style.methods(split[name][0] if name in split else name for name in names)
  return {
    name: of_method[split[name][0]]._replace(line=_PARTS[split[name][2]]) if name in split else of_method[name]
    for name in names
  }


def draw(folder: pathlib.Path, found: Sequence[dict[str, Any]]) -> None:
  """Draws the figures of a report that have lines, and enters their files, named after the title if they have none."""
  shown, taken = looks(found), {figure["file"] for figure in found}
  for figure in (f for f in found if any(line["points"] for line in f["series"])):
    if not figure["file"]:
      stem = re.sub(r"[^a-z0-9]+", "_", figure["title"].lower()).strip("_")[:60] or "figure"
      figure["file"] = next(f for i in range(99) if (f := f"{stem}_{i}.png" if i else f"{stem}.png") not in taken)
      taken.add(figure["file"])
    save(folder / figure["file"], figure, shown)


def save(path: pathlib.Path, figure: dict[str, Any], shown: dict[str, style.Style]) -> None:
  """Writes a line figure; lines with the same name share a style and one entry of the legend.

  Args:
    path: path of the figure.
    figure: see tables.figure.
    shown: the style of each name.
  """
  lines = [line for line in figure["series"] if line["points"]]
  names = list(dict.fromkeys(line["name"] for line in lines if line["style"] != "faint"))
  picture = figures.new(style.COLUMN, 2.6 + 0.13 * max(0, len(names) - 2))
  axis = picture.add_subplot(title=style.wrapped(figure["title"], style.COLUMN - 0.4))
  axis.set(xlabel=figure["x"], ylabel=style.wrapped(figure["y"], 2.2))
  axis.set(**{f"{name}scale": "log" for name in figure["log"]})
  entries = {}
  for line in lines:
    drawn = _draw_line(axis, line, shown[line["name"]])
    if line["style"] != "faint":
      entries.setdefault(line["name"], drawn)
  title = "mean, and range of the seeds as a band" if any(line.get("band") for line in lines) else None
  if len(entries) > 1 or title:
    texts = [style.wrapped(name, style.COLUMN - 0.5) for name in entries]
    columns = 2 if max(map(len, texts)) <= 20 and len(texts) > 1 else 1
    picture.legend(list(entries.values()), texts, title=title, loc="outside lower center", ncols=columns)
  figures.save(path, picture)


def _draw_line(axis: Any, line: dict[str, Any], look: style.Style) -> Any:
  """Draws a line; returns what stands for it in the legend."""
  x, y = zip(*line["points"], strict=True)
  marks = {"marker": look.marker, "markersize": 3.0, "markevery": max(1, len(x) // 10)}
  kinds = {
    "ours": {"linewidth": 1.3, "linestyle": look.line, **marks},
    "published": {"linestyle": "", "marker": "x", "markersize": 5.0},
    "theory": {"linewidth": 1.0, "linestyle": "--"},
    "faint": {"linewidth": 0.5, "alpha": 0.3},
    "bars": {"linewidth": 1.0, "linestyle": look.line, "drawstyle": "steps-post"},
  }
  (drawn,) = axis.plot(x, y, color=look.colour, **kinds[line["style"]])
  if line["style"] == "bars":
    axis.fill_between(x, y, step="post", color=look.colour, alpha=0.2, linewidth=0)
  if line.get("band"):
    at, low, high = zip(*line["band"], strict=True)
    axis.fill_between(at, low, high, color=look.colour, alpha=0.18, linewidth=0)
  return drawn

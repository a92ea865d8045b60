"""Figures of a report as PNG files.  matplotlib is imported when the first figure is drawn."""

import pathlib
from typing import Any

from dgm_jax.core import figures

_COLOURS = ("#0f6fb4", "#d1610a", "#1f8a5b", "#b5338a", "#8a6d00", "#c1272d", "#4b57c9", "#4d4d4d")
_STYLES = {
  "ours": {"linewidth": 2, "marker": "o", "markersize": 4},
  "published": {"linewidth": 0, "marker": "x"},
  "theory": {"linewidth": 1.2, "linestyle": "--"},
  "faint": {"linewidth": 0.6, "alpha": 0.3},
  "bars": {"linewidth": 1.2, "drawstyle": "steps-post"},
}


def save(path: pathlib.Path, figure: dict[str, Any]) -> None:
  """Writes a line figure; lines with the same name share a colour and one entry of the legend."""
  picture = figures.new(6.0, 4.2)
  axis = picture.add_subplot(title=figure["title"], xlabel=figure["x"], ylabel=figure["y"])
  axis.set(**{f"{name}scale": "log" for name in figure["log"]})
  names = list(dict.fromkeys(s["name"] for s in figure["series"]))
  unlabelled = set(names)
  for line in figure["series"]:
    label = line["name"] if line["style"] != "faint" and line["name"] in unlabelled else None
    unlabelled.discard(label)
    colour = _COLOURS[names.index(line["name"]) % len(_COLOURS)]
    x, y = zip(*line["points"], strict=True)
    axis.plot(x, y, color=colour, label=label, **_STYLES[line["style"]])
    if line["style"] == "bars":
      axis.fill_between(x, y, step="post", color=colour, alpha=0.25)
  axis.grid(alpha=0.25)
  axis.legend(frameon=False)
  figures.save(path, picture)

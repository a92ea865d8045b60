"""The figure of a comparison: paired differences with their standard errors."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_jax.core import figure_style as style
from dgm_jax.core import figures


def save(path: pathlib.Path, first: str, found: Mapping[str, Sequence[Any]]) -> list[pathlib.Path]:
  """One panel for each value, with the difference of every method to the first, and 1 and 2 standard errors of it.

  Args:
    path: path of the figure.
    first: name of the method that is subtracted.
    found: {name of another method: its compare.Differences}.

  Returns:
    The files that were written.
  """
  names = list(dict.fromkeys(d.name for differences in found.values() for d in differences))
  labels, looks = _short([first, *found]), style.methods(found)
  columns = min(2, len(names))
  lines = -(-len(names) // columns)
  width = style.COLUMN if columns == 1 else style.PAGE
  figure = figures.new(width, 0.45 + lines * (0.75 + 0.2 * len(found)))
  for i, name in enumerate(names):
    axis = figure.add_subplot(lines, columns, i + 1, title=name)
    for y, (method, differences) in enumerate(found.items()):
      for d in (d for d in differences if d.name == name and d.stderr < float("inf")):
        look = looks[method]
        axis.plot(d.difference, -y, look.marker, color=look.colour, markersize=4)
        for times, thick in ((1, 2.0), (2, 0.8)):
          axis.plot([d.difference - times * d.stderr, d.difference + times * d.stderr], [-y, -y], color=look.colour,
                    linewidth=thick)  # fmt: skip
    axis.axvline(0.0, color=style.GREY, linewidth=0.8, linestyle="--")
    axis.set(yticks=[-y for y in range(len(found))], ylim=(0.6 - len(found), 0.6))
    axis.set_yticklabels([labels[method] for method in found] if i % columns == 0 else [])
    axis.set_xlabel(f"difference ({style.unit(name)})" if style.unit(name) else "difference")
    axis.locator_params(axis="x", nbins=4)
  bars = "bars: 1 and 2 standard errors over the test examples"
  figure.suptitle(style.wrapped(f"Difference to {labels[first]}; {bars}", width))
  return figures.save(path, figure)


def _short(names: Sequence[str]) -> dict[str, str]:
  """Names for an axis: without the folder that all share."""
  parts = {name: pathlib.PurePath(name).parts for name in names}
  shared = 0
  while all(len(p) > shared + 1 for p in parts.values()) and len({p[shared] for p in parts.values()}) == 1:
    shared += 1
  return {name: "/".join(p[shared:]) for name, p in parts.items()}

"""Whether the text of a figure can be read: no text overlaps another or is cut off at the edge."""

import itertools

from matplotlib.text import Text


def _texts(figure):
  """{text: its box} of all text that is drawn."""
  figure.draw_without_rendering()
  renderer = figure.canvas.get_renderer()
  ticks = {}
  for axis in figure.axes:
    for part in (axis.xaxis, axis.yaxis):
      low, high = sorted(part.get_view_interval())
      for tick in (*part.get_major_ticks(), *part.get_minor_ticks()):
        inside = low <= tick.get_loc() <= high
        ticks |= dict.fromkeys((tick.label1, tick.label2), inside and axis.axison)
  found = {}
  for text in figure.findobj(Text):
    seen = text.get_visible() and ticks.get(text, True)
    if not text.get_text().strip() or not seen:
      continue
    axis = text.axes
    if axis is not None and not axis.axison and text in (axis.xaxis.label, axis.yaxis.label):
      continue
    found[text] = text.get_window_extent(renderer)
  return found


def faults(figure, slack=1.0):
  """Sentences about text that overlaps or is cut off, by more than `slack` pixels; [] for a readable figure."""
  found = _texts(figure)
  width, height = figure.canvas.get_width_height()
  said = [
    f"{text.get_text()!r} is cut off"
    for text, box in found.items()
    if box.x0 < -slack or box.y0 < -slack or box.x1 > width + slack or box.y1 > height + slack
  ]
  for (a, first), (b, second) in itertools.combinations(found.items(), 2):
    across = min(first.x1, second.x1) - max(first.x0, second.x0)
    up = min(first.y1, second.y1) - max(first.y0, second.y0)
    if across > slack and up > slack:
      said.append(f"{a.get_text()!r} overlaps {b.get_text()!r}")
  return said

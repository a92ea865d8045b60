"""The report page of a root folder: one static HTML file with all its reports; no server and no network requests."""

import itertools
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from dgm_jax.core import errors, files
from dgm_jax.core.figure_style import COLOURS, Style
from dgm_jax.experiments.harness import page_reports, plots

_TEMPLATE = "page.html.jinja"
_DASHES = {"-": "none", "--": "7 4", "-.": "8 3 2 3", ":": "2 3"}
_WIDTH, _HEIGHT = 640.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 78.0, 16.0, 12.0, 52.0


def ticks(low: float, high: float, most: int = 6) -> list[float]:
  """Round numbers from low to high: 1, 2 or 5 times a power of ten apart, at most `most` steps."""
  if not high > low:
    return [low]
  raw = (high - low) / most
  power = 10.0 ** math.floor(math.log10(raw))
  step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
  first = math.ceil(low / step - 1e-9)
  return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
  """The powers of ten from low to high, with 2 and 5 times them if there are fewer than three."""
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  inside = lambda values: [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
  tens = inside([10.0**p for p in powers])
  return tens if len(tens) >= 3 else inside([m * 10.0**p for p in powers for m in (1, 2, 5)])


def number(value: float) -> str:
  """A number as text for an axis."""
  if value and not 1e-4 <= abs(value) < 1e6:
    return f"{value:.0e}".replace("e-0", "e−").replace("e-", "e−").replace("e+0", "e")
  text = f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"
  return text.replace("-", "−")


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
  low, high = min(values), max(values)
  if log:
    return low / 1.15, high * 1.15
  margin = 0.04 * (high - low) or 0.5
  return low - margin, high + margin


def _path(points: Sequence[dict[str, Any]], style: str) -> str:
  """The corners of a polyline; a histogram's line goes to each bar's right edge before it steps."""
  if style == "bars":
    first, last = points[0], points[-1]
    corners = [(first["x"], last["y"]), (first["x"], first["y"])]
    for a, b in itertools.pairwise(points):
      corners += [(b["x"], a["y"]), (b["x"], b["y"])]
  else:
    corners = [(p["x"], p["y"]) for p in points]
  return " ".join(f"{x},{y}" for x, y in corners)


def _dash(line: dict[str, Any], look: Style) -> str:
  """The dashes of a line as SVG writes them."""
  if line["style"] in ("theory", "faint"):
    return "6 5" if line["style"] == "theory" else "none"
  return _DASHES[look.line] if isinstance(look.line, str) else " ".join(str(2 * n) for n in look.line[1])


def chart(figure: dict[str, Any], looks: dict[str, Style] | None = None) -> dict[str, Any] | None:
  """The geometry of a figure: ticks, lines, points to hover; None if it has no points.

  Args:
    figure: see tables.figure.
    looks: the style of each name, as plots.looks gives it for all figures of a report; None for this figure alone.
      Colours become numbers in the template's palette.
  """
  lines = [s for s in figure["series"] if s["points"]]
  if not lines:
    return None
  looks = looks or plots.looks([figure])
  logs = ["x" in figure["log"], "y" in figure["log"]]
  ends = [s["points"] + [(x, y) for x, *ys in s.get("band", ()) for y in ys] for s in lines]
  (x0, x1), (y0, y1) = (_range([p[i] for points in ends for p in points], logs[i]) for i in (0, 1))

  def place(value, low, high, start, end, log):
    scale = math.log10 if log else float
    return round(start + (scale(value) - scale(low)) / (scale(high) - scale(low)) * (end - start), 1)

  at_x = lambda v: place(v, x0, x1, _LEFT, _WIDTH - _RIGHT, logs[0])
  at_y = lambda v: place(v, y0, y1, _HEIGHT - _BOTTOM, _TOP, logs[1])
  make_ticks = lambda low, high, log: (log_ticks if log else ticks)(low, high)
  drawn = []
  for line in lines:
    band = line.get("band", [])
    points = [
      {"x": at_x(x), "y": at_y(y), "label": f"{number(x)}, {y:.4g}".replace("-", "−")} for x, y in line["points"]
    ]
    drawn.append(
      {
        "name": line["name"],
        "style": line["style"],
        "colour": COLOURS.index(looks[line["name"]].colour),
        "dash": _dash(line, looks[line["name"]]),
        "band": " ".join(
          f"{at_x(x)},{at_y(y)}" for x, y in [*((x, y) for x, y, _ in band), *((x, y) for x, _, y in reversed(band))]
        ),
        "path": _path(points, line["style"]),
        "points": points,
        "hover": json.dumps([[p["x"], p["y"], p["label"]] for p in points], ensure_ascii=False),
      }
    )
  legend = list({s["name"]: s for s in drawn}.values())
  return {
    "width": _WIDTH,
    "height": _HEIGHT,
    "left": _LEFT,
    "right": _WIDTH - _RIGHT,
    "top": _TOP,
    "bottom": _HEIGHT - _BOTTOM,
    "x_ticks": [(at_x(v), number(v)) for v in make_ticks(x0, x1, logs[0])],
    "y_ticks": [(at_y(v), number(v)) for v in make_ticks(y0, y1, logs[1])],
    "lines": sorted(drawn, key=lambda s: s["style"] != "faint"),
    "legend": legend,
    "has_bands": any(s["band"] for s in drawn),
  }


def _with_links(report: dict[str, Any]) -> dict[str, Any]:
  """Adds ids to runs, links from table cells to runs, and the geometry of figures."""
  numbers = {name: i for i, name in enumerate(report["runs"])}
  runs = [
    {"files": []} | report["runs"][name] | {"id": f"{report['id']}-run-{i}", "name": name}
    for name, i in numbers.items()
  ]
  for table in report["tables"]:
    for row in table["rows"]:
      for cell in row:
        cell["links"] = [(f"{report['id']}-run-{numbers[n]}", n) for n in cell["runs"] if n in numbers]
  looks = plots.looks(report["figures"])
  figures = [{"data": "", "files": []} | figure | {"chart": chart(figure, looks)} for figure in report["figures"]]
  own = {"url": page_reports.web_address(report["url"]), "runs": runs, "figures": figures}
  return {"curves": ""} | report | own


def render(reports: Sequence[dict[str, Any]]) -> str:
  """The HTML page; all text is escaped."""
  jinja2 = errors.import_package("jinja2", "The page")
  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
  )
  by_paper: dict[str, list] = {}
  for report in map(_with_links, reports):
    by_paper.setdefault(report["citation"], []).append(report)
  return environment.get_template(_TEMPLATE).render(papers=by_paper)


def write(root: pathlib.Path) -> pathlib.Path:
  """Writes ROOT/index.html; returns its path."""
  files.write_text(root / "index.html", render(page_reports.read(root, render)))
  return root / "index.html"

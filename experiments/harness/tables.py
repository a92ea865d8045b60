"""Tables and figures of a report, as JSON and as text."""

from collections.abc import Mapping, Sequence
from typing import Any

NOT_COMPARABLE = "not comparable"


def cell(text: str, runs: Sequence[str] = ()) -> dict[str, Any]:
  """A cell; `runs` are the names of the runs that its number comes from."""
  return {"text": text, "runs": list(runs)}


def published(text: str, verified: bool = True) -> dict[str, Any]:
  """A cell with a published number, marked as unverified if it was not read in its source."""
  return cell(text if verified else f"{text} (unverified)") | {"published": True}


def plus_minus(value: float, stderr: float | None, sign: bool = False, digits: int = 2) -> str:
  """Text such as 86.76 ± 0.03; the value alone if there is no error."""
  text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
  return text.replace("-", "−") + ("" if stderr is None else f" ± {stderr:.{digits}f}")


def difference(value: float, stderr: float | None, comparable: bool, digits: int = 2) -> str:
  """Ours minus published, with our standard error; marked if the recipes are not comparable."""
  return plus_minus(value, stderr, sign=True, digits=digits) + ("" if comparable else f" ({NOT_COMPARABLE})")


def paired_row(name: str, found: Mapping[str, Any], words: str) -> list[dict]:
  """A row for a measured.Paired: name, difference ± error over images, by seed, error over seeds, verdict in words."""
  by_seed = ", ".join(plus_minus(d, None, sign=True) for d in found["by_seed"])
  seeds = "" if found["stderr_seeds"] is None else f"± {found['stderr_seeds']:.2f}"
  difference = plus_minus(found["difference"], found["stderr_images"], sign=True)
  return [cell(text) for text in (name, difference, by_seed, seeds, words)]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[dict]], note: str = "") -> dict[str, Any]:
  """A table; a row has a cell for each column."""
  return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows], "note": note}


def series(
  name: str,
  points: Sequence[tuple[float, float]],
  runs: Sequence[str] = (),
  style: str = "ours",
  band: Sequence[tuple[float, float, float]] = (),
) -> dict[str, Any]:
  """A line of a figure.

  Args:
    name: entry of the legend; lines with the same name share a colour.
    points: (x, y).
    runs: names of the runs that the points come from.
    style: "ours"; "published", markers; "theory", dashed; "faint", one of many; "bars", a histogram whose points are
      (left edge, count), the last one (right edge, 0).
    band: (x, least, greatest) over the seeds, for points that are means over them.
  """
  found = {"name": name, "style": style, "points": [list(map(float, p)) for p in points], "runs": list(runs)}
  return found | ({"band": [list(map(float, p)) for p in band]} if len(band) else {})


def figure(title: str, x: str, y: str, lines: Sequence[dict], log: str = "", note: str = "") -> dict[str, Any]:
  """A figure with lines, interactive on the page and drawn into files by the harness.

  Args:
    title, x, y: its title and the labels of its axes, with units.
    lines: see `series`.
    log: the logarithmic axes: "", "x", "y" or "xy".
    note: a sentence below it.
  """
  return {"title": title, "x": x, "y": y, "log": log, "series": list(lines), "note": note, "file": ""}


def picture(title: str, file: str, note: str = "") -> dict[str, Any]:
  """A figure that is a picture: samples, a manifold, densities in the plane.

  Args:
    title: what it shows.
    file: path of the PNG, relative to the item's folder; the page embeds a copy.
    note: description; together with the title it is the picture's alternative text.
  """
  return figure(title, "", "", [], note=note) | {"file": file}


def as_text(found: dict[str, Any]) -> str:
  """A table as aligned text."""
  rows = [found["columns"], *([c["text"] for c in row] for row in found["rows"])]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ["  ".join(f"{t:<{w}}" for t, w in zip(row, widths, strict=True)).rstrip() for row in rows]
  rule = "  ".join("-" * w for w in widths)
  return "\n".join([found["title"], lines[0], rule, *lines[1:], *([found["note"]] if found["note"] else [])])
